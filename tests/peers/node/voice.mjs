// What a client's script needs for the call: a microphone, a loudspeaker, and notes of what the client saw.
// The same call as in ../client_voice.py. Sound is PCM16 24 kHz mono.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const FRAME_MS = 20;
const BYTES_PER_MS = 48;
const FRAME_BYTES = FRAME_MS * BYTES_PER_MS;
const STEP_LIMIT_MS = 10_000;
const BARGE_IN_AFTER_MS = 1200;

// A caller who speaks a line when asked and is otherwise silent, always in 20 ms frames in real time.
class Microphone {
  constructor(lines) {
    this.lines = lines;
    this.left = Buffer.alloc(0);
    this.open = true;
  }

  say(line) {
    this.left = readFileSync(join(this.lines, `${line}.pcm`));
  }

  async pour(take) {
    let due = performance.now();
    while (this.open) {
      due += FRAME_MS;
      await sleep(Math.max(0, due - performance.now()));
      const frame = Buffer.alloc(FRAME_BYTES);
      this.left.copy(frame);
      this.left = this.left.subarray(FRAME_BYTES);
      if (this.open) take(frame);
    }
  }
}

// Plays queued sound in real time, until it is cleared.
class Loudspeaker {
  gotMs = 0;
  #heardMs = 0;
  #queueMs = 0;
  #since = performance.now();

  play(pcm) {
    this.#advance();
    this.gotMs += pcm.byteLength / BYTES_PER_MS;
    this.#queueMs += pcm.byteLength / BYTES_PER_MS;
  }

  clear() {
    this.#advance();
    this.#queueMs = 0;
  }

  get heardMs() {
    this.#advance();
    return this.#heardMs;
  }

  get silent() {
    this.#advance();
    return this.#queueMs <= 0;
  }

  #advance() {
    const now = performance.now();
    const played = Math.min(this.#queueMs, now - this.#since);
    this.#since = now;
    this.#queueMs -= played;
    this.#heardMs += played;
  }
}

// The call that every client makes: a typed line, a greeting, a booking, the weather, an interruption, a goodbye.
export class ClientCall {
  constructor() {
    const [url, folder, key, out, agent] = process.argv.slice(2);
    Object.assign(this, { url, key, out, agent });
    this.microphone = new Microphone(join(folder, 'lines'));
    this.typed = readFileSync(join(folder, 'lines', 'typed.txt'), 'utf8');
    this.loudspeaker = new Loudspeaker();
    this.notes = {
      events: [],
      agent_said: [],
      caller_said: [],
      tools: [],
      interruptions: 0,
      heard_ms: 0,
      got_ms: 0,
      errors: [],
    };
  }

  weather(place) {
    this.notes.tools.push({ name: 'get_weather', place });
    return JSON.stringify({ place, weather: 'sunny, 24 degrees' });
  }

  async talk(typed) {
    const { loudspeaker, notes } = this;
    typed(this.typed);
    await this.#answered('Harbour Restaurant.');
    await this.#line('hello', 'How can I help?');
    await this.#line('table', 'at seven.');
    const beforeMs = loudspeaker.heardMs;
    this.microphone.say('weather');
    await this.until(() => notes.tools.length && loudspeaker.heardMs > beforeMs + BARGE_IN_AFTER_MS, 'the weather');
    await this.#line('stop', 'Goodbye then.');
    notes.heard_ms = Math.floor(loudspeaker.heardMs);
    notes.got_ms = Math.floor(loudspeaker.gotMs);
    this.microphone.open = false;
  }

  async until(holds, what) {
    const limit = performance.now() + STEP_LIMIT_MS;
    while (!holds()) {
      if (this.notes.errors.length) throw new Error(this.notes.errors[0]);
      if (performance.now() > limit) throw new Error(`waited for ${what}; said so far: ${this.notes.agent_said}`);
      await sleep(10);
    }
  }

  async #line(line, answer) {
    this.microphone.say(line);
    await this.#answered(answer);
  }

  async #answered(answer) {
    await this.until(() => this.notes.agent_said.join(' ').includes(answer), answer);
    await this.until(() => this.loudspeaker.silent, 'silence');
  }

  // Runs the script's `main` and writes the notes, with the error if there was one.
  async run(main) {
    let code = 0;
    try {
      await main();
    } catch (error) {
      console.error(error);
      this.notes.errors.push(String(error));
      code = 1;
    }
    writeFileSync(this.out, JSON.stringify(this.notes));
    process.exit(code);
  }
}
