"""Which parts of a call's recording are sent, and what in its traces each belongs to. Pure.

The server makes an order of the documents of a call whose recording is ready, and the courier the pieces of it.
Times are the record's: milliseconds from the call's start, where the recording begins too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from gateway.telemetry.spans import ids
from gateway.telemetry.spans.policy import Shape
from sessions.record import Speaker, Turn, Utterance
from sessions.stores.contract import SESSION, BadDocument, Document
from sessions.stores.documents import RecordingState, turn_from_document

MARGIN_MS = 200  # before and after what was said: an onset is softer than what counts as audible
MAX_TURNS = 2_000  # of one call; a call of an hour has some hundreds


class Side(StrEnum):
    """What of a recording is heard in a piece."""

    BOTH = "both"
    CALLER = "caller"  # the left channel
    AGENT = "agent"  # the right channel


@dataclass(frozen=True, slots=True)
class Piece:
    """One file that is sent. `end_ms` None: up to the end of the recording."""

    tenant: str
    session: str
    recording: str  # its name in the blob store
    trace_id: str
    observation_id: str
    field: str  # of the observation: input or output
    side: Side
    begin_ms: int
    end_ms: int | None


@dataclass(frozen=True, slots=True)
class Order:
    """The recording of a call that is to be sent. `turns`: index, then begin and end of the caller and of the agent,
    -1 where the side was silent."""

    tenant: str
    session: str
    recording: str
    turns: Sequence[Sequence[int]]

    def as_json(self) -> dict[str, Any]:
        """It as JSON, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Order:
        """What `as_json` wrote."""
        return cls(**found)


def ready_recording(session: Document) -> str | None:
    """The name of a call's stereo recording in the blob store; None if there is none, or not yet."""
    recording = session.get("recording")
    if session.get("type") != SESSION or not isinstance(recording, Mapping):
        return None
    stereo = recording.get("stereo")
    return stereo if recording.get("state") == RecordingState.READY and isinstance(stereo, str) else None


def order_of(session: Document, turns: Iterable[Document]) -> Order | None:
    """What to send of a call, by the documents of its session and its turns; None without a recording."""
    recording = ready_recording(session)
    if recording is None:
        return None
    found: list[list[int]] = []
    for document in turns:
        try:
            turn = turn_from_document(document)
        except BadDocument:
            continue
        spans = [*_caller_ms(turn), *_agent_ms(turn)]
        if spans != [-1] * 4:
            found.append([turn.index, *spans])
    return Order(str(session["tenant"]), str(session["session_id"]), recording, sorted(found)[:MAX_TURNS])


def pieces_of(order: Order, shape: Shape) -> list[Piece]:
    """The files of an order: the whole call, and of each turn both sides."""
    session = order.session

    def piece(trace: bytes, span: bytes, field: str, side: Side, begin_ms: int, end_ms: int | None) -> Piece:
        ids_ = (trace.hex(), span.hex())
        return Piece(order.tenant, session, order.recording, *ids_, field, side, begin_ms, end_ms)

    found = [piece(ids.call_trace(session), ids.call_span(session), "output", Side.BOTH, 0, None)]
    for index, *spans in order.turns:
        trace, root = ids.turn_trace(session, index, shape), ids.turn_span(session, index)
        for field, side, (begin_ms, end_ms) in (
            ("input", Side.CALLER, spans[:2]),
            ("output", Side.AGENT, spans[2:]),
        ):
            if 0 <= begin_ms < end_ms:
                found.append(piece(trace, root, field, side, begin_ms, end_ms))
    return found


def _caller_ms(turn: Turn) -> tuple[int, int]:
    """When the caller spoke in a turn: from the first to the last audible sample, with a margin."""
    ends = [one.end_ms for one in turn.speech if one.end_ms is not None]
    return _with_margin([one.begin_ms for one in turn.speech], ends)


def _agent_ms(turn: Turn) -> tuple[int, int]:
    """When the agent was heard in a turn, with a margin."""
    said = [
        entry
        for entry in turn.entries
        if isinstance(entry, Utterance) and entry.speaker is Speaker.AGENT and entry.spoken and entry.heard_ms > 0
    ]
    return _with_margin([one.begin_ms for one in said], [one.begin_ms + one.heard_ms for one in said])


def _with_margin(begins: Sequence[int], ends: Sequence[int]) -> tuple[int, int]:
    if not begins or not ends or max(ends) <= min(begins):
        return -1, -1
    return max(0, min(begins) - MARGIN_MS), max(ends) + MARGIN_MS
