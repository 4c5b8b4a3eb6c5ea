"""What an error of a model says, in `error` and in a failed transcription, also where its shape is wrong.

An `error` without its fields breaks clients that rely on them, so the client gets it with all of them.
Source: OpenAI Realtime API reference, `error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sessions.events import ModelRefused
from sessions.ports import Json, JsonObject
from sessions.problems import ModelProblem, problem_of
from sessions.values import Wire

UNTOLD = "The model refused a message."
SERVER_ERROR = "server_error"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the model sent it; what has the wrong type counts as absent."""

    code: str | None
    words: str
    event_id: str | None  # of the client event that the error is about
    param: str | None  # the field that the error is about, never empty
    problem: ModelProblem

    def event(self, event_id: str | None, wire: Wire) -> ModelRefused:
        """The call's event for an error about the client event of this id."""
        return ModelRefused(self.code, self.words, event_id, wire, self.problem)


def read_refusal(given: Json) -> Refusal:
    """What the value of an `error` field says."""
    error: JsonObject = given if isinstance(given, Mapping) else {}
    code, kind, event_id, param = error.get("code"), error.get("type"), error.get("event_id"), error.get("param")
    if code is None and kind is None:
        code = SERVER_ERROR
    return Refusal(
        str(code) if type(code) in (str, int) else None,
        _words_of(given),
        event_id if isinstance(event_id, str) else None,
        param if isinstance(param, str) and param else None,
        problem_of(code, kind),
    )


def whole_error(given: Json) -> Json:
    """The value of an `error` field in the protocol's shape; the same object if it has that shape already."""
    error: JsonObject = given if isinstance(given, Mapping) else {}
    kind, code = error.get("type"), error.get("code")
    odd = [key for key in ("code", "param", "event_id") if not isinstance(error.get(key), str | None)]
    if isinstance(kind, str) and isinstance(error.get("message"), str) and not odd:
        return given
    if type(code) is int:
        code = str(code)
    if not isinstance(code, str):
        code = None if isinstance(kind, str) else SERVER_ERROR
    return {
        "param": None,
        "event_id": None,
        **{key: value for key, value in error.items() if key not in odd},
        "type": kind if isinstance(kind, str) else SERVER_ERROR,
        "code": code,
        "message": _words_of(given),
    }


def _words_of(given: Json) -> str:
    """The error's message; some services send the message alone, without an object around it."""
    words = given.get("message") if isinstance(given, Mapping) else given
    return words if isinstance(words, str) and words else UNTOLD
