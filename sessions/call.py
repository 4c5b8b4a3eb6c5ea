"""A call: events and the time go in, commands come out.

Plain and synchronous: it never waits, logs, sleeps or reads a clock, so that a whole call can be tested, fuzzed, and
replayed a thousand times faster than it was spoken. The decisions are in the neighbouring files, each on one matter.
"""

from __future__ import annotations

from typing import assert_never

from audio.runs import FrameRun
from sessions import answering, caller_side, due, line, model_side
from sessions.commands import Command, DropModel, PassToModel, Play, Relay, SaveTurn, SendAudio, StopTool
from sessions.events import (
    AgentAudio,
    AgentText,
    CallerAudio,
    CallerCommitted,
    CallerEvent,
    CallerPassed,
    CallerText,
    CallerTranscribed,
    CallerTurnTaken,
    CallEvent,
    CancelWanted,
    ClientToolAnswered,
    HungUp,
    ItemStarted,
    MarkEchoed,
    ModelEvent,
    ModelLost,
    ModelPassed,
    ModelReady,
    ModelRefused,
    PlaybackReported,
    ResponseEnded,
    ResponseStarted,
    ResponseWanted,
    SettingsChanged,
    SpeechEnded,
    SpeechStarted,
    ToolFinished,
    ToolOutputTaken,
    ToolWanted,
)
from sessions.ports import Ids
from sessions.record import CallSummary, PlayedSpan, Turn
from sessions.setup import ModelSetup
from sessions.state import CallRules, CallState, Line
from sessions.talk import Talk
from sessions.timing import Limits
from sessions.turns import TurnBook


class Call:
    """One call, from its first event to its end; after the end every event is taken and changes nothing."""

    def __init__(self, rules: CallRules, setup: ModelSetup, ids: Ids, now_ms: int) -> None:
        book = TurnBook(now_ms)
        self._state = CallState(
            rules=rules,
            setup=setup,
            ids=ids,
            started_ms=now_ms,
            book=book,
            talk=Talk(book),
            limits=Limits(now_ms, rules.length_ms, rules.idle_ms),
        )

    def start(self, now_ms: int) -> list[Command]:
        """Open the model's leg, and set the time for a greeting."""
        state = self._state
        line.dial(state, now_ms, state.rules.dial_limit_ms)
        if state.rules.greeting is not None:
            state.greeting_due_ms = now_ms + state.rules.greeting_wait_ms
        return self._taken(now_ms)

    def on_event(self, event: CallEvent, now_ms: int) -> list[Command]:
        """Take one event. Returns what to do, in order."""
        state = self._state
        if state.end_reason is not None:
            return self._after_the_end(event, now_ms)
        kind = type(event)
        if kind in _CALLER_KINDS:
            self._from_caller(event, now_ms)  # type: ignore[arg-type]
        elif kind is ToolFinished:
            self._from_tool(event, now_ms)  # type: ignore[arg-type]
        else:
            self._from_model(event, now_ms)  # type: ignore[arg-type]
        if state.book.changed or state.end_reason is not None:
            return self._taken(now_ms)
        out, state.out = state.out, []
        return out

    def caller_sound(self, event: CallerAudio, now_ms: int) -> SendAudio | None:
        """What `on_event` does with sound of the caller, which brings one command at most; no list is made for it."""
        state = self._state
        return None if state.end_reason is not None else caller_side.sound(state, event, now_ms)

    def agent_sound(self, event: AgentAudio, now_ms: int) -> Play | None:
        """The same for speech of an item that is known to be heard. None for any other: that is for `on_event`."""
        state = self._state
        if event.item_id != state.live_item or state.watch.listening or state.end_reason is not None:
            return None
        if state.line is not Line.OPEN:
            return None
        return model_side.speech(state, event, now_ms)

    @property
    def hears_straight(self) -> bool:
        """Whether caller sound goes to the model whatever it is: `caller_run` may then be told of it later."""
        return self._state.line is Line.OPEN and self._state.end_reason is None

    @property
    def speaks_straight(self) -> tuple[str, str] | None:
        """The response and the item whose speech goes to the caller whatever it is, `agent_run` being told later."""
        state = self._state
        if state.live_item is None or state.line is not Line.OPEN or state.watch.listening or self.end_reason:
            return None
        return state.live_response, state.live_item

    def caller_run(self, run: FrameRun) -> None:
        """Take sound that went straight to the model. Told before any other event that came after it."""
        if self._state.end_reason is None:
            caller_side.run(self._state, run)

    def agent_run(self, item_id: str, run: FrameRun) -> None:
        """Take speech of an item that went straight to the caller. Told before any other event that came after it."""
        if self._state.end_reason is None:
            model_side.run(self._state, item_id, run)

    def passes(self, now_ms: int) -> bool:
        """What `on_event` does with a `ModelPassed`: whether it is to be relayed, which is all that follows from it."""
        state = self._state
        if state.line is not Line.OPEN or state.end_reason is not None:
            return False
        state.progress_ms = now_ms
        return True

    def on_time(self, now_ms: int) -> list[Command]:
        """Do what is due. An early call is harmless."""
        if self._state.over():
            return []
        due.act(self._state, now_ms)
        return self._taken(now_ms)

    @property
    def deadline_ms(self) -> int | None:
        """When `on_time` has something to do, if nothing happens before; None once the call is over."""
        return None if self._state.over() else due.deadline(self._state)

    @property
    def end_reason(self) -> str | None:
        """Why the call ended; None while it goes on."""
        return self._state.end_reason

    @property
    def turns(self) -> list[Turn]:
        """The record so far, in speech order. Not to be changed."""
        return self._state.book.turns

    def too_much_unsent(self) -> list[Command]:
        """The caller's leg holds more speech than it may: cancel the response that makes it."""
        model_side.cancel_unplayed(self._state)
        out, self._state.out = self._state.out, []
        return out

    def mark_name(self, item_id: str) -> str:
        """What a far end that echoes marks shall call the one behind all speech of this item so far."""
        return self._state.ledger.mark_name(item_id)

    def played(self, now_ms: int) -> tuple[PlayedSpan, ...]:
        """Where each of the agent's items lies in time and how much of it was heard. Absolute milliseconds."""
        return self._state.ledger.spans(self._state.ended_ms or now_ms)

    def summary(self, now_ms: int) -> CallSummary:
        """The call's sums so far."""
        state, meter = self._state, self._state.meter
        return CallSummary(
            turns=len(state.book.turns),
            caller_audio_ms=meter.caller_samples * 1000 // meter.caller_rate_hz,
            agent_audio_ms=meter.agent_samples * 1000 // meter.agent_rate_hz,
            dropped_audio_ms=state.held.dropped_ms,
            usage=meter.usage,
            redials=meter.redials,
            end_reason=state.end_reason,
            duration_ms=(state.ended_ms or now_ms) - state.started_ms,
        )

    def _from_caller(self, event: CallerEvent, now_ms: int) -> None:
        state = self._state
        match event:
            case CallerAudio():
                state.add(caller_side.sound(state, event, now_ms))
            case CallerCommitted():
                caller_side.committed(state, event)
            case CallerText():
                caller_side.typed(state, event, now_ms)
            case ClientToolAnswered():
                caller_side.tool_answered(state, event, now_ms)
            case ResponseWanted():
                answering.client_wants(state, event, now_ms)
            case CancelWanted():
                caller_side.cancel(state, event)
            case PlaybackReported():
                caller_side.played(state, event, now_ms)
            case MarkEchoed():
                caller_side.echoed(state, event, now_ms)
            case SettingsChanged():
                caller_side.settings(state, event, now_ms)
            case CallerPassed():
                state.to_model(PassToModel(event.wire))
            case HungUp():
                answering.end(state, event.reason, "", None, now_ms)
            case _:
                assert_never(event)

    def _from_model(self, event: ModelEvent, now_ms: int) -> None:
        state = self._state
        if state.line is not Line.OPEN and not isinstance(event, ModelReady | ModelLost):
            return  # a leg that is gone, or not ready, has nothing to say
        match event:
            case AgentAudio():
                state.add(model_side.speech(state, event, now_ms))
            case ModelPassed():  # these two are most of what is not sound
                state.progress_ms = now_ms
                state.out.append(Relay(event))
            case AgentText():
                model_side.words(state, event, now_ms)
            case ModelReady():
                line.ready(state, now_ms)
            case SpeechStarted():
                model_side.speech_started(state, event, now_ms)
            case SpeechEnded():
                model_side.speech_ended(state, event, now_ms)
            case CallerTurnTaken():
                model_side.turn_taken(state, event, now_ms)
            case CallerTranscribed():
                model_side.transcribed(state, event)
            case ResponseStarted():
                model_side.response_started(state, event, now_ms)
            case ItemStarted():
                model_side.item_started(state, event, now_ms)
            case ToolWanted():
                model_side.tool_wanted(state, event, now_ms)
            case ResponseEnded():
                model_side.response_ended(state, event, now_ms)
            case ModelRefused():
                model_side.refused(state, event, now_ms)
            case ToolOutputTaken():
                state.untaken.discard(event.call_id)
                state.seeded.discard(event.call_id)
                state.out.append(Relay(event))
            case ModelLost():
                line.lost(state, event, now_ms)
            case _:
                assert_never(event)

    def _from_tool(self, event: ToolFinished, now_ms: int) -> None:
        model_side.tool_finished(self._state, event.call_id, event.output, event.error, now_ms, hang_up=event.hang_up)

    def _after_the_end(self, event: CallEvent, now_ms: int) -> list[Command]:
        # The caller's last words may still be on their way from the recogniser: the record takes them.
        if isinstance(event, CallerTranscribed):
            self._state.talk.caller_text(event.item_id, event.text, final=event.final)
        elif isinstance(event, ToolFinished):
            self._state.book.tool_finished(event.call_id, event.output, event.error, now_ms)
        return self._saves()

    def _taken(self, now_ms: int) -> list[Command]:
        """The commands so far, and what the record needs; at the call's end, everything is wound up."""
        state = self._state
        if state.over() and not state.wound_up:
            self._wind_up(now_ms)
        out, state.out = state.out, []
        return out + self._saves()

    def _wind_up(self, now_ms: int) -> None:
        state = self._state
        state.wound_up = True
        for job in state.tools.running:
            state.out.append(StopTool(job.call_id))
        if state.line is not Line.IDLE:
            state.out.append(DropModel())
        state.line = Line.GONE
        state.talk.close(state.ledger, now_ms)
        state.book.close(now_ms)

    def _saves(self) -> list[Command]:
        changed = sorted(self._state.book.changed)
        self._state.book.changed.clear()
        return [SaveTurn(index) for index in changed]


_CALLER_KINDS = frozenset(
    {
        CallerAudio,
        CallerCommitted,
        CallerText,
        ClientToolAnswered,
        ResponseWanted,
        CancelWanted,
        PlaybackReported,
        MarkEchoed,
        SettingsChanged,
        CallerPassed,
        HungUp,
    }
)
