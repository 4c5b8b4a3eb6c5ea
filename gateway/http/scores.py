"""The routes of the scores that a session is given after its call, or during it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import Field

from gateway.auth.entrance import Caller
from gateway.auth.http import EntranceRefused
from gateway.auth.requests import Refusal
from gateway.http.bodies import TOO_LARGE, TOO_SLOW
from gateway.http.errors import UNREADABLE, Responses
from gateway.http.records import readable
from gateway.http.shapes import Shape
from sessions.errors import WireError
from sessions.ports import Clock, Json
from sessions.stores.contract import Document, Store
from sessions.stores.scores import SCORE, read_score, score_document

MAX_SCORES = 100  # of one session
TOO_MANY = Refusal(409, "too_many_scores", f"The session has {MAX_SCORES} scores already; score it under a used name.")
BAD_SCORE = WireError("Invalid 'value': a number, true, false, or a word of 1 to 100 characters.", param="value")
SCORE_REQUEST: Json = {"name": "booked", "value": True}
SCORED: Json = {"name": "booked", "value": True, "comment": None, "scored_at": 1795300100.0}


class ScoreShape(Shape):
    """One score: a number, true or false, or a word. A second one of the same name replaces the first."""

    name: Annotated[str, Field(examples=["booked"])]
    value: bool | float | str
    comment: str | None = None
    scored_at: float


class ScoreList(Shape):
    """The scores of a session, by name."""

    session_id: str
    scores: list[ScoreShape]


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """What the routes need: `session` reads a session of the caller's tenant, `scored` takes it with its new score."""

    store: Store
    clock: Clock
    session: Callable[[Caller, str], Awaitable[Document]]
    scored: Callable[[Document, Document], None]
    answers: Callable[..., Responses]
    known: Sequence[Refusal | WireError]  # what reading a session may answer


def score_routes(router: APIRouter, parts: ScoreParts, key: Any) -> None:
    """Add the routes."""

    @router.post(
        "/api/v1/sessions/{session_id}/scores",
        tags=["sessions"],
        responses=parts.answers(SCORED, BAD_SCORE, TOO_MANY, TOO_LARGE, TOO_SLOW, *parts.known),
    )
    async def score(
        session_id: str,
        given: Annotated[dict[str, Any] | None, Body(openapi_examples={"booked": {"value": SCORE_REQUEST}})] = None,
        caller: Caller = key,
    ) -> ScoreShape:
        """Score a session: `name`, `value` and, if you like, a `comment`. The score is kept with its record."""
        session = await parts.session(caller, session_id)
        try:
            wanted = read_score(given or {}, round(parts.clock.wall_s(), 3))
        except ValueError as error:
            field, _, reason = str(error).partition(": ")
            raise WireError(f"Invalid '{field}': {reason}.", param=field) from error
        document = score_document(session, wanted)
        there = await parts.store.query(caller.tenant, session_id, SCORE)
        if len(there) >= MAX_SCORES and document["id"] not in {one["id"] for one in there}:
            raise EntranceRefused(TOO_MANY)
        await parts.store.put(document, None)
        parts.scored(session, document)
        return ScoreShape.model_validate(document)

    @router.get(
        "/api/v1/sessions/{session_id}/scores",
        tags=["sessions"],
        responses=parts.answers({"session_id": "sess_5f0c1b7e2a9d4c63", "scores": [SCORED]}, *parts.known, UNREADABLE),
    )
    async def scores(session_id: str, caller: Caller = key) -> ScoreList:
        """The scores of a session, by name."""
        await parts.session(caller, session_id)
        found = await parts.store.query(caller.tenant, session_id, SCORE)
        return ScoreList(session_id=session_id, scores=readable(found, SCORE, ScoreShape))
