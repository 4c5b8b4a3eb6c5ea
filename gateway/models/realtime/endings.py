"""How a model refuses or ends a session: by an error event, an HTTP status or a close code.

Source: OpenAI Realtime API reference, errors; RFC 6455, 7.4.
"""

from __future__ import annotations

from gateway.models.realtime.refusal import Refusal
from gateway.net.dial import DialFailed
from gateway.realtime import fields
from gateway.realtime.reading import read_json
from sessions.accounts import LegError
from sessions.errors import LegLost
from sessions.events import ModelLost
from sessions.problems import ModelProblem, plain, problem_of

# How much of an HTTP answer's body is read; an error is shorter.
MAX_ANSWER_BYTES = 16 * 1024
# Errors after which the service closes the session, and whether dialling again may succeed.
ENDINGS = {
    "session_expired": True,
    "invalid_api_key": False,
    "account_deactivated": False,
    "insufficient_quota": False,
    "credit_balance_exhausted": False,
    "billing_hard_limit_reached": False,
    "model_not_found": False,
    "beta_api_shape_disabled": False,
}
ERROR_CLASSES = {
    "session_expired": LegError.CLOSED,
    "invalid_api_key": LegError.AUTH,
    "account_deactivated": LegError.AUTH,
    "insufficient_quota": LegError.QUOTA,
    "credit_balance_exhausted": LegError.QUOTA,
    "billing_hard_limit_reached": LegError.QUOTA,
    "rate_limit_exceeded": LegError.QUOTA,
    "no_entra_token": LegError.AUTH,
    "http_401": LegError.AUTH,
    "http_403": LegError.AUTH,
    "http_429": LegError.QUOTA,
}


def error_class(*words: str | None) -> LegError:
    """The class of a refusal, by the first of its codes and types that is known."""
    return next((ERROR_CLASSES[word] for word in words if word in ERROR_CLASSES), LegError.REFUSED)


def ending(refusal: Refusal) -> ModelLost | None:
    """The loss of the leg, if an error that is about no client event means one; None if the session goes on."""
    if refusal.event_id is not None:
        return None
    known = next((word for word in (refusal.code, refusal.problem.type) if word in ENDINGS), None)
    return None if known is None else ModelLost(known, ENDINGS[known], refusal.problem, error_class(known))


def closing(code: int) -> ModelLost:
    """The loss of the leg after a close by the model's side.

    Code 1008 and codes from 4000 on are refusals, so dialling again cannot help.
    """
    refused = code == 1008 or 4000 <= code < 5000
    problem = problem_of(f"closed_{code}", "close") if refused else None
    return ModelLost(f"closed with {code}", not refused, problem, LegError.REFUSED if refused else LegError.CLOSED)


def turned_away(failed: DialFailed) -> LegLost:
    """A failed dial together with the problem that the service reported: the code in its answer, or the HTTP status."""
    if failed.status is None:
        return failed
    code, type = _error_in(failed.answer)
    known = next((word for word in (code, type) if word in ENDINGS), None)
    retryable = failed.retryable if known is None else ENDINGS[known]
    lost = LegLost(failed.message, retryable=retryable, public=failed.public)
    lost.problem = ModelProblem(plain(code) or f"http_{failed.status}", plain(type) or "http")
    lost.error = error_class(code, type, f"http_{failed.status}")
    return lost


def _error_in(answer: bytes) -> tuple[str | None, str | None]:
    """Code and type of the error in an HTTP answer's body; None for what is missing."""
    try:
        error = fields.inside(read_json(answer[:MAX_ANSWER_BYTES]), "error")
    except ValueError:
        return None, None
    code, type = fields.inside(error, "code"), fields.inside(error, "type")
    return code if isinstance(code, str) else None, type if isinstance(type, str) else None
