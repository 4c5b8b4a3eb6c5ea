"""Takes the words out of a document, for a courier that must not have any.

Only the fields that are listed here are kept, so that a new field of the record has to be added here by somebody who
has thought about its words.
"""

from __future__ import annotations

from collections.abc import Iterable

from sessions.ports import Json, JsonObject
from sessions.problems import OTHER, plain
from sessions.stores.contract import SESSION, Document
from sessions.stores.documents import TURN
from sessions.stores.scores import SCORE

WORDS = "words"  # False in a document whose words were taken out
_OUTPUT_BYTES = "output_bytes"
_BASE = ("id", "tenant", "session_id", "type", "schema", "ttl")
_KEPT = {
    SESSION: (
        *_BASE, "agent", "agent_version", "model", "protocol", "state", "started_at", "ended_at", "end_reason",
        "summary", "latencies_ms", "recording", "owner", "dials", "setup", "prices",
    ),
    TURN: (
        *_BASE, "index", "begin_ms", "end_ms", "latency_ms", "interrupted", "outcome", "problem", "usage",
        "responses", "speech", "cost_nano", "budget_reached",
    ),
    SCORE: (*_BASE, "name", "value", "scored_at"),
}  # fmt: skip
_SAID_KEPT = (
    "kind", "item_id", "speaker", "spoken", "begin_ms", "sent_ms", "heard_ms", "heard", "final", "images", "keys",
    "transcription",
)  # fmt: skip
_TOOL_KEPT = (
    "kind", "call_id", "item_id", "name", "server_side", "begin_ms", "end_ms", "error", "server", "deadline_ms",
)  # fmt: skip


def without_words(document: Document) -> Document:
    """The document without texts, arguments, results, numbers and notes of the caller; it can still be read.

    The sizes of tool results are kept. Of a document of an unknown type, only its name is left.
    """
    kind = document.get("type")
    found = _only(document, _KEPT.get(str(kind), _BASE))
    found[WORDS] = False
    if kind == TURN:
        entries = document.get("entries")
        found["entries"] = [_entry(entry) for entry in entries] if isinstance(entries, list) else []
        responses = document.get("responses")
        found["responses"] = [_response(use) for use in responses] if isinstance(responses, list) else []
    return found


def has_words(document: Document) -> bool:
    """Whether the words are still in a document."""
    return document.get(WORDS) is not False


def result_bytes_of(turn: Document) -> dict[int, int]:
    """The sizes of the results of a turn's tools, by the place of the entry."""
    entries = turn.get("entries")
    sizes = {at: _result_bytes(entry) for at, entry in enumerate(entries if isinstance(entries, list) else ())}
    return {at: size for at, size in sizes.items() if size is not None}


def _only(values: JsonObject, kept: Iterable[str]) -> dict[str, Json]:
    return {name: values[name] for name in kept if name in values}


def _entry(entry: Json) -> JsonObject:
    assert isinstance(entry, dict)
    if entry.get("kind") != "tool":
        return {**_only(entry, _SAID_KEPT), "text": "", "heard_text": ""}
    size = _result_bytes(entry)
    output: dict[str, Json] = {} if size is None else {"output": "", _OUTPUT_BYTES: size}
    name: dict[str, Json] = {"name": OTHER} if _is_made_up(entry) else {}
    return {**_only(entry, _TOOL_KEPT), **name, "arguments": "", **output}


def _is_made_up(tool: JsonObject) -> bool:
    """`ToolUse.made_up`, of a document."""
    without_result = tool.get("error") is not None or tool.get("output") is None
    return tool.get("server_side") is True and tool.get("deadline_ms") is None and without_result


def _response(use: Json) -> JsonObject:
    """A response, with the model's word for its end where that is one plain word."""
    assert isinstance(use, dict)
    return {**use, "reason": plain(use.get("reason"))}


def _result_bytes(entry: Json) -> int | None:
    if not isinstance(entry, dict):
        return None
    known, output = entry.get(_OUTPUT_BYTES), entry.get("output")
    if isinstance(known, int):
        return known
    return len(output.encode("utf-8", "replace")) if isinstance(output, str) else None
