// Loudness of tracks, twenty times a second, without a render: whoever draws sets a CSS variable.

export interface Level {
  /** 0 to 1, as the ear hears it. */
  level: number;
  isClipped: boolean;
}

let context: AudioContext | null = null;

/** Measures a track until `signal` ends. */
export function measure(track: MediaStreamTrack, onLevel: (level: Level) => void, signal: AbortSignal): void {
  if (signal.aborted) return;
  context ??= new AudioContext();
  wake();
  const source = context.createMediaStreamSource(new MediaStream([track]));
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    onLevel(levelOf(samples));
  }, PERIOD_MS);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    source.disconnect();
    analyser.disconnect();
  }, { once: true });
}

/** Browsers keep sound asleep until the first click. */
export function wake(): void {
  if (context?.state === "suspended") void context.resume();
}

export function levelOf(samples: Float32Array): Level {
  let sum = 0;
  let peak = 0;
  for (const sample of samples) {
    sum += sample * sample;
    peak = Math.max(peak, Math.abs(sample));
  }
  const rms = Math.sqrt(sum / samples.length);
  // −60 dB is empty, −6 dB is full.
  const db = rms > 0 ? 20 * Math.log10(rms) : -Infinity;
  return { level: Math.min(1, Math.max(0, (db + 60) / 54)), isClipped: peak >= 0.99 };
}

const PERIOD_MS = 50;
