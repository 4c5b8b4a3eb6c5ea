// The page: lets the user choose an agent, makes calls, and shows what happens.
import { Call } from "./call.js";
import { hasKey, listAgents, mintSecret, useKey, whyRefused } from "./api.js";
import { Transcript } from "./transcript.js";

const $ = (id) => document.getElementById(id);
const STATES = {
  off: "Not in a call",
  calling: "Calling…",
  listening: "Listening",
  hearing: "Hearing you",
  thinking: "Thinking…",
  working: "Using a tool…",
  speaking: "Speaking",
};
const END_MESSAGES = {
  1000: "Call ended.",
  1001: "The gateway is shutting down. You can call again soon.",
  1006: "The connection was lost. You can call again.",
  1013: "Your connection was too slow for the call.",
};
// If the page is opened right after the server's start, an agent may not be ready yet, so the list is loaded again.
const RELOAD_MS = 2000;
// The second click of a double click on Call hits Hang up, which replaces it; it must be ignored.
const DOUBLE_CLICK_MS = 500;

const transcript = new Transcript($("transcript"), (behind) => { $("latest").hidden = !behind; });
let agents = [];
let call = null;
let began = 0;
let latencies = [];
let reloadTimer = null;

// ---- status and figures

function status(text, problem = false) {
  // Setting the same text again would make screen readers repeat it.
  if ($("status").textContent !== text) $("status").textContent = text;
  $("status").classList.toggle("problem", problem);
}

function showState(state) {
  $("stage").dataset.state = state;
  $("state").textContent = STATES[state];
  $("interrupt").disabled = !["speaking", "thinking", "working"].includes(state);
}

function showLevel(side, level) {
  // A logarithmic scale from -50 dB to full scale, like the perception of loudness.
  const shown = level > 0 ? Math.max(0, 1 + Math.log10(level) / 2.5) : 0;
  $("stage").style.setProperty(`--${side}`, shown.toFixed(2));
}

function showTime() {
  const seconds = Math.floor((performance.now() - began) / 1000);
  $("time").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function showLatency(ms) {
  latencies.push(ms);
  const sorted = [...latencies].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  $("turn-count").textContent = latencies.length;
  $("latency-last").textContent = `${ms} ms`;
  $("latency-median").textContent =
    `${sorted.length % 2 ? sorted[middle] : Math.round((sorted[middle - 1] + sorted[middle]) / 2)} ms`;
}

function clearFigures() {
  latencies = [];
  for (const id of ["turn-count", "latency-last", "latency-median"]) $(id).textContent = "–";
  $("time").textContent = "0:00";
}

function showCall(on) {
  const focused = document.activeElement;
  document.body.classList.toggle("in-call", on);
  $("call").hidden = on;
  $("hang-up").hidden = !on;
  $("interrupt").hidden = !on;
  if (on) $("figures").hidden = false;
  $("agents").disabled = on;
  $("typed").disabled = !on;
  $("send").disabled = !on;
  if (on) $("empty").hidden = true;
  if (focused === $("call") && on) $("hang-up").focus();
  if ((focused === $("hang-up") || focused === $("typed")) && !on) $("call").focus();
  if (!on) for (const side of ["you", "agent"]) showLevel(side, 0);
}

// ---- agents and keys

async function loadAgents() {
  try {
    // Agents that can be called come first; the sort is stable.
    agents = (await listAgents()).sort((left, right) => right.available - left.available);
  } catch (problem) {
    const locked = problem.status === 401;
    if (locked) showKeyForm(hasKey());
    status(locked && !hasKey() ? "This gateway requires an API key." : problem.message, !locked || hasKey());
    if (locked) useKey(null);
    return;
  }
  showLock(false);
  showAgents();
}

function showLock(locked) {
  document.body.classList.toggle("locked", locked);
  $("key-form").hidden = !locked;
  $("change-key").hidden = locked || !hasKey();
}

function showKeyForm(wrong) {
  showLock(true);
  $("key").setAttribute("aria-invalid", wrong);
  $("key").focus();
  agents = [];
  showAgents();
}

function showAgents() {
  const chosen = chosenAgent()?.name;
  const callable = agents.filter(({ available }) => available);
  const first = callable.find(({ name }) => name === chosen) ?? callable[0];
  $("agent-list").replaceChildren(...agents.map((agent) => card(agent, agent === first)));
  $("agents").hidden = !agents.length;
  $("call").disabled = !first;
  if (agents.length && !call) status(first ? "" : "No agent can be called at the moment.", !first);
  clearTimeout(reloadTimer);
  if (agents.length && !first) reloadTimer = setTimeout(loadAgents, RELOAD_MS);
}

function card(agent, checked) {
  const label = $("agent-card").content.firstElementChild.cloneNode(true);
  const [name, about, model] = label.querySelectorAll("[data-is]");
  Object.assign(label.querySelector("input"), { value: agent.name, checked, disabled: !agent.available });
  name.textContent = agent.name;
  about.textContent = agent.available ? agent.description : agent.reason || "Not available at the moment.";
  about.hidden = !about.textContent;
  model.textContent = agent.model;
  label.classList.toggle("unavailable", !agent.available);
  return label;
}

function chosenAgent() {
  const name = $("agent-list").querySelector("input:checked")?.value;
  return agents.find((agent) => agent.name === name);
}

// ---- a call

function listenTo(to) {
  const on = (type, take) => to.addEventListener(type, ({ detail }) => take(detail));
  on("state", ({ state }) => showState(state));
  on("connected", ({ id, microphone }) => {
    $("session").textContent = id;
    $("microphone").checked &&= microphone;
    status(microphone ? "Connected. Speak, or type." : "Connected. Type your message.");
    if (!microphone) $("typed").focus();
  });
  on("caller-level", ({ level }) => showLevel("you", level));
  on("agent-level", ({ level }) => showLevel("agent", level));
  on("caller-began", ({ item }) => transcript.callerBegins(item));
  on("caller-item", ({ item, previous }) => {
    const text = item.content?.find((part) => part.type === "input_text")?.text;
    transcript.callerBegins(item.id, previous);
    if (text) transcript.callerSays(item.id, text, true);
    if (text) transcript.note(item.id, "typed");
  });
  on("caller-text", ({ item, text, final }) => transcript.callerSays(item, text, final));
  on("agent-text", ({ item, text, receivedMs }) => transcript.agentSays(item, text, receivedMs));
  on("cut", ({ item, playedMs, receivedMs }) => transcript.agentCut(item, playedMs, receivedMs));
  on("tool", ({ item, done }) => transcript.tool(item, done));
  on("latency", ({ item, ms }) => {
    showLatency(ms);
    transcript.note(item, `${ms} ms`, "latency");
  });
  on("notice", ({ text }) => {
    transcript.say(text, "notice");
    $("announce").textContent = text;
  });
  on("problem", ({ text }) => {
    transcript.say(text, "problem");
    $("announce").textContent = text;
  });
  on("sound-blocked", ({ blocked }) => {
    status(blocked ? "Your browser blocks the sound: click anywhere." : "Connected.", blocked);
  });
  on("ended", ({ code, reason, byCaller }) => {
    if (call === to) ended(byCaller || !reason ? END_MESSAGES[code] : null, code, reason);
  });
}

function ended(closing, code, reason) {
  call = null;
  clearInterval(clockTimer);
  status(closing ?? (reason ? `Call ended: ${reason}.` : `The connection was lost (${code}).`), code !== 1000);
  showState("off");
  showCall(false);
}

let clockTimer = null;

async function start() {
  const agent = chosenAgent();
  if (call || !agent) return;
  began = performance.now();
  call = new Call({ agent: agent.name, secret: () => mintSecret(agent.name) });
  const thisCall = call;
  globalThis.patchbay = { call }; // for inspection in the browser's console
  listenTo(call);
  transcript.clear(agent.name);
  clearFigures();
  showCall(true);
  showState("calling");
  status($("microphone").checked ? "Calling; your browser may ask for the microphone." : "Calling…");
  clockTimer = setInterval(showTime, 1000);
  try {
    await thisCall.open($("microphone").checked);
  } catch (problem) {
    if (call !== thisCall) return; // hung up meanwhile
    thisCall.hangUp();
    if (problem.status === 401) {
      loadAgents();
      return;
    }
    const why = await whyRefused(agent.name);
    if (!call) status(why ?? problem.message, true);
  }
}

async function switchMicrophone({ target }) {
  try {
    await call?.setMicrophone(target.checked);
  } catch {
    target.checked = false;
    transcript.say("The microphone could not be switched on.", "notice");
  }
}

function interrupt() {
  if (call && !$("interrupt").disabled) call.interrupt();
}

$("call").addEventListener("click", start);
$("hang-up").addEventListener("click", () => {
  if (performance.now() - began > DOUBLE_CLICK_MS) call?.hangUp();
});
$("interrupt").addEventListener("click", interrupt);
$("microphone").addEventListener("change", switchMicrophone);
$("latest").addEventListener("click", () => transcript.toEnd());
$("change-key").addEventListener("click", () => {
  call?.hangUp();
  useKey(null);
  loadAgents();
});
$("type-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("typed").value.trim();
  if (!text || !call?.sound.context) return;
  call.say(text);
  transcript.toEnd();
  $("typed").value = "";
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const value = $("key").value.trim();
  $("key").value = "";
  if (!value) return;
  useKey(value);
  loadAgents();
});
addEventListener("keydown", ({ key }) => {
  if (key === "Escape") interrupt();
});
addEventListener("pagehide", () => call?.hangUp());

showState("off");
loadAgents();
