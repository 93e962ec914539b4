// The English words of the lobby and the call.
export const enCall = {
  lobby: {
    title: (room: string) => `Join ${room}`,
  },
};
