// One call over the Realtime protocol. Tells the page what happens; decides nothing about how it looks.
import { RATE, Sound, fromBase64, toBase64 } from "./sound.js";

// Bytes of speech that wait for a slow network, 4 s; what is later is of no use. A page that was held up for a moment
// sends much at once, and must not be taken for a slow network.
const UNSENT_LIMIT = 256 * 1024;
const GAPS_TOLD = 3;
const LAST_WORDS_MS = 20000;
const FORMAT = { type: "audio/pcm", rate: RATE };
const RACES = ["response_cancel_not_active", "item_truncate_invalid_item_id"]; // nothing was lost by them

export class Call extends EventTarget {
  // `secret()` resolves to a client secret, or to null where the gateway asks for no key.
  constructor({ agent, secret }) {
    super();
    this.agent = agent;
    this.secret = secret;
    this.over = false;
    this.active = null; // the response that the model is giving
    this.asked = false; // for a response that has not begun
    this.asksNext = false; // for one more, once the active one is over
    this.turn = null; // that waits for its answer's first sound: { typedAt, responses (begun since) }
    this.callerSpeaks = false;
    this.tools = new Set(); // that run
    this.responses = new Map(); // item -> response
    this.cut = new Set(); // responses whose late sound must not be played
    this.received = new Map(); // item -> samples
    this.bargeIn = true;
    this.gaps = 0;
    this.sound = new Sound({
      frame: (samples, level) => this.#frame(samples, level),
      level: (level) => this.#tell("agent-level", { level }),
      began: () => this.#tellState(),
      audible: (item, at) => this.#answerHeard(item, at),
      ended: () => this.#tellState(),
      stopped: (cut) => this.#stopped(cut),
      gap: () => this.#gap(),
      held: (held) => this.#tell("sound-held", { held }),
      lost: () => this.#tell("notice", { text: "The microphone was lost. You can type." }),
    });
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  get state() {
    if (this.callerSpeaks) return "hearing";
    if (this.sound.sounding) return "speaking";
    if (this.tools.size) return "working";
    return this.active || this.asked || this.turn ? "thinking" : "listening";
  }

  #tellState() {
    this.#tell("state", { state: this.state });
  }

  // ---- the socket

  async open(withMicrophone) {
    try {
      await this.sound.open(withMicrophone);
    } catch (problem) {
      if (!withMicrophone || !this.sound.speaker) throw problem;
      this.#tell("notice", { text: `${microphoneProblem(problem)} You can type.` });
    }
    const secret = await this.secret();
    if (this.over) return;
    const address = new URL("/v1/realtime", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.search = new URLSearchParams({ model: this.agent, greeting: "1", server_tools: "show" });
    // A browser cannot give a header to a socket; a name of a protocol is the place where a secret is in no address.
    this.socket = new WebSocket(address, secret ? ["realtime", `openai-insecure-api-key.${secret}`] : ["realtime"]);
    this.socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    await new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onclose = () => reject(new Error("The gateway did not take the call; all lines may be busy."));
    });
    this.socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    const audio = { input: { format: FORMAT }, output: { format: FORMAT } };
    this.#send({ type: "session.update", session: { type: "realtime", audio } });
  }

  #send(event) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  hangUp() {
    if (this.over) return;
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.close(1000, "hung up");
    this.#end(1000, "", true);
  }

  async #closed(code, reason) {
    if (this.over) return;
    this.sound.stopListening();
    // The gateway hangs up when it reckons that the goodbye has sounded; here it may have begun a little later.
    if (code === 1000) await this.sound.drained(LAST_WORDS_MS);
    this.#end(code, reason, false);
  }

  #end(code, reason, byCaller) {
    if (this.over) return;
    this.over = true;
    this.sound.close();
    this.#tell("ended", { code, reason, byCaller });
  }

  // ---- what the caller does

  #frame(samples, level) {
    this.#tell("caller-level", { level });
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    const slow = this.socket.bufferedAmount > UNSENT_LIMIT;
    if (slow && !this.slow) this.#tell("notice", { text: "Your connection is slow: some of your speech is lost." });
    this.slow = slow;
    if (!slow) this.socket.send(`{"type":"input_audio_buffer.append","audio":"${toBase64(samples)}"}`);
  }

  say(text) {
    this.interrupt();
    this.turn = { typedAt: this.sound.now, responses: new Set() };
    const content = [{ type: "input_text", text }];
    this.#send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    this.#ask();
  }

  // One response at a time: one that is being given, or cancelled, must be over first.
  #ask() {
    if (this.active || this.asked) {
      this.asksNext = true;
    } else {
      this.asked = true;
      this.#send({ type: "response.create" });
    }
    this.#tellState();
  }

  // The caller wants silence: stop the sound here at once, and the answer at its source.
  interrupt() {
    if (this.active) this.#send({ type: "response.cancel" });
    this.turn = null;
    this.#silence();
  }

  #silence() {
    if (this.active) this.cut.add(this.active);
    this.sound.stop();
  }

  async setMicrophone(on) {
    this.sound.mute(!on);
    if (on && !this.sound.hasMicrophone && this.sound.speaker) await this.sound.addMicrophone();
  }

  // ---- what is heard

  #answerHeard(item, at) {
    this.#tellState();
    // An answer to an earlier turn may still have been on its way.
    if (!this.turn?.responses.has(this.responses.get(item))) return;
    const from = this.turn.typedAt ?? this.sound.audibleAt;
    this.turn = null;
    if (from === null) return;
    const ms = Math.max(0, Math.round((at + this.sound.outputDelay - from) * 1000));
    this.#tell("latency", { item, ms });
  }

  // The model must remember what was heard, not what was sent.
  #stopped(cut) {
    for (const { item, playedMs } of cut) {
      this.cut.add(this.responses.get(item));
      this.#send({ type: "conversation.item.truncate", item_id: item, content_index: 0, audio_end_ms: playedMs });
      this.#tell("cut", { item, playedMs, receivedMs: this.#receivedMs(item) });
    }
    this.#tellState();
  }

  #receivedMs(item) {
    return ((this.received.get(item) || 0) / RATE) * 1000;
  }

  #gap() {
    this.gaps += 1;
    if (this.gaps !== GAPS_TOLD) return;
    this.#tell("notice", { text: "The agent's speech comes late; your connection is slow." });
  }

  // ---- what the gateway says

  #take(event) {
    const take = this.#takers[event.type];
    if (take) take(event); // a kind that is new is not for us
  }

  #takers = {
    "session.created": ({ session }) => {
      this.#session(session);
      this.#tell("connected", { id: session.id, microphone: this.sound.hasMicrophone });
      this.#tellState();
    },
    "session.updated": ({ session }) => this.#session(session),

    "input_audio_buffer.speech_started": ({ item_id: item }) => {
      this.callerSpeaks = true;
      this.turn = null;
      if (this.bargeIn) this.#silence();
      this.#tell("caller-began", { item });
      this.#tellState();
    },
    "input_audio_buffer.speech_stopped": ({ item_id: item }) => {
      this.callerSpeaks = false;
      this.turn = { typedAt: null, responses: new Set() };
      this.#tell("caller-stopped", { item });
      this.#tellState();
    },
    "conversation.item.added": ({ item, previous_item_id: previous }) => {
      if (item.role === "user") this.#tell("caller-item", { item, previous });
    },
    "conversation.item.input_audio_transcription.delta": (event) => {
      this.#tell("caller-text", { item: event.item_id, text: event.delta, final: false });
    },
    "conversation.item.input_audio_transcription.completed": (event) => {
      this.#tell("caller-text", { item: event.item_id, text: event.transcript, final: true });
    },
    "conversation.item.input_audio_transcription.failed": (event) => {
      this.#tell("caller-text", { item: event.item_id, text: "", final: true });
    },

    "response.created": ({ response }) => {
      this.active = response.id;
      this.asked = false;
      this.turn?.responses.add(response.id);
      this.#tellState();
    },
    "response.output_item.added": ({ item, response_id: response }) => {
      this.responses.set(item.id, response);
      if (item.type !== "mcp_call") return;
      this.tools.add(item.id);
      this.#tell("tool", { item });
      this.#tellState();
    },
    "response.mcp_call_arguments.done": ({ item_id: id, arguments: text }) => {
      this.#tell("tool", { item: { id, arguments: text } });
    },
    "response.output_item.done": ({ item }) => {
      if (item.type !== "mcp_call") return;
      this.tools.delete(item.id);
      this.#tell("tool", { item, done: true });
      this.#tellState();
    },
    "response.output_audio.delta": ({ response_id: response, item_id: item, delta }) => {
      const samples = fromBase64(delta);
      this.received.set(item, (this.received.get(item) || 0) + samples.length);
      if (this.cut.has(response)) return;
      this.responses.set(item, response);
      this.sound.play(item, samples);
    },
    "response.output_audio.done": ({ item_id: item }) => this.sound.finish(item),
    "response.output_audio_transcript.delta": ({ item_id: item, delta: text }) => {
      this.#tell("agent-text", { item, text, receivedMs: this.#receivedMs(item) });
    },
    "response.output_text.delta": ({ response_id: response, item_id: item, delta: text }) => {
      this.responses.set(item, response);
      this.#tell("agent-text", { item, text, written: true });
      this.#answerHeard(item, this.sound.now - this.sound.outputDelay);
    },
    "response.done": ({ response }) => {
      for (const [item, of] of this.responses) if (of === response.id) this.sound.finish(item);
      if (this.active === response.id) this.active = null;
      this.asked = false;
      // After a tool there is more to come; else an answer without sound was all.
      const goesOn = this.asksNext || this.sound.items.size || response.output?.some(({ type }) => type === "mcp_call");
      if (!goesOn && this.turn?.responses.has(response.id)) this.turn = null;
      if (response.status === "failed") {
        this.#tell("problem", { text: response.status_details?.error?.message || "The agent could not answer." });
      }
      if (this.asksNext) {
        this.asksNext = false;
        this.#ask();
      }
      this.#tellState();
    },
    error: ({ error }) => {
      if (RACES.includes(error.code)) return;
      this.asked = false;
      // Voice detection was quicker in asking for an answer: ours is due after that one.
      if (error.code === "conversation_already_has_active_response") this.asksNext = true;
      else this.#tell("problem", { text: error.message });
      this.#tellState();
    },
  };

  #session({ audio }) {
    // Where the agent may not be interrupted, its speech plays on while the caller speaks.
    this.bargeIn = audio?.input?.turn_detection?.interrupt_response ?? true;
  }
}

function microphoneProblem({ name }) {
  if (name === "NotAllowedError") return "The microphone is not allowed.";
  if (name === "NotFoundError") return "There is no microphone.";
  if (name === "SecurityError") return "Browsers give the microphone to pages over https or on localhost only.";
  return "The microphone does not work.";
}
