// One call over the Realtime protocol. It reports events to the page and does not decide how they are shown.
import { RATE, Sound, fromBase64, toBase64 } from "./sound.js";

// Bytes of unsent speech, 4 s; later speech would be too old to be useful. The limit is this high because a page that
// was blocked for a moment sends much at once although the network is not slow.
const UNSENT_LIMIT = 256 * 1024;
const GAPS_BEFORE_NOTICE = 3;
const LAST_WORDS_MS = 20000;
const FORMAT = { type: "audio/pcm", rate: RATE };
// Errors of requests that came just too late. They have no effect.
const HARMLESS_ERRORS = ["response_cancel_not_active", "item_truncate_invalid_item_id"];

export class Call extends EventTarget {
  // `secret()` resolves to a client secret, or to null if the gateway requires no key.
  constructor({ agent, secret }) {
    super();
    this.agent = agent;
    this.secret = secret;
    this.over = false;
    this.active = null; // id of the response that the model is giving
    this.requested = false; // a response was requested and has not begun
    this.requestNext = false; // one more response is to be requested when the active one is over
    this.turn = null; // the turn that waits for its first audible answer: { typedAt, responses (begun since then) }
    this.callerSpeaks = false;
    this.tools = new Set(); // item ids of running tool calls
    this.responses = new Map(); // item id -> response id
    this.cut = new Set(); // ids of interrupted responses: sound that still arrives is not played
    this.received = new Map(); // item id -> number of samples
    this.bargeIn = true;
    this.gaps = 0;
    this.sound = new Sound({
      frame: (samples, level) => this.#frame(samples, level),
      level: (level) => this.#report("agent-level", { level }),
      began: () => this.#reportState(),
      audible: (item, at) => this.#answerHeard(item, at),
      ended: () => this.#reportState(),
      stopped: (cut) => this.#stopped(cut),
      gap: () => this.#gap(),
      blocked: (blocked) => this.#report("sound-blocked", { blocked }),
      lost: () => this.#report("notice", { text: "The microphone was lost. You can type." }),
    });
  }

  #report(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  get state() {
    if (this.callerSpeaks) return "hearing";
    if (this.sound.sounding) return "speaking";
    if (this.tools.size) return "working";
    return this.active || this.requested || this.turn ? "thinking" : "listening";
  }

  #reportState() {
    this.#report("state", { state: this.state });
  }

  // ---- the socket

  async open(withMicrophone) {
    try {
      await this.sound.open(withMicrophone);
    } catch (problem) {
      if (!withMicrophone || !this.sound.speaker) throw problem;
      this.#report("notice", { text: `${microphoneProblem(problem)} You can type.` });
    }
    const secret = await this.secret();
    if (this.over) return;
    const address = new URL("/v1/realtime", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.search = new URLSearchParams({ model: this.agent, greeting: "1", server_tools: "show" });
    // A page cannot set headers for a socket. As a subprotocol, the secret does not appear in the URL.
    this.socket = new WebSocket(address, secret ? ["realtime", `openai-insecure-api-key.${secret}`] : ["realtime"]);
    this.socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    await new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onclose = () => reject(new Error("The gateway refused the call; it may have too many calls."));
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
    // The gateway hangs up when it expects that the goodbye has been played; here playback may be a little later.
    if (code === 1000) await this.sound.drained(LAST_WORDS_MS);
    this.#end(code, reason, false);
  }

  #end(code, reason, byCaller) {
    if (this.over) return;
    this.over = true;
    this.sound.close();
    this.#report("ended", { code, reason, byCaller });
  }

  // ---- what the caller does

  #frame(samples, level) {
    this.#report("caller-level", { level });
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    const slow = this.socket.bufferedAmount > UNSENT_LIMIT;
    if (slow && !this.slow) this.#report("notice", { text: "Your connection is slow: some of your speech is lost." });
    this.slow = slow;
    if (!slow) this.socket.send(`{"type":"input_audio_buffer.append","audio":"${toBase64(samples)}"}`);
  }

  say(text) {
    this.interrupt();
    this.turn = { typedAt: this.sound.now, responses: new Set() };
    const content = [{ type: "input_text", text }];
    this.#send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    this.#requestResponse();
  }

  // Only one response at a time: an active or cancelled one must be over first.
  #requestResponse() {
    if (this.active || this.requested) {
      this.requestNext = true;
    } else {
      this.requested = true;
      this.#send({ type: "response.create" });
    }
    this.#reportState();
  }

  // Stop the agent for the caller: the sound here at once, and the response at the model.
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
    this.#reportState();
    // It may be an answer to an earlier turn.
    if (!this.turn?.responses.has(this.responses.get(item))) return;
    const from = this.turn.typedAt ?? this.sound.audibleAt;
    this.turn = null;
    if (from === null) return;
    const ms = Math.max(0, Math.round((at + this.sound.outputDelay - from) * 1000));
    this.#report("latency", { item, ms });
  }

  // Tell the model what was heard, so that it does not remember what was only sent.
  #stopped(cut) {
    for (const { item, playedMs } of cut) {
      this.cut.add(this.responses.get(item));
      this.#send({ type: "conversation.item.truncate", item_id: item, content_index: 0, audio_end_ms: playedMs });
      this.#report("cut", { item, playedMs, receivedMs: this.#receivedMs(item) });
    }
    this.#reportState();
  }

  #receivedMs(item) {
    return ((this.received.get(item) || 0) / RATE) * 1000;
  }

  #gap() {
    this.gaps += 1;
    if (this.gaps !== GAPS_BEFORE_NOTICE) return;
    this.#report("notice", { text: "The agent's speech arrives late; your connection is slow." });
  }

  // ---- events from the gateway

  #take(event) {
    const handle = this.#handlers[event.type];
    if (handle) handle(event); // unknown events are ignored
  }

  #handlers = {
    "session.created": ({ session }) => {
      this.#session(session);
      this.#report("connected", { id: session.id, microphone: this.sound.hasMicrophone });
      this.#reportState();
    },
    "session.updated": ({ session }) => this.#session(session),

    "input_audio_buffer.speech_started": ({ item_id: item }) => {
      this.callerSpeaks = true;
      this.turn = null;
      if (this.bargeIn) this.#silence();
      this.#report("caller-began", { item });
      this.#reportState();
    },
    "input_audio_buffer.speech_stopped": ({ item_id: item }) => {
      this.callerSpeaks = false;
      this.turn = { typedAt: null, responses: new Set() };
      this.#report("caller-stopped", { item });
      this.#reportState();
    },
    "conversation.item.added": ({ item, previous_item_id: previous }) => {
      if (item.role === "user") this.#report("caller-item", { item, previous });
    },
    "conversation.item.input_audio_transcription.delta": (event) => {
      this.#report("caller-text", { item: event.item_id, text: event.delta, final: false });
    },
    "conversation.item.input_audio_transcription.completed": (event) => {
      this.#report("caller-text", { item: event.item_id, text: event.transcript, final: true });
    },
    "conversation.item.input_audio_transcription.failed": (event) => {
      this.#report("caller-text", { item: event.item_id, text: "", final: true });
    },

    "response.created": ({ response }) => {
      this.active = response.id;
      this.requested = false;
      this.turn?.responses.add(response.id);
      this.#reportState();
    },
    "response.output_item.added": ({ item, response_id: response }) => {
      this.responses.set(item.id, response);
      if (item.type !== "mcp_call") return;
      this.tools.add(item.id);
      this.#report("tool", { item });
      this.#reportState();
    },
    "response.mcp_call_arguments.done": ({ item_id: id, arguments: text }) => {
      this.#report("tool", { item: { id, arguments: text } });
    },
    "response.output_item.done": ({ item }) => {
      if (item.type !== "mcp_call") return;
      this.tools.delete(item.id);
      this.#report("tool", { item, done: true });
      this.#reportState();
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
      this.#report("agent-text", { item, text, receivedMs: this.#receivedMs(item) });
    },
    "response.output_text.delta": ({ response_id: response, item_id: item, delta: text }) => {
      this.responses.set(item, response);
      this.#report("agent-text", { item, text, written: true });
      this.#answerHeard(item, this.sound.now - this.sound.outputDelay);
    },
    "response.done": ({ response }) => {
      for (const [item, of] of this.responses) if (of === response.id) this.sound.finish(item);
      if (this.active === response.id) this.active = null;
      this.requested = false;
      // After a tool call more follows. Otherwise the answer had no sound, and no latency is measured for the turn.
      const continues =
        this.requestNext || this.sound.items.size || response.output?.some(({ type }) => type === "mcp_call");
      if (!continues && this.turn?.responses.has(response.id)) this.turn = null;
      if (response.status === "failed") {
        this.#report("problem", { text: response.status_details?.error?.message || "The agent could not answer." });
      }
      if (this.requestNext) {
        this.requestNext = false;
        this.#requestResponse();
      }
      this.#reportState();
    },
    error: ({ error }) => {
      if (HARMLESS_ERRORS.includes(error.code)) return;
      this.requested = false;
      // Voice detection has started a response first: request ours after that one.
      if (error.code === "conversation_already_has_active_response") this.requestNext = true;
      else this.#report("problem", { text: error.message });
      this.#reportState();
    },
  };

  #session({ audio }) {
    // If speech may not interrupt the agent, its speech goes on while the caller speaks.
    this.bargeIn = audio?.input?.turn_detection?.interrupt_response ?? true;
  }
}

function microphoneProblem({ name }) {
  if (name === "NotAllowedError") return "The microphone is not allowed.";
  if (name === "NotFoundError") return "There is no microphone.";
  if (name === "SecurityError") return "Browsers allow the microphone only for pages over https or on localhost.";
  return "The microphone does not work.";
}
