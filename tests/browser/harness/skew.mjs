// How far apart the pictures of a replay are: by the clocks burnt into them, and by what the elements say of themselves.

/** Takes up to `count` samples, about 200 ms apart, while the page plays before `end` seconds. */
export function measure(page, count, end) {
  return page.evaluate(async ({ count, end }) => {
    const { all, sightings } = window.reelayTest;
    const [group] = all("re-media-group");
    const videos = all("video.shown");
    const offsets = videos.map((video) => group.manifest.files.find(({ file }) => file === video.dataset.file).offset_ms);
    const dropped = () => videos.reduce((sum, video) => sum + video.getVideoPlaybackQuality().droppedVideoFrames, 0);
    const samples = [];
    let before = dropped();
    for (let i = 0; i < count && group.currentTime < end && !group.paused; i++) {
      // What an element says is up to a frame old and never ahead: the reading furthest ahead is the freshest.
      const began = performance.now();
      const leads = videos.map(() => -Infinity);
      while (performance.now() - began < 200) {
        await new Promise((resolve) => requestAnimationFrame(resolve));
        for (const [k, video] of videos.entries()) {
          leads[k] = Math.max(leads[k], video.currentTime * 1000 + offsets[k] - (performance.now() - began) * group.playbackRate);
        }
      }
      const seen = sightings(videos).filter(({ clock }) => clock !== null);
      const now = dropped();
      // The pictures that were copied a little later are put back by as much.
      const clocks = seen.map(({ clock, at }) => clock - (at - seen[0].at) * group.playbackRate);
      const spread = (values) => Math.round(Math.max(...values) - Math.min(...values));
      if (seen.length > 1) samples.push({ burnt: spread(clocks), told: spread(leads), isWhole: now === before && seen.at(-1).at - seen[0].at < 30, at: Math.round(group.currentTime * 1000) });
      before = now;
    }
    return samples;
  }, { count, end });
}

/**
 * Of samples: the share within 40 ms and the greatest, by burnt clocks, by those where no frame was dropped (`whole`),
 * and by what the elements tell. `fair` takes the burnt clocks where they can be trusted, else what is told; `apart` is
 * how many of those are beyond 120 ms.
 */
export function judge(samples) {
  const whole = samples.filter(({ isWhole }) => isWhole).map(({ burnt }) => burnt);
  const told = samples.map(({ told }) => told);
  // A picture that a machine without time did not show tells nothing of where its element is.
  const fair = samples.map(({ burnt, told, isWhole }) => (isWhole ? burnt : told));
  const of = (list) => ({ count: list.length, inside: list.filter((skew) => skew <= 40).length / Math.max(1, list.length), most: Math.max(0, ...list) });
  return { burnt: of(samples.map(({ burnt }) => burnt)), whole: of(whole), told: of(told), fair: of(fair), apart: fair.filter((skew) => skew > 120).length, median: told.toSorted((a, b) => a - b)[told.length >> 1] ?? 0 };
}

/** One line for the log. */
export function tell({ burnt, whole, told }) {
  const text = ({ count, inside, most }) => `${(inside * 100).toFixed(1)} % of ${count} within 40 ms, at most ${most}`;
  return `burnt clocks ${text(burnt)}; where no frame was dropped ${text(whole)}; elements ${text(told)}`;
}
