import { expect, it } from "vitest";
import { captionsAt, parseCaptions } from "../../src/client/replay/captions.ts";

const TEXT = `WEBVTT

NOTE made by hand

1
00:00:02.000 --> 00:00:04.000 align:start
<v Bo &amp; Co>It costs <b>ten</b> &lt;euros&gt;,
he said

00:01.000 --> 00:03.000
<v.loud 陈静>今天<00:01.500>开会

00:05.000 --> 00:04.000
backwards

00:05.000 --> 00:06.000
<img src=x onerror=alert(1)><script>alert(1)</script>
`;

it("cues are read with who says them, in order, and what is no mark stays text", () => {
  const cues = parseCaptions(TEXT.replaceAll("\n", "\r\n"));
  expect(cues.map((cue) => [cue.from, cue.to, cue.who, cue.text])).toEqual([
    [1_000, 3_000, "陈静", "今天开会"],
    [2_000, 4_000, "Bo & Co", "It costs ten <euros>,\nhe said"],
    [5_000, 6_000, "", "<img src=x onerror=alert(1)><script>alert(1)</script>"],
  ]);
  expect(captionsAt(cues, 2_500).map((cue) => cue.who)).toEqual(["陈静", "Bo & Co"]);
  expect(captionsAt(cues, 4_000)).toEqual([]);
});

it("what is no WebVTT has no cues", () => {
  for (const text of ["", "-->", "x --> y\nz", "\n\n\n", "99:99 --> 1\nz"]) expect(parseCaptions(text), text).toEqual([]);
});
