"""Compares the outcome of a replay with `expect.yaml`, and checks what must be true of every call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import soundfile
from support.replays.file import FRAME_MS
from support.replays.player import Outcome

from audio.formats import AudioFormat, Coding
from audio.g711 import decode

ENTRY_KEYS = {
    "caller": {"caller", "images", "typed", "begin_ms"},
    "agent": {"agent", "heard", "heard_ms", "how", "written", "begin_ms"},
    "tool": {"tool", "arguments", "output", "error", "client", "took_ms"},
}
TURN_KEYS = {"entries", "latency_ms", "interrupted", "outcome", "usage", "problem"}
# A peak of PCM16 below this counts as silence.
QUIET = 60
EDGE_MS = 30
# Above this root mean square of PCM16, a sound is audible.
GATE = 200
WINDOW_MS = 5
LATENCY_ERROR_MS = 30


class Findings:
    """Collects, in words, what differs from the expectation."""

    def __init__(self, slack_ms: int = 0) -> None:
        self.found: list[str] = []
        self.slack_ms = slack_ms

    def compare(self, where: str, expected: Any, actual: Any) -> None:
        """Add a finding where `actual` does not fit."""
        if not fits(expected, actual, self.slack_ms):
            self.found.append(f"{where}: expected {_short(expected)}, not {_short(actual)}")

    def check(self, holds: object, text: str) -> None:
        """Add `text` as a finding unless `holds`."""
        if not holds:
            self.found.append(text)


def fits(expected: Any, actual: Any, slack_ms: int = 0) -> bool:
    """Whether a value fits what was expected.

    A mapping's keys must exist and fit, and more keys may exist. A list must fit as a whole. `~words` must be contained
    in the text. `5..9` is a range of numbers, widened by `slack_ms` at both ends. Everything else must be equal.
    """
    if isinstance(expected, Mapping):
        return isinstance(actual, Mapping) and all(
            key in actual and fits(wanted, actual[key], slack_ms) for key, wanted in expected.items()
        )
    if isinstance(expected, list):
        same = isinstance(actual, Sequence) and not isinstance(actual, str) and len(actual) == len(expected)
        return same and all(fits(one, other, slack_ms) for one, other in zip(expected, actual, strict=True))
    if isinstance(expected, str):
        if expected.startswith("~"):
            return isinstance(actual, str) and expected[1:] in actual
        low, dots, high = expected.partition("..")
        if dots and isinstance(actual, int | float) and low.isdecimal() and high.isdecimal():
            return int(low) - slack_ms <= actual <= int(high) + slack_ms
    return bool(expected == actual and type(expected) is type(actual))


def problems(expected: Mapping[str, Any], outcome: Outcome, slack_ms: int = 0) -> list[str]:
    """All that is wrong with a call, in words. `slack_ms` is for calls in real time."""
    findings = Findings(slack_ms)
    findings.found += outcome.referee.faults
    findings.check(outcome.broken == 0, "the call ended because of a fault in the gateway")
    _end(expected, outcome, findings)
    _client(expected, outcome, findings)
    _turns(expected["turns"], outcome.turns, findings)
    _agreement(outcome, findings)
    _latencies(outcome, findings)
    wanted, there = expected.get("bookings", []), outcome.bookings
    findings.compare("bookings", wanted, there)
    if outcome.session["recording"]["state"] != "off":
        _recording(outcome, findings)
    findings.compare("recording", expected.get("recording", "off"), outcome.session["recording"]["state"])
    return findings.found


def _end(expected: Mapping[str, Any], outcome: Outcome, findings: Findings) -> None:
    session = outcome.session
    findings.compare("end_reason", expected["end_reason"], session["end_reason"])
    findings.compare("state", "ended", session["state"])
    findings.compare("legs", expected["legs"], outcome.legs)
    findings.compare("redials", expected["legs"] - 1, session["summary"]["redials"])
    findings.compare("summary", expected.get("summary", {}), session["summary"])
    if outcome.closed_by_client:
        findings.check("closed" not in expected, "the client closed the connection, but the gateway was expected to")
    else:
        assert outcome.client.closed is not None
        findings.compare("unfinished responses", expected.get("unfinished", 0), outcome.referee.unfinished)
        findings.compare("closed", expected.get("closed"), outcome.client.closed[0])
    latencies = [turn["latency_ms"] for turn in outcome.turns if turn["latency_ms"] is not None]
    findings.compare("latencies of the session", latencies, session["latencies_ms"])
    findings.compare("turns of the session", len(outcome.turns), session["summary"]["turns"])


def _client(expected: Mapping[str, Any], outcome: Outcome, findings: Findings) -> None:
    findings.compare("errors", expected.get("errors", []), outcome.referee.errors)
    findings.compare("responses", expected["responses"], outcome.referee.statuses)
    kinds = Counter(received.type for received in outcome.received)
    updates = sum(1 for _, said in outcome.client.sent if said is not None and said.get("type") == "session.update")
    refused = sum(1 for code in outcome.referee.errors if code is not None)
    answered = kinds["session.updated"]
    findings.check(answered <= updates <= answered + refused, f"{updates} session updates, {answered} answers")
    for kind, count in expected.get("counts", {}).items():
        findings.compare(f"count of {kind}", count, kinds[kind])
    for kind in expected.get("never", []):
        findings.check(kind not in kinds, f"{kind} was seen")
    rest = iter(outcome.received)
    for wanted in expected.get("sees", []):
        if not any(fits(wanted, received.event) for received in rest):
            findings.check(False, f"sees: {_short(wanted)} did not come, or came out of order")
            break


def _turns(expected: Sequence[Mapping[str, Any]], turns: Sequence[Mapping[str, Any]], findings: Findings) -> None:
    findings.compare("turns", len(expected), len(turns))
    for wanted, turn in zip(expected, turns, strict=False):
        where = f"turn {turn['index']}"
        if unknown := set(wanted) - TURN_KEYS:
            findings.check(False, f"{where}: {unknown} is not known in expect.yaml")
        for key, default in (("interrupted", False), ("outcome", "completed"), ("usage", {}), ("problem", None)):
            findings.compare(f"{where}, {key}", wanted.get(key, default), turn[key])
        findings.compare(f"{where}, latency_ms", wanted["latency_ms"], turn["latency_ms"])
        findings.check(turn["end_ms"] is not None, f"{where} never ended")
        entries = turn["entries"]
        if len(entries) != len(wanted["entries"]):
            findings.check(False, f"{where}: expected {len(wanted['entries'])} entries: {_short(_told(entries))}")
            continue
        for at, (one, entry) in enumerate(zip(wanted["entries"], entries, strict=True)):
            _entry(f"{where}, entry {at}", one, entry, findings)


def _told(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{entry['speaker'] or entry['name']}: {entry['text'] or entry['arguments']}" for entry in entries]


def _entry(where: str, wanted: Mapping[str, Any], entry: Mapping[str, Any], findings: Findings) -> None:
    kind = next(iter(wanted))
    findings.check(set(wanted) <= ENTRY_KEYS.get(kind, set()), f"{where}: {_short(wanted)} is not known in expect.yaml")
    if kind == "tool":
        actual = entry["name"] if entry["kind"] == "tool" else f"{entry['speaker']}: {entry['text']}"
        findings.compare(where, wanted["tool"], actual)
        if entry["kind"] == "tool":
            _tool(where, wanted, entry, findings)
        return
    findings.compare(f"{where}, speaker", kind, entry["speaker"])
    findings.compare(where, wanted[kind], entry["text"])
    findings.compare(f"{where}, spoken", not wanted.get("typed", wanted.get("written", False)), entry["spoken"])
    if not (findings.slack_ms and "heard" in wanted):  # in real time a cut may fall on the next word
        findings.compare(f"{where}, heard", wanted.get("heard", wanted[kind]), entry["heard_text"])
    findings.compare(f"{where}, images", wanted.get("images", 0), entry["images"])
    if kind == "agent" and entry["spoken"]:
        whole = entry["sent_ms"]
        findings.compare(f"{where}, heard_ms", wanted.get("heard_ms", whole), entry["heard_ms"])
        findings.compare(f"{where}, how", wanted.get("how", "estimated"), entry["heard"])
    if "begin_ms" in wanted:
        findings.compare(f"{where}, begin_ms", wanted["begin_ms"], entry["begin_ms"])


def _tool(where: str, wanted: Mapping[str, Any], entry: Mapping[str, Any], findings: Findings) -> None:
    findings.compare(f"{where}, arguments", wanted["arguments"], orjson.loads(entry["arguments"] or "{}"))
    findings.compare(f"{where}, output", wanted["output"], entry["output"])
    findings.compare(f"{where}, error", wanted.get("error"), entry["error"])
    findings.compare(f"{where}, server_side", not wanted.get("client", False), entry["server_side"])
    if "took_ms" in wanted:
        findings.compare(f"{where}, took_ms", wanted["took_ms"], entry["end_ms"] - entry["begin_ms"])


# ---- checks for every call


def _said(turns: Sequence[Mapping[str, Any]], speaker: str) -> Iterator[Mapping[str, Any]]:
    return (entry for turn in turns for entry in turn["entries"] if entry["speaker"] == speaker)


def _agreement(outcome: Outcome, findings: Findings) -> None:
    """The record holds the words that the client was sent, and no more was heard than was sent."""
    words = outcome.referee.words
    for entry in _said(outcome.turns, "agent"):
        item_id = entry["item_id"]
        findings.compare(f"words of {item_id} in the record", words.get(item_id, ""), entry["text"])
        if entry["spoken"]:
            sent = int(outcome.referee.sound_ms.get(item_id, 0) + 1e-6)
            findings.check(
                abs(sent - entry["sent_ms"]) <= 1, f"{item_id}: {sent} ms received, {entry['sent_ms']} in the record"
            )
            findings.check(entry["heard_ms"] <= entry["sent_ms"], f"{item_id} was heard longer than it is")
        findings.check(
            entry["text"].startswith(entry["heard_text"]), f"{item_id}: the text does not begin with what was heard"
        )
    begins = [turn["begin_ms"] for turn in outcome.turns]
    findings.check(begins == sorted(begins), "turns are not in order")
    tokens = Counter[str]()
    for turn in outcome.turns:
        tokens.update(turn["usage"])
    for kind, count in outcome.session["summary"]["usage"].items():
        findings.check(count >= tokens[kind], f"{kind}: {count} tokens of the call, {tokens[kind]} of its turns")


def _latencies(outcome: Outcome, findings: Findings) -> None:
    """Measure each latency in the record again, at the client and from the sound alone."""
    client = outcome.client
    caller = _audible(((at_ms - FRAME_MS, payload) for at_ms, payload in client.spoken), outcome.caller_format)
    for turn in outcome.turns:
        entries = turn["entries"]
        asked = [entry for entry in entries if entry["speaker"] == "caller"]
        if turn["latency_ms"] is None or not asked or not asked[-1]["spoken"]:
            continue
        items = {entry["item_id"] for entry in entries if entry["speaker"] == "agent"}
        speech = ((at_ms, payload) for item_id, at_ms, payload in client.sounded if item_id in items)
        first = min(_audible(speech, client.output_format), default=None)
        last = max((at_ms + WINDOW_MS for at_ms in caller if first is not None and at_ms < first), default=None)
        if first is None or last is None:
            findings.check(False, f"turn {turn['index']}: a latency of {turn['latency_ms']} ms, but no audible sound")
            continue
        near = abs(first - last - turn["latency_ms"]) <= LATENCY_ERROR_MS + findings.slack_ms
        findings.check(near, f"turn {turn['index']}: {turn['latency_ms']} ms, at the client {first - last:.0f}")


def _audible(frames: Iterable[tuple[float, bytes]], format: AudioFormat) -> list[float]:
    """When sound is audible: the beginnings of windows in a loud run, where three windows of four are loud."""
    step = format.rate_hz * WINDOW_MS // 1000
    times: list[float] = []
    loud: list[bool] = []
    for at_ms, payload in frames:
        pcm16 = payload if format.coding is Coding.PCM16 else decode(payload, format.coding)
        samples = np.frombuffer(pcm16, dtype="<i2").astype(np.float64)
        windows = samples[: len(samples) // step * step].reshape(-1, step)
        times += [at_ms + WINDOW_MS * index for index in range(len(windows))]
        loud += list(np.sqrt(np.mean(windows**2, axis=1)) > GATE)
    runs = {at for at in range(len(loud) - 3) if sum(loud[at : at + 4]) >= 3}
    return [times[at] for at in range(len(loud)) if loud[at] and not runs.isdisjoint(range(at - 3, at + 1))]


def _recording(outcome: Outcome, findings: Findings) -> None:
    """The agent's voice is on the right channel where the record says it was heard, and nowhere else."""
    kept = outcome.session["recording"]
    findings.compare("recording, complete", True, kept["complete"])
    findings.compare("recording, file", True, (outcome.kept / "recording.flac").is_file())
    samples, rate_hz = soundfile.read(outcome.kept / "recording.flac", dtype="int16", always_2d=True)
    right = abs(samples[:, 1].astype("int32"))
    heard = [
        (entry["begin_ms"], entry["begin_ms"] + entry["heard_ms"])
        for entry in _said(outcome.turns, "agent")
        if entry["heard_ms"]
    ]
    for begin_ms, end_ms in heard:
        span = right[begin_ms * rate_hz // 1000 : end_ms * rate_hz // 1000]
        if end_ms - begin_ms > 400:
            findings.check(len(span) and span.max() > 20 * QUIET, f"recording: nothing from {begin_ms} to {end_ms} ms")
        right[max(0, begin_ms - EDGE_MS) * rate_hz // 1000 : (end_ms + EDGE_MS) * rate_hz // 1000] = 0
    loud = (right > QUIET).nonzero()[0]
    if len(loud):
        findings.check(False, f"recording: the agent sounds at {loud[0] * 1000 // rate_hz} ms, unheard by the record")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:400]}…"
