// Converts a stream of samples from one rate to another with a windowed sinc.
// Used only in browsers that do not support an AudioContext at the protocol's rate; most convert the sound themselves.
const LOBES = 16; // lobes of the sinc on each side, at the lower rate
const PHASES = 512; // the nearest phase is used; the error is 70 dB below the sound
const PASS = 0.92; // the cutoff, as a part of the lower rate's Nyquist frequency

export class Resampler {
  constructor(from, to) {
    const cutoff = Math.min(1, to / from) * PASS;
    this.step = from / to;
    this.half = Math.ceil(LOBES / Math.min(1, to / from)); // input samples on each side
    this.at = this.half; // position of the next output sample in `pending`
    this.pending = new Float32Array(this.half);
    this.weights = Array.from({ length: PHASES + 1 }, (_, phase) => this.#weigh(phase / PHASES, cutoff));
  }

  #weigh(fraction, cutoff) {
    return Float32Array.from({ length: 2 * this.half }, (_, tap) => {
      const distance = tap - this.half + 1 - fraction;
      const x = Math.PI * cutoff * distance;
      const window = 0.5 + 0.5 * Math.cos((Math.PI * distance) / (this.half + 1));
      return cutoff * (x === 0 ? 1 : Math.sin(x) / x) * window;
    });
  }

  // Returns the output that is complete so far; the last input samples wait for the ones after them.
  run(input) {
    const pending = new Float32Array(this.pending.length + input.length);
    pending.set(this.pending);
    pending.set(input, this.pending.length);
    const output = new Float32Array(Math.max(0, Math.ceil((pending.length - this.half - this.at) / this.step)));
    for (let i = 0; i < output.length; i += 1) {
      const base = Math.floor(this.at);
      const weights = this.weights[Math.round((this.at - base) * PHASES)];
      const first = base - this.half + 1;
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap += 1) sum += weights[tap] * pending[first + tap];
      output[i] = sum;
      this.at += this.step;
    }
    const keep = Math.max(0, Math.floor(this.at) - this.half);
    this.pending = pending.slice(keep);
    this.at -= keep;
    return output;
  }
}
