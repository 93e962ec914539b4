// What runs inside the page before its own scripts: a synthetic camera, a clock reader, a sound meter.
// One function without outside names, because the browser gets its source.

/* global window, document, navigator, HTMLImageElement, MediaStream, AudioContext, requestAnimationFrame */
export function inPage({ media, tone, fps }) {
  const BITS = 24;
  const CELLS = BITS + 2;

  // The clock: milliseconds of Date.now() modulo 2^24 as cells along the top, after one white and one black cell.
  function drawClock(context, width, height, ms) {
    const cell = width / CELLS;
    const bar = height / 6;
    for (let i = 0; i < CELLS; i++) {
      const bit = i === 0 ? 1 : i === 1 ? 0 : (ms >> (BITS - 1 - (i - 2))) & 1;
      context.fillStyle = bit ? "#fff" : "#000";
      context.fillRect(Math.floor(i * cell), 0, Math.ceil(cell), bar);
    }
  }

  const reader = document.createElement("canvas");
  const ROW = 60;
  reader.width = 650;
  const read = reader.getContext("2d", { willReadFrequently: true });

  /**
   * The clock in each picture (of a video or an image), or null where there is none, and when the picture was copied. All are copied first, so
   * that they are of one instant; on a machine that has no time even that takes long.
   */
  function sightings(videos) {
    if (reader.height !== ROW * videos.length) {
      reader.height = Math.max(1, ROW * videos.length);
    }
    const times = videos.map((video, i) => {
      const at = performance.now();
      const [width, height] = video instanceof HTMLImageElement ? [video.naturalWidth, video.naturalHeight] : [video.videoWidth, video.videoHeight];
      if ((video.complete || video.readyState >= 2) && width > 0) {
        read.drawImage(video, 0, 0, width, height / 6, 0, i * ROW, reader.width, ROW);
      } else {
        read.clearRect(0, i * ROW, reader.width, ROW);
      }
      return at;
    });
    return times.map((at, i) => ({ clock: clockAt(i * ROW), at }));
  }

  function clocksOf(videos) {
    return sightings(videos).map(({ clock }) => clock);
  }

  function clockOf(video) {
    return clocksOf([video])[0];
  }

  function clockAt(top) {
    const cell = reader.width / CELLS;
    const { data } = read.getImageData(0, top + ROW / 2 - 2, reader.width, 5);
    const light = (i) => {
      const x = Math.floor((i + 0.5) * cell);
      let sum = 0;
      for (let y = 0; y < 5; y++) {
        for (let dx = -3; dx <= 3; dx++) {
          sum += data[4 * (y * reader.width + x + dx)];
        }
      }
      return sum / 35;
    };
    const [white, black] = [light(0), light(1)];
    if (white - black < 80) {
      return null;
    }
    let ms = 0;
    for (let i = 2; i < CELLS; i++) {
      ms = ms * 2 + (light(i) > (white + black) / 2 ? 1 : 0);
    }
    return ms;
  }

  /** All elements that match, also inside open shadow roots, in document order. */
  function all(selector, from = document) {
    const found = [];
    const walk = (node) => {
      for (const child of node.children ?? []) {
        if (child.matches(selector)) {
          found.push(child);
        }
        if (child.shadowRoot) {
          walk(child.shadowRoot);
        }
        walk(child);
      }
    };
    walk(from);
    return found;
  }

  // Sound: every remote audio track and every media element that a test names goes to an analyser.
  const remote = [];
  let sound = null;
  const context = () => (sound ??= new AudioContext());
  const RealConnection = window.RTCPeerConnection;
  const connections = [];
  if (RealConnection) {
    window.RTCPeerConnection = class extends RealConnection {
      constructor(...args) {
        super(...args);
        connections.push(this);
        this.addEventListener("track", ({ track }) => track.kind === "audio" && remote.push(track));
      }
    };
  }
  const meters = new Map();
  const tones = new Map();
  function meter(key, stream) {
    if (!meters.has(key)) {
      const analyser = context().createAnalyser();
      analyser.fftSize = 2048;
      context().createMediaStreamSource(stream).connect(analyser);
      meters.set(key, analyser);
    }
    const samples = new Float32Array(2048);
    meters.get(key).getFloatTimeDomainData(samples);
    return samples.reduce((peak, value) => Math.max(peak, Math.abs(value)), 0);
  }

  /** Peak of each live remote track just now, 0 to 1. */
  function remotePeaks() {
    return remote.filter((track) => track.readyState === "live").map((track) => meter(track, new MediaStream([track])));
  }

  /** Peak of what a media element plays just now. */
  function elementPeak(element) {
    if (!meters.has(element)) {
      const stream = element.captureStream?.() ?? element.mozCaptureStream();
      if (stream.getAudioTracks().length === 0) {
        return 0;
      }
      return meter(element, stream);
    }
    return meter(element);
  }

  /** The loudest tone of what a media element plays just now, in Hz; 0 while it is quiet. From then on it sounds nowhere else. */
  function elementTone(element) {
    if (!tones.has(element)) {
      const analyser = context().createAnalyser();
      analyser.fftSize = 4096;
      context().createMediaElementSource(element).connect(analyser);
      context().resume();
      tones.set(element, analyser);
    }
    const analyser = tones.get(element);
    const levels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(levels);
    const loudest = levels.indexOf(Math.max(...levels));
    return levels[loudest] < -50 ? 0 : (loudest * context().sampleRate) / analyser.fftSize;
  }

  /** Counts the frames that a video shows during `ms`. */
  function frames(video, ms) {
    return new Promise((resolve) => {
      const began = performance.now();
      let count = 0;
      let isDone = false;
      const onFrame = () => {
        count++;
        if (!isDone) {
          video.requestVideoFrameCallback(onFrame);
        }
      };
      video.requestVideoFrameCallback(onFrame);
      const look = () => {
        if (performance.now() - began >= ms) {
          isDone = true;
          resolve(count);
        } else {
          requestAnimationFrame(look);
        }
      };
      look();
    });
  }

  window.reelayTest = { all, clockOf, clocksOf, sightings, remotePeaks, elementPeak, elementTone, frames, connections };

  if (media !== "synthetic" || !navigator.mediaDevices) {
    return;
  }
  function camera(width = 640, height = 360) {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const draw = canvas.getContext("2d");
    const hue = (tone * 7) % 360;
    let angle = 0;
    const paint = () => {
      draw.fillStyle = `hsl(${hue} 40% 34%)`;
      draw.fillRect(0, 0, width, height);
      draw.fillStyle = `hsl(${hue} 60% 62%)`;
      draw.beginPath();
      draw.arc(width / 2, height * 0.62, height * 0.2, 0, 7);
      draw.fill();
      draw.fillStyle = "#fff";
      draw.fillRect(((angle += 5) % width) - 10, height * 0.9, 20, 20);
      drawClock(draw, width, height, Date.now() % 2 ** BITS);
    };
    paint();
    const timer = window.setInterval(paint, 1000 / fps);
    const [track] = canvas.captureStream(fps).getVideoTracks();
    const stop = track.stop.bind(track);
    track.stop = () => {
      window.clearInterval(timer);
      stop();
    };
    return track;
  }
  function microphone() {
    const out = context().createMediaStreamDestination();
    const oscillator = context().createOscillator();
    const gain = context().createGain();
    oscillator.frequency.value = tone;
    gain.gain.value = 0.4;
    oscillator.connect(gain).connect(out);
    oscillator.start();
    context().resume();
    return out.stream.getAudioTracks()[0];
  }
  const sizeOf = (wish, fallback) => (typeof wish === "number" ? wish : (wish?.exact ?? wish?.ideal ?? fallback));
  navigator.mediaDevices.getUserMedia = async (wishes = {}) => {
    const stream = new MediaStream();
    if (wishes.audio && tone === 0) {
      throw new DOMException("there is no microphone in this test", "NotFoundError");
    }
    if (wishes.audio) {
      stream.addTrack(microphone());
    }
    if (wishes.video) {
      stream.addTrack(camera(sizeOf(wishes.video.width, 640), sizeOf(wishes.video.height, 360)));
    }
    return stream;
  };
  navigator.mediaDevices.getDisplayMedia = async () => new MediaStream([camera(1280, 720)]);
  navigator.mediaDevices.enumerateDevices = async () => [
    { deviceId: "mic", kind: "audioinput", label: "Test microphone", groupId: "a", toJSON: () => ({}) },
    { deviceId: "cam", kind: "videoinput", label: "Test camera", groupId: "b", toJSON: () => ({}) },
    { deviceId: "speaker", kind: "audiooutput", label: "Test speaker", groupId: "a", toJSON: () => ({}) },
  ];
}
