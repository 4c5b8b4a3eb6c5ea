// Two audio processors, which run on the audio thread at the context's rate.
import { Resampler } from "./resampler.js";

const WIRE_RATE = 24000;
const FRAME = 480; // 20 ms at the wire rate
const AUDIBLE = 184 / 32768; // 45 dB below full scale
const REPORT_S = 0.05;
const FADE_S = 0.003; // a fade-out, so that an interruption does not click

// Speech arrives in pieces, about when they must be played. Playback begins when STOCK_S has been received, or WAIT_S
// after the first piece: this bridges late pieces and does not slow down a model that is faster than speech.
const STOCK_S = 0.2;
const WAIT_S = 0.06;
const LONGEST_WAIT_S = 0.24; // the wait grows up to this if pieces still arrive too late

// Finds when sound is audible by the same rule as the server, so that both measure the same latency: at least three of
// four neighbouring windows of 5 ms have a root mean square above the gate.
class Gate {
  constructor() {
    this.window = Math.round(sampleRate / 200);
    this.clear();
  }

  clear() {
    this.squares = 0;
    this.filled = 0;
    this.history = 0; // the last four windows, one bit each; the newest is the lowest bit
    this.began = null; // start of the first audible sound, in samples of the context's clock
    this.ended = null; // end of the last audible sound
  }

  take(sample, at) {
    this.squares += sample * sample;
    this.filled += 1;
    if (this.filled < this.window) return;
    const loud = this.squares >= AUDIBLE * AUDIBLE * this.window;
    this.history = ((this.history << 1) | loud) & 15;
    this.squares = 0;
    this.filled = 0;
    if (![7, 11, 13, 15].includes(this.history)) return;
    this.ended = at + 1;
    if (this.began === null) this.began = at + 1 - this.window * (this.history === 7 ? 3 : 4);
  }
}

// Cuts the microphone's sound into frames at the wire rate, and records when the caller was last audible.
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = sampleRate === WIRE_RATE ? null : new Resampler(sampleRate, WIRE_RATE);
    this.gate = new Gate();
    this.muted = false;
    this.#next();
    this.port.onmessage = ({ data }) => {
      this.muted = data.muted;
    };
  }

  #next() {
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.peak = 0;
  }

  process([[channel]]) {
    if (!channel) return true; // the microphone is not connected or was lost
    // While it is muted, silence is sent, so that an open turn can end.
    const heard = this.muted ? new Float32Array(channel.length) : channel;
    for (let i = 0; i < heard.length; i += 1) this.gate.take(heard[i], currentFrame + i);
    for (const sample of this.resampler ? this.resampler.run(heard) : heard) {
      this.frame[this.filled] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      this.filled += 1;
      this.peak = Math.max(this.peak, Math.abs(sample));
      if (this.filled === FRAME) {
        const audibleAt = this.gate.ended === null ? null : this.gate.ended / sampleRate;
        this.port.postMessage({ samples: this.frame, level: this.peak, audibleAt }, [this.frame.buffer]);
        this.#next();
      }
    }
    return true;
  }
}

// Plays the agent's items one after the other, and reports how much of each has been played.
class Loudspeaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = []; // items: { id, runs, at (in the first run), stock, played, done, starved }
    this.playing = false; // if false, sound is being buffered
    this.waitsSince = null;
    this.wait = WAIT_S;
    this.fade = new Float32Array(0);
    this.gate = new Gate();
    this.reported = currentTime;
    this.peak = 0;
    this.port.onmessage = ({ data }) => {
      if (data.samples) this.#stock(data.item, data.samples);
      else if (data.done) this.#done(data.done);
      else this.#stop();
    };
  }

  #stock(id, samples) {
    let item = this.queue.find((one) => one.id === id);
    if (!item) {
      item = { id, runs: [], at: 0, stock: 0, played: 0, done: false, starved: false };
      this.queue.push(item);
    }
    item.runs.push(samples);
    item.stock += samples.length;
    this.waitsSince ??= currentTime;
  }

  #done(id) {
    const item = this.queue.find((one) => one.id === id);
    if (item) item.done = true;
  }

  #stop() {
    const cut = this.queue.map(({ id, played }) => ({ item: id, playedMs: Math.floor((played / sampleRate) * 1000) }));
    const fade = new Float32Array(Math.round(FADE_S * sampleRate));
    for (let i = 0; i < fade.length && this.playing; i += 1) fade[i] = this.#sample() * (1 - (i + 1) / fade.length);
    this.fade = this.playing ? fade : this.fade;
    this.queue = [];
    this.playing = false;
    this.waitsSince = null;
    this.port.postMessage({ stopped: cut });
  }

  // The next sample of the current item, or silence if there is none yet.
  #sample() {
    const item = this.queue[0];
    if (!item?.stock) return 0;
    const sample = item.runs[0][item.at];
    item.at += 1;
    item.stock -= 1;
    item.played += 1;
    if (item.at === item.runs[0].length) {
      item.runs.shift();
      item.at = 0;
    }
    return sample;
  }

  #mayPlay() {
    const stock = this.queue.reduce((sum, item) => sum + item.stock, 0);
    if (!stock) return false;
    return this.queue[0].done || stock >= STOCK_S * sampleRate || currentTime - this.waitsSince >= this.wait;
  }

  // Remove items that have been played. Returns false if there is nothing to play now.
  #ready() {
    while (this.queue.length && !this.queue[0].stock) {
      if (!this.queue[0].done && this.queue.length === 1) {
        this.queue[0].starved = true;
        break;
      }
      this.port.postMessage({ ended: this.queue.shift().id });
      this.gate.clear();
    }
    if (this.queue[0]?.stock) return true;
    this.playing = false;
    this.waitsSince = null;
    return false;
  }

  process(_, [[channel]]) {
    let at = Math.min(this.fade.length, channel.length);
    channel.set(this.fade.subarray(0, at));
    this.fade = this.fade.subarray(at);
    if (!this.playing) this.playing = this.#mayPlay();
    // The end of an item may be reported only after its last sample has been played.
    if (!this.playing && this.queue[0]?.done && !this.queue[0].stock) this.#ready();
    while (this.playing && at < channel.length && this.#ready()) {
      const item = this.queue[0];
      if (!item.played) {
        this.gate.clear();
        this.port.postMessage({ began: item.id });
      } else if (item.starved) {
        item.starved = false;
        this.wait = Math.min(LONGEST_WAIT_S, this.wait * 2);
        this.port.postMessage({ gap: item.id });
      }
      for (; at < channel.length && item.stock; at += 1) {
        channel[at] = this.#sample();
        this.#listen(item.id, channel[at], currentFrame + at);
      }
    }
    for (let i = 0; i < channel.length; i += 1) this.peak = Math.max(this.peak, Math.abs(channel[i]));
    this.#report();
    return true;
  }

  #listen(id, sample, at) {
    if (this.gate.began !== null) return;
    this.gate.take(sample, at);
    if (this.gate.began !== null) this.port.postMessage({ audible: id, time: this.gate.began / sampleRate });
  }

  #report() {
    if (currentTime - this.reported < REPORT_S) return;
    if (this.peak || this.wasLoud) this.port.postMessage({ level: this.peak });
    this.wasLoud = this.peak > 0;
    this.reported = currentTime;
    this.peak = 0;
  }
}

registerProcessor("microphone", Microphone);
registerProcessor("loudspeaker", Loudspeaker);
