// Sound from one rate to another, run after run: a windowed sinc, sampled at whatever phase the ratio asks for.
// Only for browsers that refuse a context at the wire's rate; most do the conversion themselves.
const LOBES = 16; // of the sinc on each side, at the lower rate
const PHASES = 512; // the nearest one is taken: its error lies 70 dB below the sound
const PASS = 0.92; // of the lower rate's Nyquist frequency

export class Resampler {
  constructor(from, to) {
    const cutoff = Math.min(1, to / from) * PASS;
    this.step = from / to;
    this.half = Math.ceil(LOBES / Math.min(1, to / from)); // samples of the input on each side
    this.at = this.half; // where the next output lies, in samples of `line`
    this.line = new Float32Array(this.half);
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

  // What can be told of the sound so far; the last few samples wait for their right-hand neighbours.
  run(input) {
    const line = new Float32Array(this.line.length + input.length);
    line.set(this.line);
    line.set(input, this.line.length);
    const output = new Float32Array(Math.max(0, Math.ceil((line.length - this.half - this.at) / this.step)));
    for (let i = 0; i < output.length; i += 1) {
      const base = Math.floor(this.at);
      const weights = this.weights[Math.round((this.at - base) * PHASES)];
      const first = base - this.half + 1;
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap += 1) sum += weights[tap] * line[first + tap];
      output[i] = sum;
      this.at += this.step;
    }
    const keep = Math.max(0, Math.floor(this.at) - this.half);
    this.line = line.slice(keep);
    this.at -= keep;
    return output;
  }
}
