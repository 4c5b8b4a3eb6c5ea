"""Counts one call: what its record says when a turn is saved and when the call ends. Nothing is done for a frame.

The record is the truth: each sum here is what its record has, counted as soon as it is settled, and at the latest at
the call's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.telemetry.codes import known_code
from gateway.telemetry.figures import Figures
from gateway.telemetry.names import (
    CALL_COST,
    CALL_DURATION,
    CALL_SETUP,
    CALLS_ENDED,
    CALLS_STARTED,
    DIAL_TIME,
    DIALS,
    INTERRUPTION_STOP,
    LINE_FRAMES,
    MODEL_ERRORS,
)
from gateway.telemetry.sums import CallSums
from gateway.telemetry.turns import CALL_ENDED, TurnFigures, is_settled
from sessions.accounts import Dial, SetupFacts
from sessions.record import CallSummary, Turn

READY = "ready"
_FRAME_MS = 20
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class CallLabels:
    """Under which labels a call is counted; `model` is `KIND/NAME`, as its agent's file says."""

    agent: str
    protocol: str
    model: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What the record has of a call so far."""

    summary: CallSummary
    dials: Sequence[Dial]
    setup: SetupFacts


class CallFigures:
    """Counts one call, from its start to its end."""

    __slots__ = ("_dials", "_dials_counted", "_figures", "_labels", "_open", "_set_up", "_sums", "_turns")

    def __init__(self, figures: Figures, labels: CallLabels) -> None:
        self._figures = figures
        self._labels = labels
        self._turns = TurnFigures(figures, labels.agent, labels.model, self._model_of)
        self._sums = CallSums(figures, labels.agent, labels.model)
        self._open: set[int] = set()  # turns that were saved and not settled
        self._dials: Sequence[Dial] = ()
        self._dials_counted: set[int] = set()
        self._set_up = False

    def started(self) -> None:
        """The call begins."""
        self._figures.add(CALLS_STARTED, self._labels.agent, self._labels.protocol)

    def turn(self, turn: Turn, so_far: Progress) -> None:
        """A turn is saved, because it has ended, or has changed since."""
        self._take(so_far)
        if self._turns.is_counted(turn.index):
            self._turns.count_heard(turn)
        elif is_settled(turn):
            self._open.discard(turn.index)
            self._turns.count(turn, so_far.summary.duration_ms)
        else:
            self._open.add(turn.index)

    def interrupted(self, took_ns: int) -> None:
        """The caller has interrupted the agent; the command to stop the speech was written `took_ns` later."""
        self._figures.observe(INTERRUPTION_STOP, took_ns / _NANO, self._labels.protocol)

    def problem(self, code: str) -> None:
        """The model has reported an error."""
        self._figures.add(MODEL_ERRORS, self._labels.model, known_code(code))

    def ended(self, turns: Sequence[Turn], at_last: Progress) -> None:
        """The call is over, and nothing that comes later is counted."""
        self._take(at_last)
        self._count_dials(at_last, all_of_them=True)
        for index in sorted(self._open):
            self._turns.count(turns[index], at_last.summary.duration_ms)
        figures, labels, summary = self._figures, self._labels, at_last.summary
        figures.add(CALLS_ENDED, labels.agent, labels.protocol, summary.end_reason or "")
        figures.observe(CALL_DURATION, summary.duration_ms / 1000, labels.agent)
        if summary.cost_nano is not None:
            figures.observe(CALL_COST, summary.cost_nano / _NANO, labels.agent, labels.model)
        if summary.line is not None:
            line = summary.line
            for fate, ms in (("late", line.late_ms), ("filled", line.filled_ms), ("clipped", line.clipped_ms)):
                figures.add(LINE_FRAMES, labels.protocol, fate, by=ms / _FRAME_MS)

    def _take(self, so_far: Progress) -> None:
        self._dials = so_far.dials
        self._sums.take(so_far.summary)
        self._count_dials(so_far, all_of_them=False)

    def _model_of(self, dial: int) -> str:
        known = self._dials[dial].target.model if dial < len(self._dials) else ""
        return known or self._labels.model

    def _count_dials(self, so_far: Progress, *, all_of_them: bool) -> None:
        """Count the dials whose outcome is known; with `all_of_them` also those that the call's end cut off."""
        for index, dial in enumerate(so_far.dials):
            outcome = _outcome_of(dial) or (CALL_ENDED if all_of_them else None)
            if outcome is None or index in self._dials_counted:
                continue
            self._dials_counted.add(index)
            model = self._model_of(index)
            self._figures.add(DIALS, model, dial.cause, outcome)
            if dial.ready_ms is not None:
                self._figures.observe(DIAL_TIME, (dial.ready_ms - dial.begin_ms) / 1000, model)
                self._note_set_up(so_far.setup.admission_ms + dial.ready_ms)

    def _note_set_up(self, took_ms: int) -> None:
        """The model is ready; only the first time that it is belongs to the set-up."""
        if not self._set_up:
            self._set_up = True
            self._figures.observe(CALL_SETUP, took_ms / 1000, self._labels.agent, self._labels.protocol)


def _outcome_of(dial: Dial) -> str | None:
    """What came of a dial: `ready`, or the class of its error; None while that is not known."""
    if dial.ready_ms is not None:
        return READY
    return dial.error
