"""Computes the costs of stored calls again, with the prices of now, and finds those that differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sessions.costs import Pricing, cost_of, cost_of_transcription
from sessions.record import Turn, Utterance
from sessions.stores.contract import SESSION, BadDocument, ChangeReader, Document
from sessions.stores.documents import TURN, SessionRecord, SessionState, session_from_document, turn_from_document

PAGE_DOCUMENTS = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """A response or a transcription of a stored call whose cost is another one with the prices of now."""

    tenant: str
    session_id: str
    turn: int
    what: str  # "response resp_1", "transcription item_1"
    model: str
    stored_nano: int | None
    computed_nano: int | None


@dataclass(slots=True)
class Recomputed:
    """How many calls were computed again, and what differs in them.

    `without_usage` are calls of which nothing could be computed: no usage and no cost is stored, as in old records.
    """

    calls: int = 0
    without_usage: int = 0
    unreadable: int = 0  # documents
    differences: list[Difference] = field(default_factory=list)


def differences(session: SessionRecord, turn: Turn, pricing: Pricing) -> Iterator[Difference]:
    """What differs in one turn. A response that has not ended has no cost yet, and is left out."""
    for use in turn.responses:
        model = session.dials[use.leg].target.model if use.leg < len(session.dials) else session.model
        computed = cost_of(use.usage, pricing.price_of(model))
        if use.end_ms is not None and computed != use.cost_nano:
            what = f"response {use.response_id}"
            yield Difference(session.tenant, session.session_id, turn.index, what, model, use.cost_nano, computed)
    for entry in turn.entries:
        if isinstance(entry, Utterance) and entry.transcription is not None:
            model = _model_at(session, entry.begin_ms)
            price = pricing.transcription_of(model, entry.transcription.model)
            computed, stored = cost_of_transcription(entry.transcription, price), entry.transcription_cost_nano
            if computed != stored:
                what = f"transcription {entry.item_id}"
                name = entry.transcription.model
                yield Difference(session.tenant, session.session_id, turn.index, what, name, stored, computed)


def _is_used(turn: Turn) -> bool:
    """Whether a turn has something to compute or to compare."""
    return any(use.usage is not None or use.cost_nano is not None for use in turn.responses) or any(
        isinstance(entry, Utterance) and entry.transcription is not None for entry in turn.entries
    )


def _model_at(session: SessionRecord, at_ms: int) -> str:
    """The model whose session heard what the caller said then."""
    before = [dial.target.model for dial in session.dials if dial.begin_ms <= at_ms]
    return before[-1] if before else session.model


async def recompute(store: ChangeReader, pricing: Pricing, since_s: float) -> Recomputed:
    """Look at all calls of an open store that have ended and began at `since_s` (Unix seconds) or later.

    Raises StoreFailed.
    """
    found = Recomputed()
    sessions: dict[tuple[str, str], SessionRecord] = {}
    turns: dict[tuple[str, str, int], Turn] = {}
    position: str | None = None
    while True:
        page = await store.changes(position, PAGE_DOCUMENTS)
        position = page.position
        if not page.items:
            break
        for document in page.items:
            try:
                _keep(document, since_s, sessions, turns)
            except BadDocument:
                found.unreadable += 1
    used = {(tenant, session_id) for (tenant, session_id, _), turn in turns.items() if _is_used(turn)}
    found.calls = len(sessions.keys() & used)
    found.without_usage = len(sessions) - found.calls
    for (tenant, session_id, _), turn in sorted(turns.items()):
        session = sessions.get((tenant, session_id))
        if session is not None:
            found.differences += differences(session, turn, pricing)
    return found


def _keep(
    document: Document,
    since_s: float,
    sessions: dict[tuple[str, str], SessionRecord],
    turns: dict[tuple[str, str, int], Turn],
) -> None:
    key = (str(document.get("tenant")), str(document.get("session_id")))
    if document.get("type") == SESSION:
        session = session_from_document(document)
        if session.state is SessionState.ENDED and session.started_at >= since_s:
            sessions[key] = session
    elif document.get("type") == TURN:
        turn = turn_from_document(document)
        turns[(*key, turn.index)] = turn
