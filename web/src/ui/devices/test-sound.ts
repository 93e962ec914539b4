// Three rising notes on the chosen speaker.

export async function playTestSound(speakerId: string): Promise<void> {
  const context = new AudioContext();
  const target = new MediaStreamAudioDestinationNode(context);
  NOTES.forEach((frequency, i) => {
    const tone = new OscillatorNode(context, { frequency });
    const at = context.currentTime + i * 0.22;
    const volume = new GainNode(context, { gain: 0 });
    volume.gain.setValueAtTime(0, at);
    volume.gain.linearRampToValueAtTime(0.2, at + 0.02);
    volume.gain.linearRampToValueAtTime(0, at + 0.2);
    tone.connect(volume).connect(target);
    tone.start(at);
    tone.stop(at + 0.22);
  });
  const audio = new Audio();
  audio.srcObject = target.stream;
  try {
    if (speakerId !== "" && "setSinkId" in audio) await audio.setSinkId(speakerId);
    await audio.play();
  } catch {
    // A speaker that is gone: the next choice will tell.
  }
  setTimeout(() => {
    audio.pause();
    void context.close();
  }, 1_200);
}

const NOTES = [440, 554.37, 659.25];
