// The microphone and the loudspeaker of one call, in one AudioContext, so that both have the same clock.
import { Resampler } from "./resampler.js";

export const RATE = 24000;
const BLOCKED_MS = 800; // a context that does not run by then is blocked by the browser until the user clicks or types

// `on` has these callbacks: frame(samples, level), level(level), began(item), audible(item, at), ended(item),
// stopped(cut), gap(), blocked(isBlocked), lost(). Times are in seconds on the context's clock.
export class Sound {
  constructor(on) {
    this.on = on;
    this.audibleAt = null; // when the caller was last audible
    this.closed = false;
    this.muted = false;
    this.items = new Set(); // ids of items that are played or queued
    this.sounding = null; // id of the item that is being played
  }

  // Throws what `getUserMedia` throws; the loudspeaker works nevertheless.
  async open(withMicrophone) {
    this.context = newContext(RATE);
    let refusal = null;
    if (withMicrophone) this.stream = await askForMicrophone().catch((problem) => { refusal = problem; });
    if (this.closed) return this.#release();
    await this.#build();
    if (this.stream) {
      try {
        this.#connectMicrophone();
      } catch (problem) {
        // Firefox connects a microphone only to a context that has the microphone's rate.
        if (problem.name !== "NotSupportedError") throw problem;
        await this.context.close();
        this.context = newContext();
        await this.#build();
        this.#connectMicrophone();
      }
    }
    if (this.closed) return this.#release();
    this.#startSound();
    if (refusal) throw refusal;
  }

  async #build() {
    const context = this.context;
    await context.audioWorklet.addModule(new URL("worklets.js", import.meta.url));
    this.speaker = new AudioWorkletNode(context, "loudspeaker", { numberOfInputs: 0, outputChannelCount: [1] });
    this.speaker.port.onmessage = ({ data }) => this.#onReport(data);
    this.speaker.connect(context.destination);
    this.resamplers = new Map(); // one for each item, if the context's rate differs from the protocol's
  }

  #connectMicrophone() {
    this.microphone = new AudioWorkletNode(this.context, "microphone", { numberOfOutputs: 0 });
    this.microphone.port.onmessage = ({ data }) => {
      this.audibleAt = data.audibleAt;
      this.on.frame(data.samples, data.level);
    };
    this.context.createMediaStreamSource(this.stream).connect(this.microphone);
    this.stream.getAudioTracks()[0].onended = () => this.on.lost();
    this.mute(this.muted);
  }

  // Browsers block sound until the user clicks or types, and phones suspend it during a telephone call.
  #startSound() {
    const context = this.context;
    const resume = () => context.state === "closed" || context.resume();
    const report = () => {
      if (this.closed) return;
      const blocked = context.state !== "running";
      if (blocked) for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, resume, { once: true });
      this.on.blocked(blocked);
    };
    resume();
    setTimeout(() => {
      if (context.state !== "running") report();
      context.onstatechange = report;
    }, BLOCKED_MS);
  }

  #onReport(report) {
    if (report.began) {
      this.sounding = report.began;
      this.on.began(report.began);
    } else if (report.audible) {
      this.on.audible(report.audible, report.time);
    } else if (report.ended) {
      this.#removeItems([report.ended]);
      this.on.ended(report.ended);
    } else if (report.stopped) {
      this.#removeItems(report.stopped.map(({ item }) => item));
      this.on.stopped(report.stopped);
    } else if (report.gap) {
      this.on.gap();
    } else {
      this.on.level(report.level);
    }
  }

  #removeItems(items) {
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

  // The delay from the audio thread to the loudspeaker in seconds, as far as the browser knows it.
  get outputDelay() {
    return this.context.outputLatency || this.context.baseLatency || 0;
  }

  get hasMicrophone() {
    return Boolean(this.microphone);
  }

  async addMicrophone() {
    this.stream = await askForMicrophone();
    if (this.closed) this.#release();
    else this.#connectMicrophone();
  }

  mute(muted) {
    this.muted = muted;
    this.microphone?.port.postMessage({ muted });
  }

  // `pcm` is an Int16Array at the protocol's rate.
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

  // The sound of this item is complete.
  finish(item) {
    if (!this.items.has(item)) return;
    const resampler = this.resamplers.get(item);
    if (resampler) this.#post(item, new Float32Array(resampler.half)); // flushes the resampler
    this.speaker.port.postMessage({ done: item });
  }

  // Stop playback at once; `stopped` gets the interrupted items.
  stop() {
    this.speaker?.port.postMessage({ stop: true });
  }

  // Resolves when everything received so far has been played, at the latest after `limitMs`.
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
    this.#release();
  }

  #release() {
    this.stopListening();
    if (this.context && this.context.state !== "closed") this.context.close();
  }
}

function newContext(sampleRate) {
  try {
    return new AudioContext({ sampleRate, latencyHint: "interactive" });
  } catch {
    return new AudioContext({ latencyHint: "interactive" }); // the rate is not supported
  }
}

function askForMicrophone() {
  // Browsers offer `mediaDevices` only to pages on https or localhost.
  if (!navigator.mediaDevices) throw new DOMException("insecure page", "SecurityError");
  return navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
}

export function toBase64(samples) {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  return btoa(String.fromCharCode(...bytes)); // a frame is short enough for the spread
}

export function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Int16Array(bytes.buffer, 0, bytes.length >> 1);
}
