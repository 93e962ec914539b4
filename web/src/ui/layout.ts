// Where tiles go on a stage: pure geometry.

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Shape {
  columns: number;
  rows: number;
  width: number;
  height: number;
}

export interface Size {
  width: number;
  height: number;
}

/** The best shape for `n` tiles; keeps the columns of `before` unless another shape gains more than 10 % of tile area. */
export function shapeFor(n: number, stage: Size, gap: number, before?: number): Shape {
  const shapes = Array.from({ length: n }, (_, i) => shapeOf(n, i + 1, stage, gap)).filter((one): one is Shape => one !== null);
  const largest = Math.max(...shapes.map(area));
  const isTall = stage.height > stage.width;
  const holes = (one: Shape): number => one.columns * one.rows - n;
  const lines = (one: Shape): number => (isTall ? one.columns : one.rows);
  const [best] = shapes
    .filter((one) => area(one) >= largest * NEARLY)
    .sort((a, b) => holes(a) - holes(b) || lines(a) - lines(b) || area(b) - area(a));
  const kept = shapes.find((one) => one.columns === before);
  const chosen = best ?? { columns: 1, rows: 1, width: stage.width, height: stage.height };
  return kept && area(chosen) <= area(kept) * WORTH_A_MOVE ? kept : chosen;
}

/** The boxes of `n` tiles in that shape, the whole centred and the last row too. */
export function place(n: number, shape: Shape, stage: Size, gap: number): Box[] {
  const { columns, rows, width, height } = shape;
  const top = (stage.height - rows * height - (rows - 1) * gap) / 2;
  return Array.from({ length: n }, (_, i) => {
    const row = Math.floor(i / columns);
    const inRow = Math.min(columns, n - row * columns);
    const left = (stage.width - inRow * width - (inRow - 1) * gap) / 2;
    return { x: left + (i % columns) * (width + gap), y: top + row * (height + gap), width, height };
  });
}

/** How many tiles one page holds before they get too small to recognise a face. */
export function pageSize(n: number, stage: Size, gap: number): number {
  for (let size = Math.min(n, MOST_TILES); size > 1; size -= 1) {
    const shape = shapeFor(size, stage, gap);
    if (shape.width >= LEAST.width && shape.height >= LEAST.height) return size;
  }
  return Math.min(n, 1);
}

/** How many people a strip shows at a time before their tiles get too small. */
export function stripSize(people: number, stage: Size, gap: number): number {
  const isTall = stage.height > stage.width;
  const fitting = Math.floor(((isTall ? stage.width : stage.height) + gap) / ((isTall ? LEAST_IN_STRIP.width : LEAST_IN_STRIP.height) + gap));
  return Math.min(people, MOST_IN_STRIP, Math.max(1, fitting));
}

/** A large picture and a strip of people beside it (below it on a tall stage). */
export function withStrip(people: number, stage: Size, gap: number): { main: Box; strip: Box[] } {
  const n = stripSize(people, stage, gap);
  if (n === 0) return { main: { x: 0, y: 0, ...stage }, strip: [] };
  const isTall = stage.height > stage.width;
  const along = isTall ? stage.width : stage.height;
  const across = isTall ? stage.height : stage.width;
  const most = isTall ? 0.3 : 0.22;
  const ratio = isTall ? 3 / 4 : 16 / 9;
  // Side by side along the long edge, never higher than 16:9 allows.
  const length = Math.min((along - (n - 1) * gap) / n, isTall ? 160 : 180);
  const breadth = Math.min(across * most, isTall ? length / ratio : length * ratio);
  const used = isTall ? length : Math.min(length, breadth / (4 / 3));
  const start = (along - n * used - (n - 1) * gap) / 2;
  const edge = across - breadth;
  const strip = Array.from({ length: n }, (_, i): Box => {
    const at = start + i * (used + gap);
    return isTall ? { x: at, y: edge, width: used, height: breadth } : { x: edge, y: at, width: breadth, height: used };
  });
  const rest = edge - gap;
  const main = isTall ? { x: 0, y: 0, width: stage.width, height: rest } : { x: 0, y: 0, width: rest, height: stage.height };
  return { main, strip };
}

/** A picture fills its tile while less than a third of it is cut away. */
export function fit(video: Size, tile: Size): "cover" | "contain" {
  const [a, b] = [video.width / video.height, tile.width / tile.height];
  return Math.min(a, b) / Math.max(a, b) > 2 / 3 ? "cover" : "contain";
}

function shapeOf(n: number, columns: number, stage: Size, gap: number): Shape | null {
  const rows = Math.ceil(n / columns);
  const cell = { width: (stage.width - (columns - 1) * gap) / columns, height: (stage.height - (rows - 1) * gap) / rows };
  if (cell.width <= 0 || cell.height <= 0) return null;
  const slimmest = stage.height > stage.width ? 3 / 4 : 4 / 3;
  const width = Math.min(cell.width, cell.height * WIDEST);
  return { columns, rows, width, height: Math.min(cell.height, width / slimmest) };
}

function area(shape: Shape): number {
  return shape.width * shape.height;
}

const WIDEST = 16 / 9;
const NEARLY = 0.92;
const WORTH_A_MOVE = 1.1;
const MOST_TILES = 12;
const MOST_IN_STRIP = 6;
const LEAST_IN_STRIP = { width: 84, height: 64 };
const LEAST = { width: 112, height: 84 };
