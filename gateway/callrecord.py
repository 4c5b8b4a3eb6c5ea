"""The record of one running call: its documents, saved as turns end, and its recording, where its agent wants one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from audio.formats import AudioFrame
from audio.runs import FrameRun
from gateway.problems import ProblemCounts
from gateway.recording.eventlog import Source
from gateway.recording.recorder import CallRecording, Recorder
from sessions.call import Call
from sessions.commands import NoteProblem
from sessions.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    SessionState,
    session_document,
    turn_document,
)
from sessions.ports import Clock
from sessions.record import PlayedSpan, Turn
from sessions.stores.contract import Document

log = logging.getLogger(__name__)

MAX_LOGGED = 20  # problems of its model's, of one call: the record and the figures count them all


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of a call before it begins. `started_at` in Unix seconds, `started_ms` on the monotonic clock."""

    tenant: str
    session_id: str
    agent: str
    agent_version: str
    model: str
    protocol: str
    owner: Owner
    started_at: float
    started_ms: int
    ttl_s: int | None


def _unheard(*sound: object) -> None:
    """Where sound goes after the end."""


class CallRecord:
    """Keeps what happens; `save` takes documents at once and never blocks."""

    def __init__(
        self,
        facts: CallFacts,
        save: Callable[[Document], None],
        recorder: Recorder,
        recording: CallRecording | None,
        clock: Clock,
        problems: ProblemCounts | None = None,
    ) -> None:
        self._problems = problems or ProblemCounts()
        self._logged = 0  # problems of the model's
        self._facts = facts
        self._save = save
        self._recorder = recorder
        self._recording = recording
        self._clock = clock
        self._spool = recording.spool if recording is not None else None
        self._events = recording.events if recording is not None else None
        # Called for every 20 ms of sound; with nothing else to tell, straight into the spool.
        self.caller_sound: Callable[[AudioFrame, int], None] = self._caller_sound
        self.agent_sound: Callable[[AudioFrame, str, int], None] = self._agent_sound
        if self._spool is not None and self._events is None:
            self.caller_sound, self.agent_sound = self._spool.caller, self._spool.agent

    @property
    def log(self) -> Callable[[str, bytes], None] | None:
        """Where the legs note messages that are not sound; None where nothing is kept of them."""
        return self._note if self._events is not None else None

    def _note(self, source: str, text: bytes) -> None:
        assert self._events is not None
        self._events.message(Source(source), text, self._clock.now_ms())

    def _caller_sound(self, frame: AudioFrame, now_ms: int) -> None:
        """Sound of the caller, as it came."""
        if self._spool is not None:
            self._spool.caller(frame, now_ms)
        if self._events is not None:
            self._events.sound(Source.CALLER, "caller", frame, now_ms)

    def _agent_sound(self, frame: AudioFrame, item_id: str, now_ms: int) -> None:
        """Speech of the agent, as it came."""
        if self._spool is not None:
            self._spool.agent(frame, item_id, now_ms)
        if self._events is not None:
            self._events.sound(Source.MODEL, item_id, frame, now_ms)

    def caller_run(self, run: FrameRun) -> None:
        """Sound of the caller, frame by frame as it came."""
        if self._spool is not None:
            self._spool.caller_run(run)
        if self._events is not None:
            for frame, at_ms in run.frames():
                self._events.sound(Source.CALLER, "caller", frame, at_ms)

    def agent_run(self, run: FrameRun, item_id: str) -> None:
        """Speech of the agent, frame by frame as it came."""
        if self._spool is not None:
            self._spool.agent_run(run, item_id)
        if self._events is not None:
            for frame, at_ms in run.frames():
                self._events.sound(Source.MODEL, item_id, frame, at_ms)

    def started(self, call: Call, now_ms: int) -> None:
        """The call begins."""
        self._save_session(call, now_ms)

    def turn(self, call: Call, turn: Turn, now_ms: int) -> None:
        """A turn is over, or one that was over has changed."""
        self._save(turn_document(self._facts.tenant, self._facts.session_id, turn, ttl_s=self._facts.ttl_s))
        self._save_session(call, now_ms)

    def problem(self, noted: NoteProblem) -> None:
        """The model has reported a problem; the turn's and the session's documents have it when they are saved next."""
        self._problems.count(noted.problem.code)
        self._logged += 1
        if self._logged <= MAX_LOGGED:
            fields = {"call_id": self._facts.session_id, "agent": self._facts.agent, "about": noted.about}
            log.warning(
                "the model reported a problem",
                extra={**fields, "code": noted.problem.code, "type": noted.problem.type},
            )

    async def ended(self, call: Call, now_ms: int) -> None:
        """The call is over: its last words, and its recording in the queue to be made."""
        self.caller_sound = self.agent_sound = _unheard  # its own methods would keep it alive
        record = self._session(call, now_ms, SessionState.ENDED)
        self._save(session_document(record, ttl_s=self._facts.ttl_s))
        if self._recording is not None:
            begun_ms = self._facts.started_ms
            played = [PlayedSpan(s.item_id, s.begin_ms - begun_ms, s.heard_ms) for s in call.played(now_ms)]
            await self._recorder.end(self._recording, record, played, ttl_s=self._facts.ttl_s)

    def _save_session(self, call: Call, now_ms: int) -> None:
        self._save(session_document(self._session(call, now_ms, SessionState.LIVE), ttl_s=self._facts.ttl_s))

    def _session(self, call: Call, now_ms: int, state: SessionState) -> SessionRecord:
        facts = self._facts
        summary = call.summary(now_ms)
        running = self._recording
        return SessionRecord(
            tenant=facts.tenant,
            session_id=facts.session_id,
            agent=facts.agent,
            agent_version=facts.agent_version,
            model=facts.model,
            protocol=facts.protocol,
            state=state,
            started_at=facts.started_at,
            ended_at=facts.started_at + summary.duration_ms / 1000 if state is SessionState.ENDED else None,
            summary=summary,
            latencies_ms=call.latencies_ms,
            recording=running.info if running is not None else RecordingInfo(RecordingState.OFF),
            owner=facts.owner,
        )
