// The transcript: what was said and which tools ran, in the order of speech. An item gets its position when it begins.
const NEAR_PX = 60; // a reader this near the end is scrolled along

export class Transcript {
  // `onScroll(behind)` is called with whether there is more text below the visible part.
  constructor(list, onScroll) {
    this.list = list;
    this.rows = new Map();
    this.follows = true;
    this.end = 0; // where the list was scrolled to last
    list.addEventListener("scroll", () => {
      this.follows = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_PX;
      this.end = this.follows ? list.scrollTop : 0;
      onScroll(!this.follows);
    });
    this.onScroll = onScroll;
  }

  clear(agent) {
    this.list.replaceChildren();
    this.rows.clear();
    this.agent = agent;
    this.toEnd();
  }

  toEnd() {
    this.follows = true;
    this.end = 0;
    this.#follow();
  }

  #follow() {
    // The reader may just have scrolled back: the event of it comes with the next frame, after this text.
    if (this.list.scrollTop < this.end - NEAR_PX) this.follows = false;
    if (this.follows) {
      this.list.scrollTop = this.list.scrollHeight;
      this.end = this.list.scrollTop;
    }
    this.onScroll(!this.follows);
  }

  #row(id, kind, after = null) {
    let row = this.rows.get(id);
    if (row) return row;
    row = { element: make("li", kind), body: make("div", "words"), words: "" };
    row.element.append(row.body);
    this.rows.set(id, row);
    const before = this.rows.get(after)?.element.nextSibling ?? null;
    this.list.insertBefore(row.element, before);
    return row;
  }

  // ---- what was said

  callerBegins(id, previous) {
    const row = this.#row(id, "caller pending", previous);
    if (!row.words) row.body.replaceChildren(make("i", "dots"), make("span", "unseen", "Speaking"));
    this.note(id, "You");
    this.#follow();
  }

  callerSays(id, text, final) {
    const row = this.#row(id, "caller pending");
    row.words = final ? text.trim() : row.words + text;
    row.body.textContent = row.words || "(not understood)";
    row.element.classList.toggle("pending", !final);
    this.note(id, "You");
    this.#follow();
  }

  agentSays(id, text, receivedMs) {
    const row = this.#row(id, "agent");
    row.words += text;
    row.receivedMs = receivedMs;
    this.note(id, this.agent);
    this.#showHeard(row);
    this.#follow();
  }

  agentCut(id, playedMs, receivedMs) {
    const row = this.rows.get(id);
    if (!row) return;
    Object.assign(row, { playedMs, receivedMs });
    this.note(id, playedMs ? "interrupted" : "not heard");
    this.#showHeard(row);
  }

  // Words that were not heard are struck out. Which ones is estimated, as if all speech had the same speed.
  #showHeard(row) {
    const { words, playedMs, receivedMs } = row;
    if (playedMs === undefined || !receivedMs || playedMs >= receivedMs) {
      row.body.textContent = words;
      return;
    }
    const at = words.lastIndexOf(" ", Math.floor((words.length * playedMs) / receivedMs)) + 1;
    const unheard = make("s", "", words.slice(at));
    unheard.title = "Not heard";
    row.body.replaceChildren(words.slice(0, at), unheard);
  }

  // Add a small remark under an item, unless it is already there.
  note(id, text, kind = "") {
    const row = this.rows.get(id);
    if (!row) return;
    row.notes ??= new Set();
    if (row.notes.has(text)) return;
    row.notes.add(text);
    if (!row.foot) {
      row.foot = make("footer");
      row.element.append(row.foot);
    }
    row.foot.append(make("span", kind, text));
    this.#follow();
  }

  // ---- tool calls

  tool(item, done) {
    const row = this.#row(item.id, "tool pending");
    row.began ??= performance.now();
    row.item = { ...row.item, ...item };
    if (!row.details) {
      row.details = make("details");
      row.summary = make("summary");
      row.facts = make("div", "facts");
      row.details.append(row.summary, row.facts);
      row.body.replaceWith(row.details);
    }
    const { name, error, output } = row.item;
    const given = parse(row.item.arguments);
    row.element.classList.toggle("pending", !done);
    row.element.classList.toggle("failed", Boolean(error));
    row.summary.replaceChildren(make("i", "mark"), make("b", "", name), make("span", "given", brief(given)));
    if (done) row.took ??= `${Math.round(performance.now() - row.began)} ms`;
    row.summary.append(make("span", "took", !done ? "running…" : error ? "failed" : row.took));
    // Arguments that are complete in the summary are not repeated.
    row.facts.replaceChildren(...(isFlat(given) ? [] : fact("Given", given)));
    if (done) row.facts.append(...fact(error ? "Problem" : "Result", parse(error ? error.message : output)));
    this.#follow();
  }

  say(text, kind) {
    this.#row(`${kind}-${this.rows.size}`, kind).body.textContent = text;
    this.#follow();
  }
}

function make(tag, kind = "", text = "") {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text) element.textContent = text;
  return element;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text || null;
  }
}

const isFlat = (value) => isObject(value) && !Object.values(value).some(isObject);
const isObject = (value) => value !== null && typeof value === "object";
const words = (name) => name.replaceAll("_", " ");

// The short arguments, in one line.
function brief(given) {
  if (!isObject(given)) return "";
  const parts = Object.entries(given).filter(([, value]) => value !== null && !isObject(value));
  return parts.map(([key, value]) => `${words(key)} ${value}`).join(" · ");
}

function fact(title, value) {
  const text = value === null ? "" : plain(value);
  return text ? [make("h3", "", title), make("pre", "", text.trimStart())] : [];
}

// JSON as an indented list: a line for each entry, without brackets and quotes.
function plain(value, indent = "") {
  if (!isObject(value)) return String(value ?? "–");
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    if (!value.some(isObject)) return value.join(", ") || "–";
    return value.map((one) => `\n${indent}- ${plain(one, deeper).trimStart()}`).join("");
  }
  const lines = Object.entries(value).map(([key, one]) => `${indent}${words(key)}: ${plain(one, deeper)}`);
  return lines.length ? `\n${lines.join("\n")}` : "";
}
