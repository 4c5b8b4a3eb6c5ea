"""A call: it takes events and the time, and returns commands.

It is synchronous: it never waits, logs, sleeps or reads a clock. So a whole call can be tested, fuzzed, and replayed a
thousand times faster than it was spoken. The decisions are in the files beside this one, each about one matter.
"""

from __future__ import annotations

from sessions import deadlines, ending, model_link, speaking, tool_results
from sessions.account_book import AccountBook
from sessions.accounts import Dial
from sessions.agent import KeyMode
from sessions.caller_facts import CallerFacts
from sessions.commands import Command, SaveTurn
from sessions.events import CallEvent, ToolFinished
from sessions.fast_path import FastPathSound
from sessions.heard_text import HeardText
from sessions.keys import Keypad
from sessions.playback import PlaybackLedger
from sessions.ports import Ids
from sessions.record import CallSummary, PlayedSpan, Turn
from sessions.routing import CALLER_KINDS, from_caller, from_model
from sessions.setup import ModelSetup
from sessions.state import CallRules, CallState
from sessions.timing import CallTimeouts
from sessions.tool_book import ToolBook
from sessions.transcript import Transcript
from sessions.transcript_budget import TranscriptBudget
from sessions.turns import AnswerBook, TurnBook


class Call:
    """One call from its first event to its end; events after the end only change the record."""

    def __init__(self, rules: CallRules, setup: ModelSetup, ids: Ids, now_ms: int) -> None:
        self._state = _new_state(rules, setup, ids, now_ms)
        self.fast_path = FastPathSound(self._state)

    def start(self, now_ms: int) -> list[Command]:
        """Open the model's leg, and set the time of the greeting."""
        state = self._state
        model_link.dial(state, now_ms, state.rules.dial_limit_ms)
        if state.rules.greeting is not None:
            state.due.greeting_ms = now_ms + state.rules.greeting_wait_ms
        return _taken(state, now_ms)

    def on_event(self, event: CallEvent, now_ms: int) -> list[Command]:
        """Take one event. Returns the commands that follow from it, in order."""
        state = self._state
        if state.end.reason is not None:
            ending.afterwards(state, event, now_ms)
            return _saves(state)
        kind = type(event)
        if kind in CALLER_KINDS:
            from_caller(state, event, now_ms)  # type: ignore[arg-type]
        elif type(event) is ToolFinished:
            tool_results.finished(state, event.call_id, event.output, event.error, now_ms, hang_up=event.hang_up)
        else:
            from_model(state, event, now_ms)  # type: ignore[arg-type]
        if state.book.changed or state.end.reason is not None:
            return _taken(state, now_ms)
        out, state.out = state.out, []
        return out

    def on_time(self, now_ms: int) -> list[Command]:
        """Do what is due by now. An early call is harmless."""
        if self._state.over():
            return []
        deadlines.act(self._state, now_ms)
        return _taken(self._state, now_ms)

    @property
    def deadline_ms(self) -> int | None:
        """When `on_time` must be called, if no event comes before; None once the call is over."""
        return None if self._state.over() else deadlines.deadline(self._state)

    def too_much_unsent(self) -> list[Command]:
        """Cancel the response that speaks: the caller's leg holds more speech than it may."""
        speaking.cancel_unplayed(self._state)
        out, self._state.out = self._state.out, []
        return out

    @property
    def caller(self) -> CallerFacts:
        """What is known of the caller."""
        return self._state.rules.caller

    @property
    def end_reason(self) -> str | None:
        """Why the call ended; None while it goes on."""
        return self._state.end.reason

    @property
    def turns(self) -> list[Turn]:
        """The record so far, in speech order, which must not be changed; `stored_turn` is for what is stored of it."""
        return self._state.book.turns

    def stored_turn(self, index: int) -> Turn:
        """The turn of this index as it may be stored: without keys that are secret."""
        return self._state.keypad.secrets.stored(self._state.book.turns[index])

    @property
    def keys_are_secret(self) -> bool:
        """Whether nothing that is stored may have the keys that the caller presses."""
        return self._state.keypad.mode is KeyMode.SECRET

    @property
    def latencies_ms(self) -> tuple[int, ...]:
        """The latencies of the answers to the caller, in the order of their turns."""
        return tuple(self._state.book.latencies_ms)

    @property
    def interruptions(self) -> int:
        """How many turns have an answer that the caller has interrupted."""
        return self._state.book.interruptions

    def played(self, now_ms: int) -> tuple[PlayedSpan, ...]:
        """When each of the agent's items began to play, and how much of it was heard. In `now_ms`."""
        return self._state.ledger.spans(self._state.end.ended_ms or now_ms)

    @property
    def dials(self) -> tuple[Dial, ...]:
        """The dials of the model so far, in order."""
        return tuple(self._state.accounts.dials)

    def summary(self, now_ms: int) -> CallSummary:
        """The call's sums so far."""
        state, meter = self._state, self._state.meter
        return CallSummary(
            turns=len(state.book.turns),
            caller_audio_ms=meter.caller_ms,
            agent_audio_ms=meter.agent_ms,
            dropped_audio_ms=state.link.outbox.dropped_ms + meter.dropped_ms,
            usage=meter.usage,
            redials=meter.redials,
            problems=tuple(meter.problems.items()),
            line=meter.line,
            end_reason=state.end.reason,
            duration_ms=(state.end.ended_ms or now_ms) - state.timeouts.started_ms,
            cost_nano=state.accounts.costs.total_nano,
            transcriptions=state.accounts.transcriptions,
            outside=state.accounts.outside,
        )


def _new_state(rules: CallRules, setup: ModelSetup, ids: Ids, now_ms: int) -> CallState:
    book, budget, ledger = TurnBook(now_ms), TranscriptBudget(), PlaybackLedger()
    answers = AnswerBook(book)
    transcript = Transcript(book, answers, budget)
    return CallState(
        rules=rules,
        setup=setup,
        ids=ids,
        timeouts=CallTimeouts(now_ms, rules.length_ms, rules.idle_ms),
        book=book,
        answers=answers,
        accounts=AccountBook(book, rules.target),
        tool_book=ToolBook(book, answers, budget),
        transcript=transcript,
        ledger=ledger,
        heard_text=HeardText(transcript, ledger, book),
        keypad=Keypad(rules.phone),
    )


def _taken(state: CallState, now_ms: int) -> list[Command]:
    """The commands so far and those that save changed turns; if the call has just ended, everything is stopped."""
    if state.end.reason is not None:
        ending.wind_up(state, now_ms)
    out, state.out = state.out, []
    return out + _saves(state)


def _saves(state: CallState) -> list[Command]:
    changed = sorted(state.book.changed)
    state.book.changed.clear()
    return [SaveTurn(index) for index in changed]
