"""Levels of one side of a call, one per 5 ms, with the time of each: where sound began and ceased to be audible."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from math import ceil

WINDOW_MS = 5
# Root mean square of 16-bit samples, -45 dB of full scale. Telephone networks hold speech near -26 dB (ITU-T G.100),
# and P.56 counts as speech what is less than 15.9 dB below its level: -42. A quiet line (G.712) and comfort noise lie
# at -60 and below. So the gate stands 3 dB under speech and 15 above noise.
GATE = 184
# A sound counts where 3 of 4 neighbouring windows are above the gate, which takes 10 ms at least: a click of up to 5 ms
# touches two windows at most. The release of a final "t" may be missed, which makes a latency longer, never shorter.
RUN_WINDOWS = 4
RUN_LOUD = 3


class LevelHistory:
    """Levels by window, in stretches in which time runs on evenly, each from a moment of its own."""

    __slots__ = ("_begin_ms", "_starts", "levels")

    def __init__(self) -> None:
        self.levels = array("H")
        # From window _starts[i] on, time runs on evenly from _begin_ms[i], until the next stretch.
        self._starts = array("q")
        self._begin_ms = array("d")

    def begin_stretch(self, window: int, begin_ms: float) -> None:
        """From `window` on, which may be yet to come, time runs on from `begin_ms`."""
        if self._starts and self._starts[-1] == window:
            self._begin_ms[-1] = begin_ms
        else:
            self._starts.append(window)
            self._begin_ms.append(begin_ms)

    def move_back(self, by_ms: float) -> None:
        """The last stretch was so much earlier, and those before it end where their successors begin."""
        starts, times_ms = self._starts, self._begin_ms
        times_ms[-1] -= by_ms
        while len(times_ms) > 1:
            length_ms = (starts[-1] - starts[-2]) * WINDOW_MS
            if times_ms[-2] + length_ms < times_ms[-1]:
                break
            times_ms[-2] = times_ms[-1] - length_ms
            starts.pop()
            times_ms.pop()

    @property
    def loud_now(self) -> bool:
        """Whether the newest windows are audible."""
        return _is_run(self.levels[-RUN_WINDOWS:], GATE)

    def first_audible_ms(self, since_ms: float | None, gate: int) -> int | None:
        """When the first audible sound at or after `since_ms` begins; None where all is below the gate."""
        levels = self.levels
        for index in range(len(self._starts)):
            first, last, begin_ms = self._stretch(index)
            skip = 0 if since_ms is None else max(0, int((since_ms - begin_ms) // WINDOW_MS))
            for window in range(first + skip, last):
                if levels[window] >= gate and _is_run(levels[window : window + RUN_WINDOWS], gate):
                    found_ms = begin_ms + (window - first) * WINDOW_MS
                    return round(found_ms if since_ms is None else max(found_ms, since_ms))
        return None

    def last_audible_ms(self, until_ms: float | None, gate: int) -> int | None:
        """When the last audible sound at or before `until_ms` ends; None where all is below the gate."""
        levels = self.levels
        for index in reversed(range(len(self._starts))):
            first, last, begin_ms = self._stretch(index)
            take = last - first
            if until_ms is not None:
                take = min(take, ceil((until_ms - begin_ms) / WINDOW_MS))
            for window in range(first + take - 1, first - 1, -1):
                if levels[window] >= gate and _is_run(levels[max(0, window + 1 - RUN_WINDOWS) : window + 1], gate):
                    found_ms = begin_ms + (window + 1 - first) * WINDOW_MS
                    return round(found_ms if until_ms is None else min(found_ms, until_ms))
        return None

    def trim(self, before_ms: float) -> None:
        """Let go of what ended by `before_ms`; what stands in line behind it stays, whatever its time."""
        drop = 0
        for index in range(len(self._starts)):
            first, last, begin_ms = self._stretch(index)
            ended = min(last - first, int((before_ms - begin_ms) // WINDOW_MS))
            drop = first + max(0, ended)
            if drop < last:
                break
        self.drop_oldest(drop)

    def drop_oldest(self, drop: int) -> None:
        """Let go of so many windows; the stretch of the first that stays begins with it."""
        if drop <= 0:
            return
        index = bisect_right(self._starts, drop) - 1
        begin_ms = self._begin_ms[index] + (drop - self._starts[index]) * WINDOW_MS
        self._starts = array("q", [0, *(window - drop for window in self._starts[index + 1 :])])
        self._begin_ms = array("d", [begin_ms, *self._begin_ms[index + 1 :]])
        del self.levels[:drop]

    def begun_by(self, ms: float) -> int:
        """How many windows in line have begun by then."""
        begun = 0
        for index in range(len(self._starts)):
            first, last, begin_ms = self._stretch(index)
            begun = first + max(0, min(last - first, ceil((ms - begin_ms) / WINDOW_MS)))
            if begun < last:
                break
        return begun

    def keep_oldest(self, keep: int) -> None:
        """Take back all windows but so many, and the stretches that begin behind those."""
        del self.levels[keep:]
        stretches = bisect_right(self._starts, keep - 1)
        del self._starts[stretches:], self._begin_ms[stretches:]

    def _stretch(self, index: int) -> tuple[int, int, float]:
        """First window, window past the last, and begin in ms, of a stretch in which time runs evenly."""
        starts = self._starts
        last = starts[index + 1] if index + 1 < len(starts) else len(self.levels)
        return starts[index], last, self._begin_ms[index]


def _is_run(levels: array[int], gate: int) -> bool:
    return sum(map(gate.__le__, levels)) >= RUN_LOUD  # asked at every turn's begin and end: no frame for each level
