// The English words of the watch, library, replay and self-test pages.
export const enPages = {
  watch: {
    title: (room: string) => `Watch ${room}`,
  },
  library: {
    title: "Recordings",
  },
  replay: {
    title: "Recording",
  },
  test: {
    title: "Self-test",
  },
};
