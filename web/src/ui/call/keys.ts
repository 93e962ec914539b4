// Which key does what in a call: pure, so that every combination can be tested.
export type KeyAction =
  | "help" | "microphone" | "camera" | "bar" | "talk" | "share" | "chat" | "people" | "record" | "layout" | "full-screen";

export interface Key {
  key: string;
  code: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  shiftKey: boolean;
  isComposing: boolean;
  repeat: boolean;
}

export interface Focus {
  /** A field that takes text, or a list that takes letters. */
  isText: boolean;
  /** Any control that Space would press. */
  isControl: boolean;
  /** A menu or a dialog is open. */
  isInMenu: boolean;
}

/** What a key asks for; `singleKeys` is the switch in the settings. */
export function keyAction(key: Key, focus: Focus, singleKeys: boolean): KeyAction | null {
  if (key.isComposing || key.altKey) return null;
  const letter = key.key.toLowerCase();
  if (key.ctrlKey !== key.metaKey && !key.shiftKey) {
    if (key.repeat) return null;
    if (key.ctrlKey && key.key === "/") return "help";
    return letter === "d" ? "microphone" : letter === "e" ? "camera" : null;
  }
  if (key.ctrlKey || key.metaKey || key.shiftKey) return null;
  if (key.key === "F2") return key.repeat ? null : "bar";
  if (focus.isText || focus.isInMenu) return null;
  if (key.code === "Space") return focus.isControl ? null : "talk";
  if (!singleKeys || key.repeat) return null;
  return SINGLE[letter] ?? null;
}

const SINGLE: Record<string, KeyAction> = {
  m: "microphone",
  v: "camera",
  s: "share",
  c: "chat",
  p: "people",
  r: "record",
  g: "layout",
  f: "full-screen",
};
