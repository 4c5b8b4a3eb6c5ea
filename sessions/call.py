"""A call: events and the time go in, commands come out.

Plain and synchronous: it never waits, logs, sleeps or reads a clock, so that a whole call can be tested, fuzzed, and
replayed a thousand times faster than it was spoken. The decisions are in the neighbouring files, each on one matter.
"""

from __future__ import annotations

from sessions import caller_side, due, ending, line, model_side, speaking
from sessions.commands import Command, Play, SaveTurn, SendAudio
from sessions.events import AgentAudio, CallerAudio, CallEvent, ToolFinished
from sessions.hearing import Hearing
from sessions.playback import PlaybackLedger
from sessions.ports import Ids
from sessions.record import CallSummary, PlayedSpan, Turn
from sessions.room import WordRoom
from sessions.routing import CALLER_KINDS, from_caller, from_model
from sessions.setup import ModelSetup
from sessions.state import CallRules, CallState, Line
from sessions.straight import StraightSound
from sessions.talk import Talk
from sessions.timing import Limits
from sessions.tool_book import ToolBook
from sessions.turns import AnswerBook, TurnBook


class Call:
    """One call, from its first event to its end; after the end every event is taken and changes nothing."""

    def __init__(self, rules: CallRules, setup: ModelSetup, ids: Ids, now_ms: int) -> None:
        self._state = _new_state(rules, setup, ids, now_ms)
        self.straight = StraightSound(self._state)

    def start(self, now_ms: int) -> list[Command]:
        """Open the model's leg, and set the time for a greeting."""
        state = self._state
        line.dial(state, now_ms, state.rules.dial_limit_ms)
        if state.rules.greeting is not None:
            state.greeting_due_ms = now_ms + state.rules.greeting_wait_ms
        return _taken(state, now_ms)

    def on_event(self, event: CallEvent, now_ms: int) -> list[Command]:
        """Take one event. Returns what to do, in order."""
        state = self._state
        if state.end_reason is not None:
            ending.afterwards(state, event, now_ms)
            return _saves(state)
        kind = type(event)
        if kind in CALLER_KINDS:
            from_caller(state, event, now_ms)  # type: ignore[arg-type]
        elif type(event) is ToolFinished:
            model_side.tool_finished(state, event.call_id, event.output, event.error, now_ms, hang_up=event.hang_up)
        else:
            from_model(state, event, now_ms)  # type: ignore[arg-type]
        if state.book.changed or state.end_reason is not None:
            return _taken(state, now_ms)
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
        return speaking.speech(state, event, now_ms)

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
        return _taken(self._state, now_ms)

    @property
    def deadline_ms(self) -> int | None:
        """When `on_time` has something to do, if nothing happens before; None once the call is over."""
        return None if self._state.over() else due.deadline(self._state)

    def too_much_unsent(self) -> list[Command]:
        """The caller's leg holds more speech than it may: cancel the response that makes it."""
        speaking.cancel_unplayed(self._state)
        out, self._state.out = self._state.out, []
        return out

    @property
    def end_reason(self) -> str | None:
        """Why the call ended; None while it goes on."""
        return self._state.end_reason

    @property
    def turns(self) -> list[Turn]:
        """The record so far, in speech order. Not to be changed."""
        return self._state.book.turns

    @property
    def latencies_ms(self) -> tuple[int, ...]:
        """How quick each answer to the caller was, in the order of the turns that have one."""
        return tuple(self._state.book.latencies_ms)

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
            problems=tuple(meter.problems.items()),
            end_reason=state.end_reason,
            duration_ms=(state.ended_ms or now_ms) - state.started_ms,
        )


def _new_state(rules: CallRules, setup: ModelSetup, ids: Ids, now_ms: int) -> CallState:
    book, room, ledger = TurnBook(now_ms), WordRoom(), PlaybackLedger()
    answers = AnswerBook(book)
    talk = Talk(book, answers, room)
    return CallState(
        rules=rules,
        setup=setup,
        ids=ids,
        started_ms=now_ms,
        limits=Limits(now_ms, rules.length_ms, rules.idle_ms),
        book=book,
        answers=answers,
        tool_book=ToolBook(book, answers, room),
        talk=talk,
        ledger=ledger,
        hearing=Hearing(talk, ledger, book),
    )


def _taken(state: CallState, now_ms: int) -> list[Command]:
    """The commands so far, and what the record needs; at the call's end, everything is wound up."""
    if state.end_reason is not None:
        ending.wind_up(state, now_ms)
    out, state.out = state.out, []
    return out + _saves(state)


def _saves(state: CallState) -> list[Command]:
    changed = sorted(state.book.changed)
    state.book.changed.clear()
    return [SaveTurn(index) for index in changed]
