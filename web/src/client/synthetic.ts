// A test picture and a test tone, for people without a camera and for tests. The time is burnt into the picture
// twice: as figures for people and as a row of blocks for programs (`readClock`).

export interface PictureSize {
  width: number;
  height: number;
}

/** A moving picture with the clock; stop the track to end it. */
export function syntheticCamera(size: PictureSize, label: string): MediaStreamTrack {
  const canvas = document.createElement("canvas");
  canvas.width = size.width;
  canvas.height = size.height;
  const context = canvas.getContext("2d", { alpha: false });
  const hue = [...label].reduce((sum, letter) => (sum * 31 + (letter.codePointAt(0) ?? 0)) % 360, 200);
  const draw = (): void => {
    if (context) paint(context, size, Date.now(), hue, label);
  };
  draw();
  const stream = canvas.captureStream(FRAMES);
  const timer = setInterval(draw, 1000 / FRAMES);
  const [track] = stream.getVideoTracks();
  if (!track) {
    clearInterval(timer);
    throw new DOMException("no canvas stream", "NotSupportedError");
  }
  const stop = track.stop.bind(track);
  track.stop = () => {
    clearInterval(timer);
    stop();
  };
  return track;
}

/** A soft tone that comes and goes each second, so that silence and sound can both be heard. */
export function syntheticMicrophone(frequency: number): MediaStreamTrack {
  const context = new AudioContext();
  const tone = new OscillatorNode(context, { frequency });
  const swell = new OscillatorNode(context, { frequency: 1 });
  const depth = new GainNode(context, { gain: 0.12 });
  const volume = new GainNode(context, { gain: 0.14 });
  const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  swell.connect(depth).connect(volume.gain);
  tone.connect(volume).connect(out);
  tone.start();
  swell.start();
  void context.resume();
  const wake = (): void => void context.resume();
  addEventListener("pointerdown", wake);
  addEventListener("keydown", wake);
  const [track] = out.stream.getAudioTracks();
  if (!track) throw new DOMException("no audio stream", "NotSupportedError");
  const stop = track.stop.bind(track);
  track.stop = () => {
    removeEventListener("pointerdown", wake);
    removeEventListener("keydown", wake);
    stop();
    void context.close();
  };
  return track;
}

/** 40 blocks across the foot of the picture: the low 32 bits of the milliseconds since 1970, then the sum of their four bytes. */
export function clockBits(now_ms: number): boolean[] {
  const time = now_ms % 2 ** 32;
  const bytes = [24, 16, 8, 0].map((shift) => Math.floor(time / 2 ** shift) % 256);
  const sum = bytes.reduce((total, byte) => total + byte, 0) % 256;
  return [...bytes, sum].flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((bit) => ((byte >> bit) & 1) === 1));
}

/** The time in a frame drawn by `syntheticCamera` at any size, or `null` when it is not readable. */
export function readClock(pixels: Uint8ClampedArray, width: number, height: number): number | null {
  const bits = Array.from({ length: BLOCKS }, (_, i) => {
    const x = Math.floor(((i + 0.5) * width) / BLOCKS);
    const y = Math.floor(height - (0.5 * width) / BLOCKS);
    return (pixels[(y * width + x) * 4 + 1] ?? 0) > 127;
  });
  const byte = (from: number): number => bits.slice(from, from + 8).reduce((value, bit) => value * 2 + (bit ? 1 : 0), 0);
  const bytes = [0, 8, 16, 24].map(byte);
  const isWhole = bytes.reduce((total, one) => total + one, 0) % 256 === byte(32);
  return isWhole ? bytes.reduce((value, one) => value * 256 + one, 0) : null;
}

function paint(context: CanvasRenderingContext2D, { width, height }: PictureSize, now: number, hue: number, label: string): void {
  context.fillStyle = `hsl(${hue} 35% 24%)`;
  context.fillRect(0, 0, width, height);
  const across = (now % 4000) / 4000;
  context.fillStyle = `hsl(${hue} 60% 62%)`;
  context.beginPath();
  context.arc(across * width, height * (0.3 + 0.12 * Math.sin(across * 2 * Math.PI)), height / 12, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = "#fff";
  context.textAlign = "center";
  context.font = `600 ${Math.round(height / 7)}px monospace`;
  context.fillText(new Date(now).toISOString().slice(11, 23), width / 2, height * 0.6);
  context.font = `400 ${Math.round(height / 18)}px sans-serif`;
  context.fillText(label, width / 2, height * 0.7);
  const block = width / BLOCKS;
  clockBits(now).forEach((bit, i) => {
    context.fillStyle = bit ? "#fff" : "#000";
    context.fillRect(Math.floor(i * block), Math.floor(height - block), Math.ceil(block), Math.ceil(block));
  });
}

const FRAMES = 30;
const BLOCKS = 40;
