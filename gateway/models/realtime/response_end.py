"""The end of a response, `response.done`, also where its shape is wrong.

An end that cannot be read gets the shape that it should have, for the call and for the client: without it the caller
would wait in silence until a watchdog acts. Source: OpenAI Realtime API reference, `response.done`.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.models.realtime.message import text_of
from gateway.models.realtime.refusal import SERVER_ERROR
from sessions.events import ResponseEnded
from sessions.ports import Json, JsonObject
from sessions.problems import problem_of
from sessions.usage import TokenUsage, TranscriptionUsage
from sessions.values import Outcome, Wire

# The error code of a response whose end cannot be read.
MALFORMED = "malformed_response"
MAX_TOKENS = 1 << 53
MAX_SECONDS = 86_400  # of sound in one transcription
OUTCOMES = {
    "completed": Outcome.COMPLETED,
    "cancelled": Outcome.CANCELLED,
    "incomplete": Outcome.INCOMPLETE,
    "failed": Outcome.FAILED,
}


def whole_response(given: Json, response_id: str | None, *, spoke: bool) -> JsonObject:
    """The value of a `response` field in the protocol's shape; the same object if it has that shape already.

    `response_id` is put in where the response has no id, and `spoke` says whether the newest response brought anything.
    """
    response: JsonObject = given if isinstance(given, Mapping) else {}
    changes: dict[str, Json] = {}
    if not isinstance(response.get("id"), str) and response_id is not None:
        changes["id"] = response_id
    if not isinstance(response.get("status"), str):
        # The protocol always has a status. A service that leaves it out has not reported a failure, so what was said
        # stands. A status that is null or no string means that the service broke, and so does an absent status of a
        # response that said nothing.
        well = isinstance(given, Mapping) and "status" not in response and (spoke or bool(response.get("output")))
        changes["status"] = "completed" if well else "failed"
        if not well and not isinstance(response.get("status_details"), Mapping):
            error: JsonObject = {"type": SERVER_ERROR, "code": MALFORMED}
            changes["status_details"] = {"type": "failed", "error": error}
    if not isinstance(given, Mapping):
        changes = {"object": "realtime.response", "output": [], **changes}
    return {**response, **changes} if changes else response


def read_end(response: JsonObject, wire: Wire) -> ResponseEnded:
    """The event of a response that has ended. Raises WireError if it has no id or no status."""
    response_id = text_of(response, "id")
    outcome = OUTCOMES.get(text_of(response, "status"), Outcome.FAILED)
    details = response.get("status_details")
    details = details if isinstance(details, Mapping) else {}
    failure = details.get("error")
    failure = failure if isinstance(failure, Mapping) else {}
    reason = details.get("reason") or failure.get("code")
    problem = None
    if outcome in (Outcome.FAILED, Outcome.INCOMPLETE):
        problem = problem_of(failure.get("code") or details.get("reason"), failure.get("type") or details.get("type"))
    usage = response.get("usage")
    return ResponseEnded(
        response_id,
        outcome,
        reason if isinstance(reason, str) else None,
        read_usage(usage) if isinstance(usage, Mapping) else None,
        wire,
        problem,
    )


def read_usage(usage: JsonObject) -> TokenUsage:
    """The tokens of a `usage` field; 0 for what the model does not count."""
    inputs, outputs = _object(usage.get("input_token_details")), _object(usage.get("output_token_details"))
    cached = _object(inputs.get("cached_tokens_details"))
    return TokenUsage(
        input_text=_count(inputs.get("text_tokens")),
        input_audio=_count(inputs.get("audio_tokens")),
        input_image=_count(inputs.get("image_tokens")),
        input_cached=_count(inputs.get("cached_tokens")),
        output_text=_count(outputs.get("text_tokens")),
        output_audio=_count(outputs.get("audio_tokens")),
        cached_text=_count(cached.get("text_tokens")),
        cached_audio=_count(cached.get("audio_tokens")),
        cached_image=_count(cached.get("image_tokens")),
        output_reasoning=_count(outputs.get("reasoning_tokens")),
    )


def read_transcription_usage(usage: JsonObject) -> TranscriptionUsage:
    """What a transcription used, in tokens or in time; the model's name is not in it."""
    inputs = _object(usage.get("input_token_details"))
    return TranscriptionUsage(
        "",
        input_text=_count(inputs.get("text_tokens")),
        input_audio=_count(inputs.get("audio_tokens")),
        output_text=_count(usage.get("output_tokens")),
        audio_ms=_milliseconds(usage.get("seconds")),
    )


def _milliseconds(seconds: Json) -> int:
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds <= MAX_SECONDS:
        return round(seconds * 1000)
    return 0


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, Mapping) else {}


def _count(value: Json) -> int:
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else 0
