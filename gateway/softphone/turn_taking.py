"""Says turn after turn: each one when the agent has finished, or barging in at its given moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gateway.softphone.microphone import Microphone
from gateway.softphone.plan import SpokenTurn
from gateway.softphone.report import CallReport, TurnRow


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to wait for an answer, and how long to stay on the line after the last one. In seconds."""

    answer_timeout_s: float
    linger_s: float


class Watch(Protocol):
    """What a caller can tell of the agent. Times are in ms since the call began."""

    def greeted(self, now_ms: int) -> bool:
        """Whether the greeting is over, or none comes."""
        ...

    def turn_begins(self, row: TurnRow, turn: SpokenTurn) -> None:
        """The caller begins to say a turn."""
        ...

    def sounded_for(self, ms: int, now_ms: int) -> bool:
        """Whether the answer to the latest turn began to sound at least `ms` ago."""
        ...

    def answered(self, now_ms: int) -> bool:
        """Whether the agent has answered the latest turn, and has finished."""
        ...


async def speak_turns(
    turns: Sequence[SpokenTurn], microphone: Microphone, watch: Watch, report: CallReport, pace: Pace
) -> None:
    """Say all turns and wait for the last answer; rows that `watch` does not add to the report are those not said."""
    limit_s = pace.answer_timeout_s
    await microphone.silence_until(watch.greeted, limit_s)
    for number, turn in enumerate(turns, start=1):
        if turn.barge_in_ms is not None and number > 1:
            await microphone.silence_until(partial(watch.sounded_for, turn.barge_in_ms), limit_s)
        row = TurnRow(number, turn.label, microphone.spoken_ms)
        if microphone.closed:
            row.error = "the call had ended"
            report.turns.append(row)
            continue
        watch.turn_begins(row, turn)
        await microphone.say(turn.pcm)
        row.end_ms = microphone.spoken_ms
        if number < len(turns) and turns[number].barge_in_ms is not None:
            continue
        if not await microphone.silence_until(watch.answered, limit_s):
            row.error = "the call had ended" if microphone.closed else f"no answer within {limit_s:g} s"
    await microphone.silence_for(round(pace.linger_s * 1000))
    if not microphone.closed:
        report.ended = "caller hung up"
