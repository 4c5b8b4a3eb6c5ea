// The microphone and the loudspeaker of one call, in one AudioContext, so that one clock times both.
import { Resampler } from "./resampler.js";

export const RATE = 24000;
const HELD_MS = 800; // a context that does not run by then is held back by the browser until somebody touches the page

// `on` has: frame(samples, level), level(level), began(item), audible(item, at), ended(item), stopped(cut), gap(),
// held(yes), lost(). Times are seconds of the context's clock.
export class Sound {
  constructor(on) {
    this.on = on;
    this.audibleAt = null; // when the caller was last audible
    this.closed = false;
    this.muted = false;
    this.items = new Set(); // that play, or are going to
    this.sounding = null; // the one that plays
  }

  // Raises what `getUserMedia` raises; the loudspeaker works all the same.
  async open(withMicrophone) {
    this.context = newContext(RATE);
    let refusal = null;
    if (withMicrophone) this.stream = await askForMicrophone().catch((problem) => { refusal = problem; });
    if (this.closed) return this.#letGo();
    await this.#build();
    if (this.stream) {
      try {
        this.#plugIn();
      } catch (problem) {
        // Firefox connects a microphone only to a context of the microphone's own rate.
        if (problem.name !== "NotSupportedError") throw problem;
        await this.context.close();
        this.context = newContext();
        await this.#build();
        this.#plugIn();
      }
    }
    if (this.closed) return this.#letGo();
    this.#wake();
    if (refusal) throw refusal;
  }

  async #build() {
    const context = this.context;
    await context.audioWorklet.addModule(new URL("worklets.js", import.meta.url));
    this.speaker = new AudioWorkletNode(context, "loudspeaker", { numberOfInputs: 0, outputChannelCount: [1] });
    this.speaker.port.onmessage = ({ data }) => this.#heard(data);
    this.speaker.connect(context.destination);
    this.resamplers = new Map(); // one for each item, where the context has another rate than the wire
  }

  #plugIn() {
    this.microphone = new AudioWorkletNode(this.context, "microphone", { numberOfOutputs: 0 });
    this.microphone.port.onmessage = ({ data }) => {
      this.audibleAt = data.audibleAt;
      this.on.frame(data.samples, data.level);
    };
    this.context.createMediaStreamSource(this.stream).connect(this.microphone);
    this.stream.getAudioTracks()[0].onended = () => this.on.lost();
    this.mute(this.muted);
  }

  // Browsers hold sound back until the page is touched, and phones take it away during a phone call.
  #wake() {
    const context = this.context;
    const resume = () => context.state === "closed" || context.resume();
    const tell = () => {
      if (this.closed) return;
      const held = context.state !== "running";
      if (held) for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, resume, { once: true });
      this.on.held(held);
    };
    resume();
    setTimeout(() => {
      if (context.state !== "running") tell();
      context.onstatechange = tell;
    }, HELD_MS);
  }

  #heard(report) {
    if (report.began) {
      this.sounding = report.began;
      this.on.began(report.began);
    } else if (report.audible) {
      this.on.audible(report.audible, report.time);
    } else if (report.ended) {
      this.#over([report.ended]);
      this.on.ended(report.ended);
    } else if (report.stopped) {
      this.#over(report.stopped.map(({ item }) => item));
      this.on.stopped(report.stopped);
    } else if (report.gap) {
      this.on.gap();
    } else {
      this.on.level(report.level);
    }
  }

  #over(items) {
    for (const item of items) {
      this.items.delete(item);
      this.resamplers.delete(item);
      if (this.sounding === item) this.sounding = null;
    }
    if (!this.items.size) this.silent?.();
  }

  get now() {
    return this.context.currentTime;
  }

  // From the audio thread to the ear, as far as the browser knows.
  get outputDelay() {
    return this.context.outputLatency || this.context.baseLatency || 0;
  }

  get hasMicrophone() {
    return Boolean(this.microphone);
  }

  async addMicrophone() {
    this.stream = await askForMicrophone();
    if (this.closed) this.#letGo();
    else this.#plugIn();
  }

  mute(muted) {
    this.muted = muted;
    this.microphone?.port.postMessage({ muted });
  }

  // `pcm` is 16-bit.
  play(item, pcm) {
    const samples = Float32Array.from(pcm, (sample) => sample / 32768);
    if (this.context.sampleRate !== RATE && !this.resamplers.has(item)) {
      this.resamplers.set(item, new Resampler(RATE, this.context.sampleRate));
    }
    this.items.add(item);
    this.#post(item, samples);
  }

  #post(item, samples) {
    const resampler = this.resamplers.get(item);
    const posted = resampler ? resampler.run(samples) : samples;
    this.speaker.port.postMessage({ item, samples: posted }, [posted.buffer]);
  }

  // No more of this item will come.
  finish(item) {
    if (!this.items.has(item)) return;
    const resampler = this.resamplers.get(item);
    if (resampler) this.#post(item, new Float32Array(resampler.half)); // what it holds back
    this.speaker.port.postMessage({ done: item });
  }

  // Silence at once; what was cut off is told to `stopped`.
  stop() {
    this.speaker?.port.postMessage({ stop: true });
  }

  // When the last word that has come has sounded, or after so long.
  async drained(limitMs) {
    for (const item of this.items) this.finish(item);
    if (!this.items.size) return;
    await new Promise((resolve) => {
      this.silent = resolve;
      setTimeout(resolve, limitMs);
    });
  }

  stopListening() {
    this.stream?.getTracks().forEach((track) => track.stop());
  }

  close() {
    this.closed = true;
    this.#letGo();
  }

  #letGo() {
    this.stopListening();
    if (this.context && this.context.state !== "closed") this.context.close();
  }
}

function newContext(sampleRate) {
  try {
    return new AudioContext({ sampleRate, latencyHint: "interactive" });
  } catch {
    return new AudioContext({ latencyHint: "interactive" }); // not at that rate, then
  }
}

function askForMicrophone() {
  if (!navigator.mediaDevices) throw new DOMException("insecure page", "SecurityError"); // neither https nor localhost
  return navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
}

export function toBase64(samples) {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  return btoa(String.fromCharCode(...bytes)); // a frame is short
}

export function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Int16Array(bytes.buffer, 0, bytes.length >> 1);
}
