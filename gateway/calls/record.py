"""The record of one running call: its documents, saved as turns end, and its recording if the agent wants one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from audio.formats import AudioFrame
from audio.runs import FrameRun
from gateway.recording.eventlog import Source
from gateway.recording.recorder import CallRecording, Recorder
from gateway.telemetry.calls import CallFigures, CallLabels, Progress
from gateway.telemetry.figures import Figures
from sessions.accounts import UNKNOWN_SETUP, SetupFacts
from sessions.call import Call
from sessions.commands import NoteProblem
from sessions.ports import Clock
from sessions.record import PlayedSpan, Turn
from sessions.stores.contract import Document
from sessions.stores.documents import (
    Owner,
    RecordingInfo,
    RecordingState,
    SessionRecord,
    SessionState,
    session_document,
    turn_document,
)

log = logging.getLogger(__name__)

# How many of the problems that the model reports in one call are logged; the record and the metrics count them all.
MAX_LOGGED = 20


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of a call as it begins.

    `started_at` is in Unix seconds, `started_ms` on the monotonic clock; `ttl_s` None keeps the record for ever.
    """

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
    setup: SetupFacts = UNKNOWN_SETUP


def _unrecorded(*sound: object) -> None:
    """Drop sound that comes after the end of the call."""


def _unsaved(document: Document) -> None:
    """Drop a document of a session that another process owns."""


class CallRecord:
    """Writes down one call: turns and sums as documents, sound and messages into the recording."""

    def __init__(
        self,
        facts: CallFacts,
        save: Callable[[Document], None],
        recorder: Recorder,
        recording: CallRecording | None,
        clock: Clock,
        figures: Figures | None = None,
    ) -> None:
        """`save` takes a document at once and never blocks. `recording` is None where none is made."""
        self.figures = CallFigures(figures or Figures(), CallLabels(facts.agent, facts.protocol, facts.model))
        self._logged = 0  # problems that were logged
        self._facts = facts
        self._save = save
        self._recorder = recorder
        self._recording = recording
        self._dropped = False  # True once another process owns the session
        self._clock = clock
        self._spool = recording.spool if recording is not None else None
        self._events = recording.events if recording is not None else None
        # These are called for every frame of sound, so without an event log they are the spool's own methods.
        self.caller_sound: Callable[[AudioFrame, int], None] = self._caller_sound
        self.agent_sound: Callable[[AudioFrame, str, int], None] = self._agent_sound
        if self._spool is not None and self._events is None:
            self.caller_sound, self.agent_sound = self._spool.caller, self._spool.agent

    @property
    def log(self) -> Callable[[str, bytes], None] | None:
        """Where the legs log messages that are not sound; None where no event log is kept."""
        return self._note if self._events is not None else None

    def _note(self, source: str, text: bytes) -> None:
        assert self._events is not None
        self._events.message(Source(source), text, self._clock.now_ms())

    def key(self, digit: str | None) -> None:
        """Log a key that the caller has pressed; None: a secret one. No leg logs the message that brought it."""
        if self._events is not None:
            self._note(Source.CALLER, orjson.dumps({"type": "patchbay.key", "key": digit}))

    def _caller_sound(self, frame: AudioFrame, now_ms: int) -> None:
        """Record a frame of the caller's sound."""
        if self._spool is not None:
            self._spool.caller(frame, now_ms)
        if self._events is not None:
            self._events.sound(Source.CALLER, "caller", frame, now_ms)

    def _agent_sound(self, frame: AudioFrame, item_id: str, now_ms: int) -> None:
        """Record a frame of the agent's speech."""
        if self._spool is not None:
            self._spool.agent(frame, item_id, now_ms)
        if self._events is not None:
            self._events.sound(Source.MODEL, item_id, frame, now_ms)

    def caller_run(self, run: FrameRun) -> None:
        """Record a run of the caller's sound, each frame with the time of its arrival."""
        if self._spool is not None:
            self._spool.caller_run(run)
        if self._events is not None:
            for frame, at_ms in run.frames():
                self._events.sound(Source.CALLER, "caller", frame, at_ms)

    def agent_run(self, run: FrameRun, item_id: str) -> None:
        """Record a run of the agent's speech, each frame with the time of its arrival."""
        if self._spool is not None:
            self._spool.agent_run(run, item_id)
        if self._events is not None:
            for frame, at_ms in run.frames():
                self._events.sound(Source.MODEL, item_id, frame, at_ms)

    def started(self, call: Call, now_ms: int) -> None:
        """Save the session's document as the call begins."""
        self.figures.started()
        self._save_session(call, now_ms)

    def turn(self, call: Call, turn: Turn, now_ms: int) -> None:
        """Save a turn that has ended, or that has changed after its end."""
        self._save(turn_document(self._facts.tenant, self._facts.session_id, turn, ttl_s=self._facts.ttl_s))
        record = self._save_session(call, now_ms)
        self.figures.turn(turn, Progress(record.summary, record.dials, record.setup))

    def problem(self, noted: NoteProblem) -> None:
        """Count and log a problem that the model reports; the documents hold it when they are saved next."""
        self.figures.problem(noted.problem.code)
        self._logged += 1
        if self._logged <= MAX_LOGGED:
            fields = {"call_id": self._facts.session_id, "agent": self._facts.agent, "about": noted.about}
            log.warning(
                "the model reported a problem",
                extra={**fields, "code": noted.problem.code, "type": noted.problem.type},
            )

    def drop(self) -> None:
        """Save nothing more, because another process owns the session."""
        self._dropped = True
        self._save = _unsaved

    async def ended(self, call: Call, now_ms: int) -> None:
        """Save the session's last document, and hand the recording over to be made."""
        self.caller_sound = self.agent_sound = _unrecorded  # bound methods of this object would keep it alive
        record = self._session(call, now_ms, SessionState.ENDED)
        self.figures.ended(call.turns, Progress(record.summary, record.dials, record.setup))
        if self._dropped:
            if self._recording is not None:
                self._recorder.leave(self._recording)
            return
        self._save(session_document(record, ttl_s=self._facts.ttl_s))
        if self._recording is not None:
            begun_ms = self._facts.started_ms
            played = [PlayedSpan(s.item_id, s.begin_ms - begun_ms, s.heard_ms) for s in call.played(now_ms)]
            await self._recorder.end(self._recording, record, played, ttl_s=self._facts.ttl_s)

    def _save_session(self, call: Call, now_ms: int) -> SessionRecord:
        record = self._session(call, now_ms, SessionState.LIVE)
        self._save(session_document(record, ttl_s=self._facts.ttl_s))
        return record

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
            caller=call.caller,
            dials=call.dials,
            setup=facts.setup,
        )
