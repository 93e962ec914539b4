// The few lines of SDP that a page must change, because no API does.

/** Asks for stereo Opus in every audio section (or in those of `mids`): in an answer it is what the sender may send. */
export function withStereo(sdp: string, mids?: ReadonlySet<string>): string {
  return sections(sdp).map((section) => (wants(section, mids) ? stereo(section) : section)).join("");
}

function sections(sdp: string): string[] {
  return sdp.split(/^(?=m=)/m);
}

function wants(section: string, mids: ReadonlySet<string> | undefined): boolean {
  if (!section.startsWith("m=audio")) return false;
  const mid = /^a=mid:(\S+)/m.exec(section)?.[1];
  return mids === undefined || (mid !== undefined && mids.has(mid));
}

function stereo(section: string): string {
  const type = /^a=rtpmap:(\d+) opus\/48000/im.exec(section)?.[1];
  if (type === undefined) return section;
  const line = new RegExp(`^a=fmtp:${type} ([^\\r\\n]*)`, "m");
  const found = line.exec(section);
  if (found === null) return section.replace(new RegExp(`^(a=rtpmap:${type} [^\\r\\n]*)`, "m"), `$1\r\na=fmtp:${type} stereo=1`);
  if (/\bstereo=1\b/.test(found[1] ?? "")) return section;
  const rest = (found[1] ?? "").split(";").filter((part) => !part.trim().startsWith("stereo="));
  return section.replace(line, `a=fmtp:${type} ${[...rest, "stereo=1"].join(";")}`);
}
