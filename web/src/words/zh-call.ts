// The Chinese words of the lobby and the call.
import type { enCall } from "./en-call.ts";

export const zhCall: typeof enCall = {
  lobby: {
    title: (room) => `加入 ${room}`,
  },
};
