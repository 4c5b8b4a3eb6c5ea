"""Which fields belong to the agent: a client's values for them are dropped, except those in `client_may_set`.

The same tables apply to `session.update`, the session of a client secret, `response.create`, and system items. A field
of the agent is dropped silently and unchecked, because some SDKs stop at any error that they do not expect.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.realtime import fields
from gateway.realtime.wire_formats import read_format
from sessions.errors import WireError
from sessions.ports import Json, JsonObject

# These are the names that `client_may_set` in an agent's file uses.
AGENT_SESSION_FIELDS = frozenset(
    {"instructions", "model", "prompt", "tracing", "truncation", "transcription", "max_output_tokens"}
)
AGENT_RESPONSE_FIELDS = frozenset(
    {"instructions", "tools", "prompt", "input", "max_output_tokens", "pre_generated_assistant_message"}
)
EVERYTHING = AGENT_SESSION_FIELDS | AGENT_RESPONSE_FIELDS
NOTHING: frozenset[str] = frozenset()

# Session fields of the client that only the model interprets: they are passed on to it unchanged.
CLIENT_EXTRAS = frozenset({"reasoning", "parallel_tool_calls", "include"})

EFFORTS = ("minimal", "low", "medium", "high", "xhigh")


def reasoning(value: Json, path: str) -> Json:
    """Check the effort of a reasoning model, or null."""
    if value is not None:
        effort = fields.json_object(value, path).get("effort")
        if effort is not None:
            fields.one_of(effort, f"{path}.effort", EFFORTS)
    return value


def parallel_tool_calls(value: Json, path: str) -> Json:
    """Check whether one response may call several functions, or null."""
    return value if value is None else fields.flag(value, path)


def include(value: Json, path: str) -> Json:
    """Check the list of additional fields in events, or null."""
    if value is not None:
        for index, entry in enumerate(fields.array(value, path)):
            fields.text(entry, f"{path}[{index}]")
    return value


def prompt(value: Json, path: str) -> Json:
    """Check the reference to a stored prompt, or null."""
    if value is not None:
        fields.name(fields.required(fields.json_object(value, path), "id", path), f"{path}.id")
    return value


def item_allowed(item: JsonObject, may_set: frozenset[str]) -> bool:
    """Whether a client may create this item: system messages count as instructions."""
    return item.get("role") != "system" or "instructions" in may_set


def filtered_response(response: JsonObject, may_set: frozenset[str], path: str = "response") -> JsonObject:
    """A client's `response` without the agent's fields, checked. Raises WireError; unknown fields are kept.

    `input` is only checked to be an array: checking its items needs the session's audio format (`items.check_item`).
    """
    kept: dict[str, Json] = {}
    for key, value in response.items():
        if key in AGENT_RESPONSE_FIELDS and key not in may_set:
            continue
        check = RESPONSE_CHECKS.get(key)
        if check is not None and value is not None:
            check(value, f"{path}.{key}")
        if value is not None or key == "metadata":
            kept[key] = value
    return kept


def _conversation(value: Json, path: str) -> None:
    fields.one_of(value, path, ("auto", "none"))


def _audio(value: Json, path: str) -> None:
    output = fields.json_object(value, path).get("output")
    if output is None:
        return
    settings = fields.json_object(output, f"{path}.output")
    if settings.get("format") is not None:
        read_format(settings["format"], f"{path}.output.format")
    if settings.get("voice") is not None:
        fields.voice(settings["voice"], f"{path}.output.voice")


def _pre_generated(value: Json, path: str) -> None:
    spoken_text(fields.json_object(value, path), path)


def spoken_text(message: JsonObject, path: str = "response.pre_generated_assistant_message") -> str:
    """The words of a `pre_generated_assistant_message`, which are spoken unchanged. Raises WireError."""
    words = []
    for index, entry in enumerate(fields.array(fields.required(message, "content", path), f"{path}.content")):
        here = f"{path}.content[{index}]"
        part = fields.json_object(entry, here)
        fields.one_of(fields.required(part, "type", here), f"{here}.type", ("text",))
        words.append(fields.text(fields.required(part, "text", here), f"{here}.text"))
    if not "".join(words).strip():
        raise WireError(f"Invalid '{path}.content': there is nothing to say.", param=f"{path}.content")
    return " ".join(words)


RESPONSE_CHECKS: dict[str, Callable[[Json, str], object]] = {
    "conversation": _conversation,
    "input": fields.array,
    "instructions": fields.text,
    "output_modalities": fields.output_modalities,
    "audio": _audio,
    "tools": fields.tools,
    "tool_choice": fields.tool_choice,
    "parallel_tool_calls": parallel_tool_calls,
    "reasoning": reasoning,
    "max_output_tokens": fields.max_tokens,
    "metadata": fields.metadata,
    "prompt": prompt,
    "pre_generated_assistant_message": _pre_generated,
}
