// Which key does what in the player. Letters are matched by what they write, space and arrows by where they are.

export const SPEEDS: readonly number[] = [0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3];

export type PlayerAction =
  | { do: "toggle" | "mute" | "full-screen" | "pip" | "layout" | "captions" | "help" | "end" }
  | { do: "move" | "volume"; by: number }
  | { do: "event" | "frame" | "speed"; by: 1 | -1 }
  | { do: "share-of"; part: number };

/** The action of a key press, or null when the key is not the player's just now. */
export function actionOf(event: KeyboardEvent, hasLetters: boolean): PlayerAction | null {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return null;
  const target = event.composedPath()[0];
  if (target instanceof HTMLElement && target.matches("input:not([type=checkbox]), textarea, select, dialog *")) return null;
  const isOnControl = target instanceof HTMLElement && target.matches("button, a, [role=slider], [role=button], media-play-button, media-mute-button, media-pip-button, media-fullscreen-button, media-seek-backward-button, media-seek-forward-button, media-volume-range");
  const isOnSlider = target instanceof HTMLElement && target.matches("media-volume-range");
  switch (event.code) {
    // A focused control takes the space bar for itself.
    case "Space": return isOnControl && !(target as HTMLElement).matches("[role=slider]") ? null : { do: "toggle" };
    case "ArrowLeft": return isOnSlider ? null : event.shiftKey ? { do: "event", by: -1 } : { do: "move", by: -5_000 };
    case "ArrowRight": return isOnSlider ? null : event.shiftKey ? { do: "event", by: 1 } : { do: "move", by: 5_000 };
    case "ArrowUp": return isOnSlider ? null : { do: "volume", by: 0.05 };
    case "ArrowDown": return isOnSlider ? null : { do: "volume", by: -0.05 };
    case "Home": return { do: "share-of", part: 0 };
    case "End": return { do: "end" };
  }
  if (!hasLetters) return event.key === "?" ? { do: "help" } : null;
  if (/^[0-9]$/.test(event.key) && !event.shiftKey) return { do: "share-of", part: Number(event.key) };
  switch (event.key.toLowerCase()) {
    case "k": return { do: "toggle" };
    case "j": return { do: "move", by: -10_000 };
    case "l": return { do: "move", by: 10_000 };
    case "m": return { do: "mute" };
    case "f": return { do: "full-screen" };
    case "p": return { do: "pip" };
    case "c": return { do: "captions" };
    case "g": return { do: "layout" };
    case "<": return { do: "speed", by: -1 };
    case ">": return { do: "speed", by: 1 };
    case ",": return { do: "frame", by: -1 };
    case ".": return { do: "frame", by: 1 };
    case "?": return { do: "help" };
    default: return null;
  }
}
