import { expect, it } from "vitest";
import { paths, route } from "../src/ui/route.ts";

it("every address of the app means its page", () => {
  const check = (path: string, expected: unknown) => expect(route(path), path).toEqual(expected);
  check("/", { page: "home" });
  check("/r/team", { page: "room", room: "team" });
  check(paths.room("会议室"), { page: "room", room: "会议室" });
  check("/watch/team/", { page: "watch", room: "team" });
  check("/recordings", { page: "library" });
  check("/recordings/01920000-0000-7000-8000-000000000000", { page: "replay", recording: "01920000-0000-7000-8000-000000000000" });
  check("/clip/01920000-0000-7000-8000-000000000000", { page: "clip", recording: "01920000-0000-7000-8000-000000000000" });
  check("/storage", { page: "storage" });
  check("/test", { page: "test" });
  for (const bad of ["/r", "/r/a/b", "/r/%zz", "/nothing", "/test/1", "/clip"]) check(bad, { page: "unknown" });
});
