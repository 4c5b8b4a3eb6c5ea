"""What a tool of an MCP server gave, as words for the model: read as far as it can be, whatever the server breaks.

A result that has arrived is a fact: the tool was called and has answered. So nothing here refuses a result; what is
missing, of a wrong type or against the server's own schema is noted for the log, and the rest goes to the model.
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
_MAX_CHECKS = 2000  # of values against an output schema
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
class Told:
    """A result for the model. `notes` say, in words that hold nothing of the result, what the server broke."""

    text: str
    refused: bool
    notes: tuple[str, ...]


def told(result: Json, max_bytes: int, schema: JsonObject | None = None) -> Told:
    """What the model is given: the result's words, or, where it has facts too, both in one JSON object.

    The words stand there as `sentence`, or as `error` when the tool refused; words that only repeat the facts are left
    out. Where both together are too long, the words alone stay. Contents that are not text are named, not shown.
    """
    notes: list[str] = []
    if not isinstance(result, dict):
        notes.append(f"the result is {name_of(result)} and no object")
        result = {} if result is None else {"content": [], "structuredContent": result}
    refused = _refused(result.get("isError"), notes)
    words = well_formed("\n".join(_words(result, notes)))
    facts = _facts(result.get("structuredContent"), notes)
    if schema is not None and not refused:
        notes += [note for note in (breach(schema, facts),) if note is not None]
    return Told(_joined(words, facts, refused, max_bytes), refused, tuple(notes))


def name_of(value: Json) -> str:
    """The type of a JSON value, in JSON's words."""
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, kind in _TYPES.items() if isinstance(value, kind))


def breach(schema: JsonObject, facts: JsonObject | None) -> str | None:
    """Where the facts first break their schema, in the schema's own names; None where they keep it.

    Types, required fields and enumerations are looked at. A full check takes 0.1 s and more of the loop's time.
    """
    if facts is None:
        return "structuredContent is missing, though the tool has an outputSchema"
    try:
        return next(_breaches(schema, facts, schema, "structuredContent", [_MAX_CHECKS]), None)
    except RecursionError:
        return None


def _refused(flag: Json, notes: list[str]) -> bool:
    if flag is None or isinstance(flag, bool):
        return flag is True
    notes.append(f"isError is {name_of(flag)} and no boolean")
    return flag == 1 or (isinstance(flag, str) and flag.strip().lower() in ("true", "1", "yes"))


def _words(result: Mapping[str, Json], notes: list[str]) -> Iterator[str]:
    content = result.get("content", [])
    if not isinstance(content, list):
        notes.append(f"content is {name_of(content)} and no array")
        content = [] if content is None else [content]
    for index, block in enumerate(content):
        if isinstance(block, dict):
            yield _words_of(block, f"content[{index}]", notes)
        else:
            notes.append(f"content[{index}] is {name_of(block)} and no object")
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
        notes.append(f"{where} has no type that is known")
    if isinstance(words, str):
        return words
    if kind != "text":
        return f"[{kind[:32] if isinstance(kind, str) else 'something'} left out]"
    notes.append(f"{where}.text is {name_of(words)} and no string")
    return _plain(words)


def _plain(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value, 1 << 20)


def _facts(facts: Json, notes: list[str]) -> JsonObject | None:
    if facts is None or isinstance(facts, dict):
        return facts
    notes.append(f"structuredContent is {name_of(facts)} and no object")
    return {"result": facts}


def _joined(words: str, facts: JsonObject | None, refused: bool, max_bytes: int) -> str:
    if facts is None:
        if refused:
            return cut(_json({"error": words}, 8 * len(words) + 100), max_bytes)
        return cut(words, max_bytes) if words.strip() else NOTHING_SAID
    repeated = _repeats(words, facts, max_bytes)
    if repeated and facts.keys() == {"result"} and not refused:  # the SDK's wrapping of a bare value
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
    if not words or len(words) > 8 * max_bytes:  # too long to be shown beside the facts in any case
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


def _breaches(schema: Json, value: Json, root: JsonObject, where: str, left: list[int]) -> Iterator[str]:
    left[0] -= 1
    if left[0] < 0 or not isinstance(schema, dict):
        return
    pointer = schema.get("$ref")
    if isinstance(pointer, str):
        yield from _breaches(_found(root, pointer), value, root, where, left)
        return
    for key in ("anyOf", "oneOf"):
        choices = schema.get(key)
        if isinstance(choices, list) and choices:
            firsts = [next(_breaches(choice, value, root, where, left), None) for choice in choices]
            if None not in firsts:
                yield f"{where} is none of what its outputSchema allows"
            return
    wanted = schema.get("type")
    kinds = [kind for kind in (wanted if isinstance(wanted, list) else [wanted]) if isinstance(kind, str)]
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{where} is {name_of(value)}, and its outputSchema says {' or '.join(kinds)}"
        return
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        yield f"{where} is none of the values in its outputSchema"
    if isinstance(value, dict):
        yield from _breaches_inside(schema, value, root, where, left)
    elif isinstance(value, list):
        for item in value[: max(left[0], 0)]:
            yield from _breaches(schema.get("items"), item, root, f"{where}[]", left)


def _breaches_inside(
    schema: JsonObject, value: JsonObject, root: JsonObject, where: str, left: list[int]
) -> Iterator[str]:
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if isinstance(name, str) and name not in value:
            yield f"{where}.{name} is missing, and its outputSchema requires it"
    properties = schema.get("properties")
    for name, wanted in properties.items() if isinstance(properties, dict) else ():
        if name in value:
            yield from _breaches(wanted, value[name], root, f"{where}.{name}", left)


def _found(root: JsonObject, pointer: str) -> Json:
    """What a `$ref` inside the document means; True, which allows everything, where that cannot be told."""
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
