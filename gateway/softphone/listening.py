"""Tells from sound alone what the agent does, as a caller with a telephone has to. Pure; times in ms since the call."""

from __future__ import annotations

from collections.abc import Callable

from audio.formats import PCM16_24K, AudioFrame
from audio.levels import FrameTime, LevelTrack
from gateway.softphone.far_ends.ear import Ear
from gateway.softphone.plan import SpokenTurn
from gateway.softphone.report import CallReport, TurnRow

# So much quiet after an answer ends it: sentences are closer together, and people wait about as long.
QUIET_MS = 1_200
# A greeting must begin within this time from the call's start.
GREETING_MS = 3_000


class Listener:
    """Watches one ear."""

    def __init__(self, ear: Ear, report: CallReport, tell: Callable[[str], None]) -> None:
        """Each turn is added to `report`, and told to `tell`."""
        self._ear = ear
        self._report = report
        self._tell = tell
        self._levels = LevelTrack(ear.format, FrameTime.BEGIN)
        self._until_ms = 0  # what was heard until then is measured
        self._said_until_ms = 0  # where the audible part of the latest turn ends

    def greeted(self, now_ms: int) -> bool:
        """Whether the greeting is over, or none has begun within `GREETING_MS`."""
        return self._finished(0, now_ms) or (self._begin_ms(0, now_ms) is None and now_ms > GREETING_MS)

    def turn_begins(self, row: TurnRow, turn: SpokenTurn) -> None:
        """The caller begins to say a turn."""
        said = LevelTrack(PCM16_24K, FrameTime.BEGIN)
        said.feed(AudioFrame(turn.pcm, PCM16_24K, 0), 0)
        self._said_until_ms = row.begin_ms + (said.last_audible_ms() or 0)
        self._report.turns.append(row)
        self._tell(f"caller  {row.said}")

    def sounded_for(self, ms: int, now_ms: int) -> bool:
        """Whether the answer to the latest turn began to sound at least `ms` ago."""
        begin_ms = self._begin_ms(self._said_until_ms, now_ms)
        return begin_ms is not None and now_ms >= begin_ms + ms

    def answered(self, now_ms: int) -> bool:
        """Whether there was sound since the latest turn, and then none for `QUIET_MS`."""
        return self._finished(self._said_until_ms, now_ms)

    def _finished(self, since_ms: int, now_ms: int) -> bool:
        if self._begin_ms(since_ms, now_ms) is None:
            return False
        last_ms = self._levels.last_audible_ms()
        return last_ms is not None and now_ms - last_ms >= QUIET_MS

    def _begin_ms(self, since_ms: int, now_ms: int) -> int | None:
        """When the first audible sound since `since_ms` began."""
        heard = self._ear.heard(now_ms, self._until_ms)
        if heard:
            self._levels.feed(AudioFrame(heard, self._ear.format, 0), self._until_ms)
        self._until_ms = max(self._until_ms, now_ms)
        return self._levels.first_audible_ms(since_ms)
