// The Chinese words of the watch, library, replay and self-test pages.
import type { enPages } from "./en-pages.ts";

export const zhPages: typeof enPages = {
  watch: {
    title: (room) => `观看 ${room}`,
  },
  library: {
    title: "录制内容",
  },
  replay: {
    title: "录制",
  },
  test: {
    title: "自检",
  },
};
