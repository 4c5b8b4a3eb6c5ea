"""Checks single fields of a client's message, with the protocol's errors: they name the field and the problem.

All functions that check a value raise WireError. Paths have the form of OpenAI's `error.param`:
`session.audio.input.format.rate`, `item.content[0].type`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sessions.errors import WireError
from sessions.ports import Json, JsonObject

MAX_ID_CHARS = 256
MAX_TEXT_CHARS = 256 * 1024  # twice the largest context of a realtime model
MAX_ENCODED_CHARS = 16 * 1024 * 1024  # of sound or a picture in base64: the largest that a message can hold
KINDS: dict[type, str] = {str: "a string", int: "an integer", bool: "a boolean", dict: "an object", list: "an array"}


def invalid(path: str, problem: str, code: str = "invalid_value") -> WireError:
    """The error for a field with an invalid value."""
    return WireError(f"Invalid '{path}': {problem}.", code=code, param=path)


def missing(path: str) -> WireError:
    """The error for a required field that is absent."""
    return WireError(f"Missing required parameter: '{path}'.", code="missing_required_parameter", param=path)


def _wrong(path: str, value: Json, wanted: str) -> WireError:
    got = "null" if value is None else KINDS.get(type(value), "a number")
    return WireError(
        f"Invalid type for '{path}': expected {wanted}, but got {got} instead.", code="invalid_type", param=path
    )


def text(value: Json, path: str, max_chars: int = MAX_TEXT_CHARS) -> str:
    """A string of a bounded length."""
    if type(value) is not str:
        raise _wrong(path, value, "a string")
    if len(value) > max_chars:
        problem = f"{len(value)} characters are more than the {max_chars} that are allowed"
        raise invalid(path, problem, "string_above_max_length")
    return value


def name(value: Json, path: str) -> str:
    """A name or id: a string with 1 to `MAX_ID_CHARS` characters."""
    word = text(value, path)
    if not 0 < len(word) <= MAX_ID_CHARS:
        raise invalid(path, f"must have between 1 and {MAX_ID_CHARS} characters")
    return word


def one_of(value: Json, path: str, allowed: Collection[str]) -> str:
    """One of several allowed strings."""
    word = text(value, path)
    if word not in allowed:
        raise invalid(path, "expected one of " + ", ".join(f"'{choice}'" for choice in sorted(allowed)))
    return word


def flag(value: Json, path: str) -> bool:
    """A boolean."""
    if type(value) is not bool:
        raise _wrong(path, value, "a boolean")
    return value


def whole(value: Json, path: str, low: int, high: int) -> int:
    """An integer between two bounds, both included."""
    if type(value) is not int:
        raise _wrong(path, value, "an integer")
    if not low <= value <= high:
        raise invalid(path, f"expected an integer from {low} to {high}")
    return value


def number(value: Json, path: str, low: float, high: float) -> float:
    """A number between two bounds, both included."""
    if type(value) is not int and type(value) is not float:
        raise _wrong(path, value, "a number")
    if not low <= value <= high:
        raise invalid(path, f"expected a number from {low} to {high}")
    return value


def json_object(value: Json, path: str) -> JsonObject:
    """An object."""
    if not isinstance(value, Mapping):
        raise _wrong(path, value, "an object")
    return value


def array(value: Json, path: str) -> list[Json]:
    """An array."""
    if not isinstance(value, list):
        raise _wrong(path, value, "an array")
    return value


def required(holder: JsonObject, key: str, path: str) -> Json:
    """The value of a required key; `path` is the path of `holder`, empty for the message itself."""
    if key not in holder:
        raise missing(below(path, key))
    return holder[key]


def inside(value: Json, *keys: str) -> Json:
    """The value under nested keys; None where a key is absent or a value on the way is not an object."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def below(path: str, key: str) -> str:
    """The path of a key in the object at `path`."""
    return f"{path}.{key}" if path else key


def max_tokens(value: Json, path: str) -> Json:
    """1 to 4096, or "inf"."""
    return value if value == "inf" else whole(value, path, 1, 4096)


def output_modalities(value: Json, path: str) -> Json:
    """["audio"] (a transcript comes with it) or ["text"]."""
    modes = array(value, path)
    if modes not in (["audio"], ["text"]):
        raise invalid(path, "expected ['audio'] or ['text']")
    return value


def tool_choice(value: Json, path: str) -> Json:
    """A mode, or the one function or MCP server to use."""
    if type(value) is str:
        one_of(value, path, ("auto", "none", "required"))
        return value
    choice = json_object(value, path)
    kind = one_of(required(choice, "type", path), f"{path}.type", ("function", "mcp"))
    key = "name" if kind == "function" else "server_label"
    name(required(choice, key, path), f"{path}.{key}")
    return value


def tools(value: Json, path: str) -> list[JsonObject]:
    """Function and MCP tools, in the flat shape of the Realtime API."""
    found: list[JsonObject] = []
    for index, entry in enumerate(array(value, path)):
        here = f"{path}[{index}]"
        tool = json_object(entry, here)
        if one_of(required(tool, "type", here), f"{here}.type", ("function", "mcp")) == "mcp":
            name(required(tool, "server_label", here), f"{here}.server_label")
        else:
            name(required(tool, "name", here), f"{here}.name")
            if tool.get("description") is not None:
                text(tool["description"], f"{here}.description")
            if tool.get("parameters") is not None:
                json_object(tool["parameters"], f"{here}.parameters")
        found.append(tool)
    return found


def voice(value: Json, path: str) -> Json:
    """A voice's name, or `{id}` for a customer's own voice."""
    if isinstance(value, Mapping):
        name(required(value, "id", path), f"{path}.id")
    else:
        name(value, path)
    return value


def metadata(value: Json, path: str) -> Json:
    """At most 16 strings of up to 512 characters under keys of up to 64, or null."""
    if value is None:
        return None
    pairs = json_object(value, path)
    if len(pairs) > 16:
        raise invalid(path, "expected at most 16 pairs")
    for key, entry in pairs.items():
        if len(key) > 64:
            raise invalid(path, "a key may have at most 64 characters")
        if len(text(entry, f"{path}.{key}")) > 512:
            raise invalid(f"{path}.{key}", "a value may have at most 512 characters")
    return value
