"""The levels of one side of a call, one for each 5 ms, with their times: finds where audible sound begins and ends."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from math import ceil

WINDOW_MS = 5
# A root mean square of 16-bit samples, 45 dB below full scale. Telephone networks keep speech near -26 dB (ITU-T
# G.100), and P.56 counts as speech what is less than 15.9 dB below that level: -42 dB. A quiet line (G.712) and comfort
# noise are at -60 dB or below. So the gate is 3 dB below speech and 15 dB above noise.
GATE = 184
# Sound is audible where 3 of 4 neighbouring windows are above the gate, which takes at least 10 ms: a click of up to
# 5 ms touches two windows at most. The release of a final "t" may be missed; that makes a latency longer, never
# shorter.
RUN_WINDOWS = 4
RUN_LOUD = 3


class LevelHistory:
    """Levels by window. The windows form stretches: within one, time is continuous; each has its own start time."""

    __slots__ = ("_begin_ms", "_starts", "levels")

    def __init__(self) -> None:
        self.levels = array("H")
        # Stretch i starts with window _starts[i], at the time _begin_ms[i], and lasts until the next stretch.
        self._starts = array("q")
        self._begin_ms = array("d")

    def begin_stretch(self, window: int, begin_ms: float) -> None:
        """Start a stretch at `window`, which may not exist yet, at the time `begin_ms`."""
        if self._starts and self._starts[-1] == window:
            self._begin_ms[-1] = begin_ms
        else:
            self._starts.append(window)
            self._begin_ms.append(begin_ms)

    def move_back(self, by_ms: float) -> None:
        """Move the last stretch back by `by_ms`; earlier stretches that would overlap it move back or join it."""
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
        """When the first audible sound at or after `since_ms` begins; None if everything is below the gate."""
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
        """When the last audible sound at or before `until_ms` ends; None if everything is below the gate."""
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
        """Drop windows that ended by `before_ms`, up to the first that did not; all after that one stay."""
        drop = 0
        for index in range(len(self._starts)):
            first, last, begin_ms = self._stretch(index)
            ended = min(last - first, int((before_ms - begin_ms) // WINDOW_MS))
            drop = first + max(0, ended)
            if drop < last:
                break
        self.drop_oldest(drop)

    def drop_oldest(self, drop: int) -> None:
        """Drop the `drop` oldest windows; the first stretch then starts with the oldest window that is left."""
        if drop <= 0:
            return
        index = bisect_right(self._starts, drop) - 1
        begin_ms = self._begin_ms[index] + (drop - self._starts[index]) * WINDOW_MS
        self._starts = array("q", [0, *(window - drop for window in self._starts[index + 1 :])])
        self._begin_ms = array("d", [begin_ms, *self._begin_ms[index + 1 :]])
        del self.levels[:drop]

    def begun_by(self, ms: float) -> int:
        """The number of windows, in order, that begin before `ms`."""
        begun = 0
        for index in range(len(self._starts)):
            first, last, begin_ms = self._stretch(index)
            begun = first + max(0, min(last - first, ceil((ms - begin_ms) / WINDOW_MS)))
            if begun < last:
                break
        return begun

    def keep_oldest(self, keep: int) -> None:
        """Keep the `keep` oldest windows; remove the others and the stretches that start after them."""
        del self.levels[keep:]
        stretches = bisect_right(self._starts, keep - 1)
        del self._starts[stretches:], self._begin_ms[stretches:]

    def _stretch(self, index: int) -> tuple[int, int, float]:
        """A stretch's first window, the window after its last, and its start time in ms."""
        starts = self._starts
        last = starts[index + 1] if index + 1 < len(starts) else len(self.levels)
        return starts[index], last, self._begin_ms[index]


def _is_run(levels: array[int], gate: int) -> bool:
    # This runs at the start and end of every turn; `map` avoids a Python call for each level.
    return sum(map(gate.__le__, levels)) >= RUN_LOUD
