"""Why a model lets nobody in, or sends somebody away: as an error event, as HTTP, or as a close code.

Source: OpenAI Realtime API reference, errors; RFC 6455, 7.4.
"""

from __future__ import annotations

from gateway.dial import DialFailed
from gateway.realtime import fields
from gateway.realtime.reading import read_json
from sessions.errors import LegLost
from sessions.events import ModelLost, ModelRefused
from sessions.problems import ModelProblem, plain, problem_of

MAX_ANSWER_BYTES = 16 * 1024  # of an HTTP answer's body; an error is shorter
# Errors after which the service closes the session, and whether another one may fare better.
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


def ending(event: ModelRefused) -> ModelLost | None:
    """The loss that an error means which is about no message; None where the session goes on."""
    if event.event_id is not None:
        return None
    words = (event.code, event.problem.type if event.problem is not None else None)
    known = next((word for word in words if word in ENDINGS), None)
    return None if known is None else ModelLost(known, ENDINGS[known], event.problem)


def closing(code: int) -> ModelLost:
    """The loss that a close of the model's side means: 1008 and 4xxx are refusals that dialling cannot mend."""
    refused = code == 1008 or 4000 <= code < 5000
    problem = problem_of(f"closed_{code}", "close") if refused else None
    return ModelLost(f"closed with {code}", not refused, problem)


def turned_away(failed: DialFailed) -> LegLost:
    """The same failure with the problem that the service told: the code in its answer, or else the HTTP status."""
    if failed.status is None:
        return failed
    code, type = _told(failed.answer)
    known = next((word for word in (code, type) if word in ENDINGS), None)
    retryable = failed.retryable if known is None else ENDINGS[known]
    lost = LegLost(failed.message, retryable=retryable, public=failed.public)
    lost.problem = ModelProblem(plain(code) or f"http_{failed.status}", plain(type) or "http")
    return lost


def _told(answer: bytes) -> tuple[str | None, str | None]:
    """Code and type of an error in an HTTP answer's body, where there are any."""
    try:
        error = fields.inside(read_json(answer[:MAX_ANSWER_BYTES]), "error")
    except ValueError:
        return None, None
    code, type = fields.inside(error, "code"), fields.inside(error, "type")
    return code if isinstance(code, str) else None, type if isinstance(type, str) else None
