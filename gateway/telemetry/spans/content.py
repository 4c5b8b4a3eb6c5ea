"""What was said in a turn, as messages of the GenAI conventions, for the agents whose words may be sent.

Output is what was heard. Keys that a caller has pressed are never sent, nor is the text of a tool's error. A response
takes what was said, and which tools have answered, since the response before it.
Source: the JSON schemas of `gen_ai.input.messages` and `gen_ai.output.messages`, GenAI conventions v0.1.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson

from gateway.telemetry.spans.bounds import tool_name, value
from gateway.telemetry.spans.pressed_keys import PressedKeys
from gateway.telemetry.spans.redaction import Redaction
from sessions.ports import Json, JsonObject
from sessions.problems import plain
from sessions.record import Speaker, ToolUse, Turn, Utterance

MAX_MESSAGES_BYTES = 128 * 1024  # of one span's input, and of its output; what comes first is kept
MAX_TOOL_BYTES = 8 * 1024  # of a tool's arguments, and of its result
_FINISHED = {"completed": "stop", "max_output_tokens": "length", "content_filter": "content_filter", "failed": "error"}


class Words:
    """The words of a turn as they may be sent: without keys, without error texts, and redacted."""

    def __init__(self, redaction: Redaction, keys: PressedKeys) -> None:
        self._redaction = redaction
        self._keys = keys

    def arguments(self, use: ToolUse) -> str:
        """A tool's arguments, as JSON text of at most 8 KiB."""
        return cut(self._redaction.json(self._keys.arguments(use)))

    def result(self, use: ToolUse) -> str | None:
        """A tool's result, of at most 8 KiB; None where it has none, or where the result is an error's text."""
        if use.output is None or use.error is not None:
            return None
        return cut(self._redaction.json(self._keys.output(use)))

    def heard(self, said: Utterance) -> str:
        """What was heard of an utterance."""
        return self._redaction.text(self._keys.text(said, said.heard_text))

    def turn_input(self, turn: Turn) -> str | None:
        """What the caller has said in a turn."""
        return messages(self._from_caller(_said_by(Speaker.CALLER, turn)))

    def turn_output(self, turn: Turn) -> str | None:
        """What was heard of the agent in a turn, and the tools that it called."""
        reason = turn.responses[-1].reason if turn.responses else None
        return messages(self._from_agent(_of_agent(turn), reason or turn.outcome))

    def response_messages(self, turn: Turn) -> list[tuple[str | None, str | None]]:
        """For each response of a turn, in its order: input and output."""
        found, given = [], set[int]()
        for at, use in enumerate(turn.responses):
            asked = self._input(turn, at, given)
            own = [entry for entry in _of_agent(turn) if response_of(turn, entry) == at]
            found.append((messages(asked), messages(self._from_agent(own, use.reason or use.outcome))))
        return found

    def _input(self, turn: Turn, response: int, given: set[int]) -> list[JsonObject]:
        begin_ms = turn.responses[response].begin_ms
        found: list[JsonObject] = []
        for at, entry in enumerate(turn.entries):
            if at in given:
                continue
            if isinstance(entry, Utterance):
                if entry.speaker is Speaker.CALLER and entry.begin_ms <= begin_ms:
                    given.add(at)
                    found += self._from_caller([entry])
            elif entry.end_ms is not None and entry.end_ms <= begin_ms and response_of(turn, entry) < response:
                given.add(at)
                found.append(self._answer(entry))
        return found

    def _from_caller(self, said: Iterable[Utterance]) -> list[JsonObject]:
        texts = [text for each in said if (text := self._redaction.text(self._keys.text(each, each.text)))]
        return [{"role": "user", "parts": [{"type": "text", "content": text}]} for text in texts]

    def _from_agent(self, entries: Sequence[Utterance | ToolUse], reason: str | None) -> list[JsonObject]:
        parts: list[JsonObject] = []
        for entry in entries:
            if isinstance(entry, ToolUse):
                parts.append(
                    {
                        "type": "tool_call",
                        "id": value(entry.call_id),
                        "name": tool_name(entry),
                        "arguments": self._parsed(entry),
                    }
                )
            elif text := self.heard(entry):
                parts.append({"type": "text", "content": text})
        if not parts:
            return []
        word = plain(reason) or "completed"
        calls_last = parts[-1]["type"] == "tool_call" and word == "completed"
        finished = "tool_call" if calls_last else _FINISHED.get(word, word)
        return [{"role": "assistant", "parts": parts, "finish_reason": finished}]

    def _answer(self, use: ToolUse) -> JsonObject:
        result = self.result(use)
        response: Json = {"error": use.error} if result is None else result
        part: JsonObject = {"type": "tool_call_response", "id": value(use.call_id), "response": response}
        return {"role": "tool", "parts": [part]}

    def _parsed(self, use: ToolUse) -> Json:
        text = self.arguments(use)
        try:
            parsed: Json = orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
        return parsed


def messages(found: Sequence[JsonObject]) -> str | None:
    """Messages as JSON text; None where there are none."""
    fitting = _fitting([_bounded(message) for message in found])
    return orjson.dumps(fitting).decode() if fitting else None


def _bounded(message: JsonObject) -> JsonObject:
    parts = message["parts"]
    return {**message, "parts": _fitting(parts)} if isinstance(parts, list) else message


def _fitting(found: list[JsonObject]) -> list[JsonObject]:
    """The first of these that have room together."""
    room, kept = MAX_MESSAGES_BYTES, list[JsonObject]()
    for each in found:
        room -= len(orjson.dumps(each))
        if room < 0:
            break
        kept.append(each)
    return kept


def as_text(messages_text: str) -> str:
    """The texts of messages, one a line."""
    parsed = orjson.loads(messages_text)
    return "\n".join(part["content"] for message in parsed for part in message["parts"] if part["type"] == "text")


def cut(text: str, most: int = MAX_TOOL_BYTES) -> str:
    """The beginning of a text that has at most `most` bytes in UTF-8."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= most else data[:most].decode("utf-8", "ignore")


def _said_by(speaker: Speaker, turn: Turn) -> list[Utterance]:
    return [entry for entry in turn.entries if isinstance(entry, Utterance) and entry.speaker is speaker]


def _of_agent(turn: Turn) -> list[Utterance | ToolUse]:
    return [entry for entry in turn.entries if isinstance(entry, ToolUse) or entry.speaker is Speaker.AGENT]


def response_of(turn: Turn, entry: Utterance | ToolUse) -> int:
    """The response that said something or called a tool: the last that had begun before; 0 where none had.

    A tool starts when its response has ended, which may be when the next one begins.
    """
    tool = isinstance(entry, ToolUse)
    begun = [
        at
        for at, use in enumerate(turn.responses)
        if use.begin_ms < entry.begin_ms or (use.begin_ms == entry.begin_ms and not tool)
    ]
    return max(begun, default=0)
