"""What single readers need beside the conventions' attributes, added when a span is sent to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import orjson

from gateway.telemetry.spans import names
from gateway.telemetry.spans.bounds import short
from gateway.telemetry.spans.content import as_text
from gateway.telemetry.spans.policy import TelemetryPolicy
from gateway.telemetry.spans.span import Attribute, Attributes, Kind, Span
from gateway.telemetry.spans.usage import in_dollars

MAX_LANGFUSE_ID = 200  # characters; a session's id must have fewer
_LANGFUSE_TYPES = {names.INVOKE_AGENT: "agent", names.INFERENCE: "generation", names.EXECUTE_TOOL: "tool"}
_OPENINFERENCE_KINDS = {names.INVOKE_AGENT: "AGENT", names.INFERENCE: "LLM", names.EXECUTE_TOOL: "TOOL"}


def operation(span: Span) -> str:
    """The kind of a span by its name: what stands before the first blank."""
    return span.name.partition(" ")[0]


# ---- Langfuse


def for_langfuse(span: Span, policy: TelemetryPolicy) -> Span:
    """A span as Langfuse wants it: type, session, level, and usage and cost that can be added up."""
    kind, given = operation(span), span.attributes
    more: dict[str, Attribute] = {
        names.LANGFUSE_TYPE: _LANGFUSE_TYPES.get(kind, "span"),
        names.READERS_SESSION_ID: langfuse_session(str(given[names.SESSION_ID])),
        **_level(span),
        **_langfuse_words(given, kind),
    }
    if policy.environment:
        more[names.LANGFUSE_ENVIRONMENT] = policy.environment
    if policy.release:
        more[names.LANGFUSE_RELEASE] = policy.release
    if span.parent_id is None:
        more |= _langfuse_trace(span)
    kept: Attributes = given
    if kind == names.INFERENCE:
        more |= _generation(span)
    else:
        # Langfuse adds up every span's usage, and the sums of the call would count it twice.
        kept = {name: value for name, value in given.items() if not name.startswith(names.USAGE)}
    return replace(span, attributes={**kept, **more})


def langfuse_session(session_id: str) -> str:
    """The session's id as Langfuse takes it: ASCII and under 200 characters; for another, a digest."""
    if session_id.isascii() and len(session_id) < MAX_LANGFUSE_ID:
        return session_id
    return sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def _langfuse_trace(span: Span) -> dict[str, Attribute]:
    given = span.attributes
    agent = str(given[names.AGENT_NAME])
    what = f"turn {given[names.TURN]}" if names.TURN in given else "call"
    tags = [short(tag) for tag in (agent, str(given[names.PROTOCOL]), span.model) if tag]
    return {names.LANGFUSE_TRACE_NAME: f"{what} · {short(agent)}", names.LANGFUSE_TRACE_TAGS: tags}


def _level(span: Span) -> dict[str, Attribute]:
    given = span.attributes
    if span.error:
        return {names.LANGFUSE_LEVEL: "ERROR"}
    cut = given.get(names.INVOCATION_END_REASON) == "interrupted" or given.get(names.INTERRUPTED) is True
    return {names.LANGFUSE_LEVEL: "WARNING"} if cut or given.get(names.TOOL_LATE) is True else {}


def _langfuse_words(given: Attributes, kind: str) -> dict[str, Attribute]:
    tool = kind == names.EXECUTE_TOOL
    asked = names.TOOL_ARGUMENTS if tool else names.INPUT_MESSAGES
    said = names.TOOL_RESULT if tool else names.OUTPUT_MESSAGES
    found = {names.LANGFUSE_INPUT: given.get(asked), names.LANGFUSE_OUTPUT: given.get(said)}
    return {name: value for name, value in found.items() if value is not None}


def _generation(span: Span) -> dict[str, Attribute]:
    given = span.attributes
    more: dict[str, Attribute] = {
        names.LANGFUSE_MODEL: given.get(names.RESPONSE_MODEL, given[names.REQUEST_MODEL]),
    }
    usage = usage_details(given)
    if usage:
        more[names.LANGFUSE_USAGE] = orjson.dumps(usage).decode()
    cost = given.get(names.COST_USD)
    if isinstance(cost, int | float):
        more[names.LANGFUSE_COST] = f'{{"total":{in_dollars(cost)}}}'
    if span.first_sound_ns is not None:
        more[names.LANGFUSE_COMPLETION_START] = _iso(span.first_sound_ns)
    return more


def usage_details(given: Mapping[str, Attribute]) -> dict[str, int]:
    """The usage of a response in parts that do not contain each other, so that they add up to what was used.

    A model may count cached input without its kind; it is then taken from the text, the audio and the images, in this
    order.
    """
    text, audio, image = (
        _count(given, name) for name in (names.INPUT_TEXT_TOKENS, names.INPUT_AUDIO_TOKENS, names.INPUT_IMAGE_TOKENS)
    )
    cached_text = min(text, _count(given, names.CACHED_TEXT_TOKENS))
    cached_audio = min(audio, _count(given, names.CACHED_AUDIO_TOKENS))
    cached_image = min(image, _count(given, names.CACHED_IMAGE_TOKENS))
    unknown = max(0, _count(given, names.CACHED_TOKENS) - cached_text - cached_audio - cached_image)
    more_text = min(unknown, text - cached_text)
    more_audio = min(unknown - more_text, audio - cached_audio)
    more_image = min(unknown - more_text - more_audio, image - cached_image)
    cached_text, cached_audio, cached_image = (
        cached_text + more_text,
        cached_audio + more_audio,
        cached_image + more_image,
    )
    written = _count(given, names.OUTPUT_TEXT_TOKENS)
    reasoning = min(written, _count(given, names.REASONING_TOKENS))
    parts = {
        "input": text - cached_text,
        "input_audio": audio - cached_audio,
        "input_image": image - cached_image,
        "input_cached": cached_text + cached_image,
        "input_cached_audio": cached_audio,
        "output": written - reasoning,
        "output_audio": _count(given, names.OUTPUT_AUDIO_TOKENS),
        "output_reasoning": reasoning,
    }
    return {name: count for name, count in parts.items() if count}


def _count(given: Mapping[str, Attribute], name: str) -> int:
    found = given.get(name, 0)
    return found if isinstance(found, int) else 0


def _iso(at_ns: int) -> str:
    """A Unix time in ISO 8601, in milliseconds."""
    return (
        datetime.fromtimestamp(at_ns // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


# ---- OTLP, with what Phoenix needs


def for_otlp(span: Span) -> Span:
    """A span as readers of OTLP get it, with the kinds, audio counts and texts that Phoenix looks for."""
    kind, given = operation(span), span.attributes
    more: dict[str, Attribute] = {names.OPENINFERENCE_KIND: _OPENINFERENCE_KINDS.get(kind, "CHAIN")}
    if kind == names.INFERENCE:
        counts = {
            names.OPENINFERENCE_AUDIO_IN: given.get(names.INPUT_AUDIO_TOKENS),
            names.OPENINFERENCE_AUDIO_OUT: given.get(names.OUTPUT_AUDIO_TOKENS),
        }
        more |= {name: count for name, count in counts.items() if count is not None}
    if kind == names.INVOKE_AGENT:
        words = {
            names.INPUT_VALUE: given.get(names.INPUT_MESSAGES),
            names.OUTPUT_VALUE: given.get(names.OUTPUT_MESSAGES),
        }
        more |= {name: text for name, said in words.items() if isinstance(said, str) and (text := as_text(said))}
    return replace(span, attributes={**given, **more})


# ---- Azure Monitor


def for_azure(span: Span) -> Span:
    """A span as Azure Monitor wants it: each turn a request, and a model's system under the name that it looks at."""
    given = span.attributes
    more: dict[str, Attribute] = {names.READERS_SESSION_ID: given[names.SESSION_ID]}
    if names.PROVIDER in given:
        more[names.AZURE_SYSTEM] = given[names.PROVIDER]
    request = span.parent_id is None or operation(span) == names.INVOKE_AGENT
    return replace(span, kind=Kind.SERVER if request else span.kind, attributes={**given, **more})
