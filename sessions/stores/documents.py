"""Turns the record of a call into documents and back: to list it, to show it, and to rebuild a model session's history.

A partition (tenant, session id) holds one document of type `session` (id `session`) and one of type `turn` for each
turn (ids `turn_00000` and so on, so that they sort). Unknown fields are ignored on reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sessions.accounts import UNKNOWN_SETUP, Dial, SetupFacts
from sessions.caller_facts import UNKNOWN_CALLER, CallerFacts
from sessions.ports import JsonObject
from sessions.record import CallSummary, Heard, PlayedSpan, Speaker, ToolUse, Turn, Utterance
from sessions.stores.account_documents import (
    dial_fields,
    dials_from,
    response_fields,
    responses_from,
    setup_fields,
    setup_from,
    some_usage,
    speech_fields,
    speech_from,
    transcription_fields,
    transcription_from,
    transcriptions_from,
    usage_fields,
    usage_from,
    word,
)
from sessions.stores.checks import TTL_MAX_S
from sessions.stores.contract import SESSION, BadDocument, Document
from sessions.stores.fact_documents import (
    caller_fields,
    caller_from,
    line_fields,
    line_from,
    problem_fields,
    problem_from,
    problems_from,
)
from sessions.stores.fields import Fields, fence_of
from sessions.text import well_formed
from sessions.usage import TokenUsage

SCHEMA = 1
TURN = "turn"
SESSION_ID = "session"  # the document id of a session's document
DAY_S = 86_400


class SessionState(StrEnum):
    """Whether a call is going on."""

    LIVE = "live"
    ENDED = "ended"


class RecordingState(StrEnum):
    """The progress of a recording."""

    OFF = "off"
    RUNNING = "running"  # the call goes on, or its spool waits for the finisher
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """The files that were kept of a call's sound and messages, by name in the blob store (None: not kept)."""

    state: RecordingState
    complete: bool = True  # False if the disk was too slow or full, or the process died
    stereo: str | None = None  # caller left, agent right, as heard
    rate_hz: int | None = None
    duration_ms: int | None = None
    payload_bytes: int | None = None
    events: str | None = None  # the event log
    tracks: str | None = None  # the index of both tracks as received


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that owns a session: it runs the call, or has ended it for a process that died.

    `boot` is new at each start. `fence` is 1 for the process that began the call, and one more for each that takes the
    session; only the process with the stored boot and fence may write the session's documents.
    """

    process: str
    boot: str
    fence: int = 1


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The facts about a whole call. The end reason is in the summary; `ended_at` is None while the call is live."""

    tenant: str
    session_id: str
    agent: str
    agent_version: str
    model: str  # KIND/NAME
    protocol: str  # of the caller's leg: realtime, twilio, ...
    state: SessionState
    started_at: float
    ended_at: float | None
    summary: CallSummary
    latencies_ms: tuple[int, ...]  # of the turns that have one, in order
    recording: RecordingInfo
    owner: Owner
    caller: CallerFacts = UNKNOWN_CALLER
    dials: tuple[Dial, ...] = ()  # of the model, the first 32
    setup: SetupFacts = UNKNOWN_SETUP
    prices: str = ""  # the version of the prices that the costs were computed with; "" if there were none


def ttl_of(retention_days: int | None) -> int | None:
    """A document's ttl in seconds; None if it does not expire."""
    return None if retention_days is None else min(retention_days * DAY_S, TTL_MAX_S)


def _or_none(text: str | None) -> str | None:
    return None if text is None else well_formed(text)


def base_fields(tenant: str, session_id: str, document_id: str, kind: str, ttl_s: int | None) -> dict[str, str | int]:
    """The fields that every document has; `ttl_s` None keeps it for ever."""
    base: dict[str, str | int] = {
        "id": document_id,
        "tenant": tenant,
        "session_id": session_id,
        "type": kind,
        "schema": SCHEMA,
    }
    if ttl_s is not None:
        base["ttl"] = ttl_s
    return base


def session_document(record: SessionRecord, *, ttl_s: int | None) -> Document:
    """The document of a call in its present state."""
    summary, recording = record.summary, record.recording
    return {
        **base_fields(record.tenant, record.session_id, SESSION_ID, SESSION, ttl_s),
        "agent": record.agent,
        "agent_version": record.agent_version,
        "model": record.model,
        "protocol": record.protocol,
        "state": record.state.value,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "end_reason": _or_none(summary.end_reason),
        "summary": {
            "turns": summary.turns,
            "caller_audio_ms": summary.caller_audio_ms,
            "agent_audio_ms": summary.agent_audio_ms,
            "dropped_audio_ms": summary.dropped_audio_ms,
            "redials": summary.redials,
            "problems": [{**problem_fields(problem), "count": count} for problem, count in summary.problems],
            "line": line_fields(summary.line),
            "duration_ms": summary.duration_ms,
            "usage": usage_fields(summary.usage),
            "cost_nano": summary.cost_nano,
            "transcriptions": [transcription_fields(usage, cost) for usage, cost in summary.transcriptions],
            "outside": some_usage(summary.outside),
        },
        "latencies_ms": list(record.latencies_ms),
        "recording": {
            "state": recording.state.value,
            "complete": recording.complete,
            "stereo": recording.stereo,
            "rate_hz": recording.rate_hz,
            "duration_ms": recording.duration_ms,
            "payload_bytes": recording.payload_bytes,
            "events": recording.events,
            "tracks": recording.tracks,
        },
        "owner": {"process": record.owner.process, "boot": record.owner.boot, "fence": record.owner.fence},
        "caller": caller_fields(record.caller),
        "dials": [dial_fields(dial) for dial in record.dials],
        "setup": setup_fields(record.setup),
        "prices": record.prices,
    }


def session_from_document(document: Document) -> SessionRecord:
    """Read a session's document. Raises BadDocument."""
    found = known(document, SESSION)
    summary, recording, owner = found.object("summary"), found.object("recording"), found.object("owner")
    return SessionRecord(
        tenant=found.text("tenant"),
        session_id=found.text("session_id"),
        agent=found.text("agent"),
        agent_version=found.text("agent_version"),
        model=found.text("model"),
        protocol=found.text("protocol"),
        state=word(SessionState, found, "state"),
        started_at=found.number("started_at"),
        ended_at=found.number_or_none("ended_at"),
        summary=CallSummary(
            turns=summary.whole("turns"),
            caller_audio_ms=summary.whole("caller_audio_ms"),
            agent_audio_ms=summary.whole("agent_audio_ms"),
            dropped_audio_ms=summary.whole("dropped_audio_ms"),
            usage=usage_from(summary.object("usage")),
            redials=summary.whole("redials"),
            problems=problems_from(summary),
            line=line_from(summary),
            end_reason=found.text_or_none("end_reason"),
            duration_ms=summary.whole("duration_ms"),
            cost_nano=summary.whole_or_none("cost_nano"),
            transcriptions=transcriptions_from(summary),
            outside=TokenUsage() if summary.values.get("outside") is None else usage_from(summary.object("outside")),
        ),
        latencies_ms=tuple(found.wholes("latencies_ms")),
        recording=RecordingInfo(
            state=word(RecordingState, recording, "state"),
            complete=recording.flag("complete"),
            stereo=recording.text_or_none("stereo"),
            rate_hz=recording.whole_or_none("rate_hz"),
            duration_ms=recording.whole_or_none("duration_ms"),
            payload_bytes=recording.whole_or_none("payload_bytes"),
            events=recording.text_or_none("events"),
            tracks=recording.text_or_none("tracks"),
        ),
        owner=Owner(process=owner.text("process"), boot=owner.text("boot"), fence=fence_of(document)),
        caller=caller_from(found),
        dials=dials_from(found),
        setup=setup_from(found),
        prices=found.text_or_none("prices") or "",
    )


def turn_document(tenant: str, session_id: str, turn: Turn, *, ttl_s: int | None) -> Document:
    """The document of one turn in its present state."""
    return {
        **base_fields(tenant, session_id, f"turn_{turn.index:05}", TURN, ttl_s),
        "index": turn.index,
        "begin_ms": turn.begin_ms,
        "end_ms": turn.end_ms,
        "latency_ms": turn.latency_ms,
        "interrupted": turn.interrupted,
        "outcome": turn.outcome,
        "problem": None if turn.problem is None else problem_fields(turn.problem),
        "usage": usage_fields(turn.usage),
        "responses": [response_fields(use) for use in turn.responses],
        "speech": speech_fields(turn.speech),
        "cost_nano": turn.cost_nano,
        "budget_reached": turn.budget_reached,
        "entries": [_tool(entry) if isinstance(entry, ToolUse) else _said(entry) for entry in turn.entries],
    }


def turn_from_document(document: Document) -> Turn:
    """Read a turn's document. Raises BadDocument."""
    found = known(document, TURN)
    return Turn(
        index=found.whole("index"),
        begin_ms=found.whole("begin_ms"),
        end_ms=found.whole_or_none("end_ms"),
        entries=[_entry_from(entry) for entry in found.objects("entries")],
        latency_ms=found.whole_or_none("latency_ms"),
        interrupted=found.flag("interrupted"),
        outcome=found.text_or_none("outcome"),
        problem=None if found.values.get("problem") is None else problem_from(found.object("problem")),
        usage=usage_from(found.object("usage")),
        responses=responses_from(found),
        speech=speech_from(found),
        cost_nano=found.whole_or_none("cost_nano"),
        budget_reached=found.values.get("budget_reached") is True,
    )


def _said(said: Utterance) -> JsonObject:
    return {
        "kind": "said",
        "item_id": said.item_id,
        "speaker": said.speaker.value,
        "text": well_formed(said.text),
        "heard_text": well_formed(said.heard_text),
        "spoken": said.spoken,
        "begin_ms": said.begin_ms,
        "sent_ms": said.sent_ms,
        "heard_ms": said.heard_ms,
        "heard": None if said.heard is None else said.heard.value,
        "final": said.final,
        "images": said.images,
        "keys": said.keys,
        "transcription": None
        if said.transcription is None
        else transcription_fields(said.transcription, said.transcription_cost_nano),
    }


def _tool(use: ToolUse) -> JsonObject:
    return {
        "kind": "tool",
        "call_id": use.call_id,
        "item_id": use.item_id,
        "name": well_formed(use.name),
        "arguments": well_formed(use.arguments),
        "server_side": use.server_side,
        "begin_ms": use.begin_ms,
        "end_ms": use.end_ms,
        "output": _or_none(use.output),
        "error": _or_none(use.error),
        "server": _or_none(use.server),
        "deadline_ms": use.deadline_ms,
    }


def _entry_from(entry: Fields) -> Utterance | ToolUse:
    match entry.text("kind"):
        case "said":
            used = entry.values.get("transcription") is not None
            usage, cost_nano = transcription_from(entry.object("transcription")) if used else (None, None)
            return Utterance(
                item_id=entry.text("item_id"),
                speaker=word(Speaker, entry, "speaker"),
                text=entry.text("text"),
                heard_text=entry.text("heard_text"),
                spoken=entry.flag("spoken"),
                begin_ms=entry.whole("begin_ms"),
                sent_ms=entry.whole("sent_ms"),
                heard_ms=entry.whole("heard_ms"),
                heard=None if entry.text_or_none("heard") is None else word(Heard, entry, "heard"),
                final=entry.flag("final"),
                images=entry.whole("images"),
                keys=entry.values.get("keys") is True,
                transcription=usage,
                transcription_cost_nano=cost_nano,
            )
        case "tool":
            return ToolUse(
                call_id=entry.text("call_id"),
                item_id=entry.text("item_id"),
                name=entry.text("name"),
                arguments=entry.text("arguments"),
                server_side=entry.flag("server_side"),
                begin_ms=entry.whole("begin_ms"),
                end_ms=entry.whole_or_none("end_ms"),
                output=entry.text_or_none("output"),
                error=entry.text_or_none("error"),
                server=entry.text_or_none("server"),
                deadline_ms=entry.whole_or_none("deadline_ms"),
            )
        case _:
            raise BadDocument("an entry of a turn is of an unknown kind")


def known(document: Document, kind: str) -> Fields:
    """The fields of a document of this type, which this version can read. Raises BadDocument."""
    found = Fields(document)
    if found.text("type") != kind:
        raise BadDocument(f"a document of another type was read as one of type {kind!r}")
    if found.whole("schema") > SCHEMA:
        raise BadDocument(f"a document of type {kind!r} was written by a newer Patchbay")
    return found


def played_spans(turns: Iterable[Turn]) -> list[PlayedSpan]:
    """The spans of the agent's speech that were heard, in order of time."""
    spans = [
        PlayedSpan(entry.item_id, entry.begin_ms, entry.heard_ms)
        for turn in turns
        for entry in turn.entries
        if isinstance(entry, Utterance) and entry.speaker is Speaker.AGENT and entry.heard_ms > 0
    ]
    return sorted(spans, key=lambda span: span.begin_ms)
