"""Turns the result of an MCP server's tool into text for the model, and reads as much as it can of a faulty one.

A result that has arrived proves that the tool was called and answered, so nothing here refuses a result. A part that is
missing, of a wrong type or against the server's own schema is noted for the log; the rest goes to the model.
Source: MCP 2026-07-28 and 2025-11-25, `CallToolResult`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.tools.contract import cut
from gateway.tools.json_reading import Unreadable, read_json, write_json
from sessions.ports import Json, JsonObject
from sessions.text import well_formed

NOTHING_SAID = "The service has answered, without any words."
# The most values that are checked against an output schema.
_MAX_CHECKS = 2000
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "object": dict,
    "array": list,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


@dataclass(frozen=True, slots=True)
class ReadResult:
    """A result for the model. `notes` say what the server did wrong, in words that repeat nothing from the result."""

    text: str
    refused: bool
    notes: tuple[str, ...]


def read_result(result: Json, max_bytes: int, schema: JsonObject | None = None) -> ReadResult:
    """What the model reads: the result's text or, where it has structured content too, one JSON object with both.

    The text is the object's `sentence`, or its `error` when the tool refused. A text that only repeats the structured
    content is left out. Where both together are too long, only the text is kept. Content that is not text is named and
    not shown.
    """
    notes: list[str] = []
    if not isinstance(result, dict):
        notes.append(f"the result is {name_of(result)}, not an object")
        result = {} if result is None else {"content": [], "structuredContent": result}
    refused = _refused(result.get("isError"), notes)
    words = well_formed("\n".join(_words(result, notes)))
    facts = _facts(result.get("structuredContent"), notes)
    if schema is not None and not refused:
        notes += [note for note in (first_violation(schema, facts),) if note is not None]
    return ReadResult(_joined(words, facts, refused, max_bytes), refused, tuple(notes))


def name_of(value: Json) -> str:
    """The type of a JSON value, as JSON calls it."""
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, kind in _TYPES.items() if isinstance(value, kind))


def first_violation(schema: JsonObject, facts: JsonObject | None) -> str | None:
    """The first place where structured content violates its schema, in the schema's own names; None where it is valid.

    Only types, required fields and enumerations are checked. A full check takes 0.1 s or more of the loop's time.
    """
    if facts is None:
        return "structuredContent is missing, though the tool has an outputSchema"
    try:
        return next(_violations(schema, facts, schema, "structuredContent", [_MAX_CHECKS]), None)
    except RecursionError:
        return None


def _refused(flag: Json, notes: list[str]) -> bool:
    if flag is None or isinstance(flag, bool):
        return flag is True
    notes.append(f"isError is {name_of(flag)}, not a boolean")
    return flag == 1 or (isinstance(flag, str) and flag.strip().lower() in ("true", "1", "yes"))


def _words(result: Mapping[str, Json], notes: list[str]) -> Iterator[str]:
    content = result.get("content", [])
    if not isinstance(content, list):
        notes.append(f"content is {name_of(content)}, not an array")
        content = [] if content is None else [content]
    for index, block in enumerate(content):
        if isinstance(block, dict):
            yield _words_of(block, f"content[{index}]", notes)
        else:
            notes.append(f"content[{index}] is {name_of(block)}, not an object")
            yield _plain(block)


def _words_of(block: Mapping[str, Json], where: str, notes: list[str]) -> str:
    kind = block.get("type")
    if kind == "resource":
        resource = block.get("resource")
        words = resource.get("text") if isinstance(resource, dict) else None
        return words if isinstance(words, str) else "[resource left out]"
    if kind in ("image", "audio", "resource_link"):
        return f"[{kind} left out]"
    words = block.get("text")
    if kind != "text":
        notes.append(f"{where} has an unknown type")
    if isinstance(words, str):
        return words
    if kind != "text":
        return f"[{kind[:32] if isinstance(kind, str) else 'something'} left out]"
    notes.append(f"{where}.text is {name_of(words)}, not a string")
    return _plain(words)


def _plain(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value, 1 << 20)


def _facts(facts: Json, notes: list[str]) -> JsonObject | None:
    if facts is None or isinstance(facts, dict):
        return facts
    notes.append(f"structuredContent is {name_of(facts)}, not an object")
    return {"result": facts}


def _joined(words: str, facts: JsonObject | None, refused: bool, max_bytes: int) -> str:
    if facts is None:
        if refused:
            return cut(_json({"error": words}, 8 * len(words) + 100), max_bytes)
        return cut(words, max_bytes) if words.strip() else NOTHING_SAID
    repeated = _repeats(words, facts, max_bytes)
    if repeated and facts.keys() == {"result"} and not refused:  # the SDK wraps a bare value this way
        return cut(words, max_bytes)
    given: JsonObject = {} if not words or repeated else {"error" if refused else "sentence": words}
    try:
        both, whole = write_json({**given, **facts}, max_bytes)
    except Unreadable:
        return cut(words or "[The facts are nested too deeply to be shown.]", max_bytes)
    if whole and len(both.encode()) <= max_bytes:
        return both
    if words:
        return cut(_json({"error": words}, 8 * len(words) + 100) if refused else words, max_bytes)
    return cut(both, max_bytes) if whole else _beginning(both, max_bytes)


def _beginning(text: str, max_bytes: int) -> str:
    kept = text.encode()[:max_bytes].decode(errors="ignore")
    return f"{kept}\n[Cut: only the first {len(kept.encode())} bytes of the result are shown.]"


def _repeats(words: str, facts: JsonObject, max_bytes: int) -> bool:
    if words == facts.get("result"):
        return True
    if not words or len(words) > 8 * max_bytes:  # too long to be shown beside the structured content anyway
        return False
    try:
        said = read_json(words.encode())
    except Unreadable:
        return False
    return said == facts or (facts.keys() == {"result"} and said == facts["result"])


def _json(value: Json, max_bytes: int) -> str:
    try:
        return write_json(value, max_bytes)[0]
    except Unreadable:
        return "[something nested too deeply to be shown]"


def _violations(schema: Json, value: Json, root: JsonObject, where: str, budget: list[int]) -> Iterator[str]:
    budget[0] -= 1
    if budget[0] < 0 or not isinstance(schema, dict):
        return
    pointer = schema.get("$ref")
    if isinstance(pointer, str):
        yield from _violations(_found(root, pointer), value, root, where, budget)
        return
    for key in ("anyOf", "oneOf"):
        choices = schema.get(key)
        if isinstance(choices, list) and choices:
            firsts = [next(_violations(choice, value, root, where, budget), None) for choice in choices]
            if None not in firsts:
                yield f"{where} matches no choice of its outputSchema"
            return
    wanted = schema.get("type")
    kinds = [kind for kind in (wanted if isinstance(wanted, list) else [wanted]) if isinstance(kind, str)]
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{where} is {name_of(value)}, but its outputSchema says {' or '.join(kinds)}"
        return
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        yield f"{where} is not one of the values in its outputSchema"
    if isinstance(value, dict):
        yield from _violations_inside(schema, value, root, where, budget)
    elif isinstance(value, list):
        for item in value[: max(budget[0], 0)]:
            yield from _violations(schema.get("items"), item, root, f"{where}[]", budget)


def _violations_inside(
    schema: JsonObject, value: JsonObject, root: JsonObject, where: str, budget: list[int]
) -> Iterator[str]:
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if isinstance(name, str) and name not in value:
            yield f"{where}.{name} is missing, but its outputSchema requires it"
    properties = schema.get("properties")
    for name, wanted in properties.items() if isinstance(properties, dict) else ():
        if name in value:
            yield from _violations(wanted, value[name], root, f"{where}.{name}", budget)


def _found(root: JsonObject, pointer: str) -> Json:
    """The schema that a `$ref` inside the document points at; True (anything is valid) where it cannot be found."""
    found: Json = root
    for step in pointer.removeprefix("#").split("/")[1:]:
        if not isinstance(found, dict):
            return True
        found = found.get(step.replace("~1", "/").replace("~0", "~"), True)
    return found if pointer.startswith("#") else True


def _is(value: Json, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return kind not in _TYPES or isinstance(value, _TYPES[kind])
