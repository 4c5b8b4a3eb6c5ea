"""Documents of calls for tests of spans, and the same made up at random."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import strategies as st
from support.stores.records import session_record

from sessions.accounts import (
    Dial,
    DialCause,
    LegError,
    ModelTarget,
    ResponseOrigin,
    ResponseUse,
    SetupFacts,
    SpeechStretch,
)
from sessions.caller_facts import CallerFacts, Direction
from sessions.problems import ModelProblem
from sessions.record import CallSummary, Heard, Speaker, ToolUse, Turn, Utterance
from sessions.stores.contract import Document
from sessions.stores.documents import SessionRecord, SessionState, session_document, turn_document
from sessions.usage import TokenUsage, add_usage

SESSION = "sess_1"
STARTED_S = 1_764_600_000.25
MODEL = ModelTarget("openai/gpt-realtime", "api.openai.com", 443)


def through_json(document: Document) -> Document:
    """A document as it comes out of a store or a pipe."""
    parsed: Document = orjson.loads(orjson.dumps(document))
    return parsed


def dial(**more: Any) -> Dial:
    """A dial that succeeded after 120 ms; `more` replaces fields."""
    facts = {"cause": DialCause.START, "attempt": 0, "target": MODEL, "begin_ms": 0, "ready_ms": 120}
    return Dial(**{**facts, "model_session": "sess_m", "served": "gpt-realtime-2026", **more})


def call_document(*, turns: int = 1, over: bool = True, summary: dict[str, Any] | None = None, **more: Any) -> Document:
    """The document of a session of 10 seconds."""
    facts = {"turns": turns, "duration_ms": 10_000, "end_reason": "caller_hung_up" if over else None}
    record = session_record(
        **{
            "session_id": SESSION,
            "model": "openai/gpt-realtime",
            "started_at": STARTED_S,
            "ended_at": STARTED_S + 10 if over else None,
            "state": SessionState.ENDED if over else SessionState.LIVE,
            "summary": CallSummary(**{**facts, **(summary or {})}),
            "dials": (dial(),),
            "setup": SetupFacts(40, "pcmu/8000", "pcm16/24000"),
            **more,
        }
    )
    return through_json(session_document(record, ttl_s=None))


def turn_of(index: int = 0, **more: Any) -> Turn:
    """A turn from 1 s to 4 s: a question and its spoken answer, which was heard."""
    facts: dict[str, Any] = {
        "begin_ms": 1_000,
        "end_ms": 4_000,
        "entries": [caller("When are you open?"), agent("From noon to nine.")],
        "latency_ms": 500,
        "outcome": "completed",
        "responses": [response()],
        "speech": [SpeechStretch(1_000, 1_900)],
    }
    return Turn(index=index, **{**facts, **more})


def document_of(turn: Turn, session_id: str = SESSION) -> Document:
    """The document of a turn."""
    return through_json(turn_document("default", session_id, turn, ttl_s=None))


def caller(text: str, **more: Any) -> Utterance:
    """Something that the caller said."""
    facts = {"item_id": "item_q", "speaker": Speaker.CALLER, "spoken": True, "begin_ms": 1_000}
    return Utterance(text=text, heard_text=text, **{**facts, **more})


def agent(text: str, **more: Any) -> Utterance:
    """Something that the agent said, of which 1.2 s were sent and heard."""
    facts: dict[str, Any] = {"item_id": "item_a", "speaker": Speaker.AGENT, "heard_text": text, "spoken": True}
    times = {"begin_ms": 2_400, "sent_ms": 1_200, "heard_ms": 1_200, "heard": Heard.MARKED}
    return Utterance(text=text, **{**facts, **times, **more})


def response(**more: Any) -> ResponseUse:
    """A response from 2 s to 3.6 s, which was asked for."""
    facts: dict[str, Any] = {
        "response_id": "resp_1",
        "origin": ResponseOrigin.CLIENT,
        "leg": 0,
        "asked_ms": 1_950,
        "begin_ms": 2_000,
        "first_sound_ms": 2_400,
        "end_ms": 3_600,
        "outcome": "completed",
        "reason": "completed",
        "usage": TokenUsage(input_text=40, input_audio=60, input_cached=30, output_text=10, output_audio=50),
        "cost_nano": 1_234_567,
    }
    return ResponseUse(**{**facts, **more})


def tool(**more: Any) -> ToolUse:
    """A tool call from 2.5 s to 3 s that has succeeded."""
    facts: dict[str, Any] = {
        "call_id": "call_7",
        "item_id": "item_t",
        "name": "find_table",
        "arguments": '{"people":2}',
        "server_side": True,
        "begin_ms": 2_500,
        "end_ms": 3_000,
        "output": '{"table":4}',
    }
    return ToolUse(**{**facts, **more})


# ---- at random

CANARY = "Kanarienvogel"
_ms = st.integers(0, 60_000)
_id = st.text("abc_123é", min_size=1, max_size=4)
_words = st.just(CANARY) | st.text(max_size=8).map(lambda text: f"{CANARY} {text}")
_usages = st.builds(TokenUsage, *[st.integers(0, 500)] * 12)
_odd_name = st.sampled_from(["find_table", "x" * 500, "weiß\n\u202e", "", "中" * 80])
_utterances = st.builds(
    Utterance,
    item_id=_id,
    speaker=st.sampled_from(Speaker),
    text=_words,
    heard_text=_words,
    spoken=st.booleans(),
    begin_ms=_ms,
    sent_ms=_ms,
    heard_ms=_ms,
    heard=st.none() | st.sampled_from(Heard),
    final=st.booleans(),
    keys=st.booleans(),
)
_tools = st.builds(
    ToolUse,
    call_id=_id,
    item_id=_id,
    name=_odd_name,
    arguments=_words,
    server_side=st.booleans(),
    begin_ms=_ms,
    end_ms=st.none() | _ms,
    output=st.none() | _words,
    error=st.none() | st.sampled_from(["timeout", "http_error"]),
    server=st.none() | _odd_name,
    deadline_ms=st.none() | _ms,
)
_responses = st.builds(
    ResponseUse,
    response_id=_id,
    origin=st.sampled_from(ResponseOrigin),
    leg=st.integers(0, 3),
    asked_ms=st.none() | _ms,
    begin_ms=_ms,
    first_sound_ms=st.none() | _ms,
    end_ms=st.none() | _ms,
    outcome=st.none() | st.sampled_from(["completed", "cancelled", "incomplete", "failed"]),
    reason=st.none() | st.sampled_from(["turn_detected", "content_filter", f"{CANARY} said this"]),
    usage=st.none() | _usages,
    cost_nano=st.none() | st.integers(0, 10**10),
)
_dials = st.builds(
    Dial,
    cause=st.sampled_from(DialCause),
    attempt=st.integers(0, 9),
    target=st.builds(ModelTarget, st.sampled_from(["azure/x", "local/offline", ""]), st.just("h"), st.none() | _ms),
    begin_ms=_ms,
    ready_ms=st.none() | _ms,
    lost_ms=st.none() | _ms,
    error=st.none() | st.sampled_from(LegError),
)
_turns = st.builds(
    Turn,
    index=st.just(0),
    begin_ms=_ms,
    end_ms=st.none() | _ms,
    entries=st.lists(_utterances | _tools, max_size=6),
    latency_ms=st.none() | _ms,
    interrupted=st.booleans(),
    outcome=st.none() | st.sampled_from(["completed", "cancelled", "incomplete", "failed"]),
    problem=st.none() | st.just(ModelProblem("rate_limit", None)),
    responses=st.lists(_responses, max_size=4),
    speech=st.lists(st.builds(SpeechStretch, _ms, st.none() | _ms), max_size=3),
    cost_nano=st.none() | st.integers(0, 10**10),
    budget_reached=st.booleans(),
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[Document, list[Document]]:
    """A call that is over, as the document of its session and those of its turns."""
    turns = draw(st.lists(_turns, max_size=4))
    usage = TokenUsage()
    for index, turn in enumerate(turns):
        turn.index = index
        for use in turn.responses:
            usage = add_usage(usage, use.usage or TokenUsage())
    caller_facts = CallerFacts.of(f"{CANARY} 1", CANARY, Direction.INBOUND, {"note": CANARY}, CANARY, "de")
    record: SessionRecord = session_record(
        session_id=draw(st.sampled_from(["sess_1", "ü" * 300, "x/y"])),
        agent=draw(_odd_name),
        model="azure/gpt",
        started_at=STARTED_S,
        state=SessionState.ENDED,
        ended_at=STARTED_S + 60,
        summary=CallSummary(turns=len(turns), usage=usage, duration_ms=draw(_ms)),
        dials=tuple(draw(st.lists(_dials, max_size=3))),
        setup=SetupFacts(draw(st.integers(0, 500)), "pcmu/8000", ""),
        caller=caller_facts,
    )
    session = through_json(session_document(record, ttl_s=None))
    return session, [document_of(turn, record.session_id) for turn in turns]
