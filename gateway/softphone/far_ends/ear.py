"""What a caller really hears of the sound that reaches a far end, and when. Pure; all times are in milliseconds.

A far end with a buffer plays the sound in the order in which it comes, at exactly the speed of its format, from the
first payload on. Sound that finds the buffer empty is played at once. A clear drops what has not been played.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

from audio.formats import AudioFormat
from audio.g711 import silence


@dataclass(slots=True)
class Played:
    """A run of sound without a gap, which begins to be played at `begin_ms`. It grows, and a clear shortens it."""

    begin_ms: float
    sound: bytearray


class Ear:
    """The buffer of one far end, its marks, and everything that was played from it."""

    def __init__(self, format: AudioFormat, max_held_ms: int | None = None) -> None:
        """`max_held_ms` is how much sound the buffer holds; sound that does not fit is dropped. None: any amount."""
        self.format = format
        self.runs: list[Played] = []
        self.dropped_bytes = 0  # did not fit
        self._max_held_ms = max_held_ms
        self._bytes_a_ms = format.rate_hz * format.sample_bytes / 1000
        self._until_ms = 0.0  # when everything that is held will have been played
        self._marks: deque[tuple[float, str]] = deque()  # in the order in which they are reached, with the time

    def sound(self, payload: bytes, now_ms: float) -> bool:
        """Sound has arrived. Returns False if it was dropped because the buffer is full."""
        if self._max_held_ms is not None and self.held_ms(now_ms) >= self._max_held_ms:
            self.dropped_bytes += len(payload)
            return False
        begin_ms = max(self._until_ms, now_ms)
        if not self.runs or begin_ms > self._until_ms:
            self.runs.append(Played(begin_ms, bytearray()))
        run = self.runs[-1]
        run.sound += payload
        self._until_ms = run.begin_ms + len(run.sound) / self._bytes_a_ms  # summed once, so that no error adds up
        return True

    def mark(self, name: str, now_ms: float) -> None:
        """A mark has arrived: it is reached when everything that came before it has been played."""
        self._marks.append((max(self._until_ms, now_ms), name))

    def reached(self, now_ms: float) -> list[str]:
        """The marks that have been reached since the last time, in order."""
        found = []
        while self._marks and self._marks[0][0] <= now_ms:
            found.append(self._marks.popleft()[1])
        return found

    @property
    def until_ms(self) -> float:
        """When everything that is held will have been played."""
        return self._until_ms

    @property
    def wake_ms(self) -> float | None:
        """When the next mark is reached; None if there is no mark."""
        return self._marks[0][0] if self._marks else None

    def clear(self, now_ms: float) -> list[str]:
        """Drop the sound that has not been played. Returns the marks that had not been reached; they are gone."""
        while self.runs and self.runs[-1].begin_ms >= now_ms:
            self.runs.pop()
        if self.runs and self._until_ms > now_ms:
            run = self.runs[-1]
            del run.sound[self._whole(now_ms - run.begin_ms) :]
        self._until_ms = min(self._until_ms, now_ms)
        marks = [name for _, name in self._marks]
        self._marks.clear()
        return marks

    def take_back(self, now_ms: float) -> list[bytes | str]:
        """Drop the sound that has not been played. Returns it with the marks that had not been reached, in order."""
        found: list[bytes | str] = []
        at_ms = now_ms
        for reached_ms, name in self._marks:
            found += [self.heard(reached_ms, at_ms), name]
            at_ms = max(at_ms, reached_ms)
        found.append(self.heard(self._until_ms, at_ms))
        self.clear(now_ms)
        return [part for part in found if part]

    def held_ms(self, now_ms: float) -> float:
        """How much sound has not been played yet."""
        return max(0.0, self._until_ms - now_ms)

    def heard_bytes(self, now_ms: float, since_ms: float = 0.0) -> int:
        """How much sound was played between two times."""
        return sum(len(part) for part in self._parts(since_ms, now_ms))

    def heard(self, now_ms: float, since_ms: float = 0.0) -> bytes:
        """The sound that was played between two times, without the pauses."""
        return b"".join(self._parts(since_ms, now_ms))

    def track(self, length_ms: int) -> bytes:
        """What was heard from time 0 on, with silence in the pauses."""
        track = bytearray(silence(self.format, length_ms * self.format.rate_hz // 1000))
        for run in self.runs:
            at = self._whole(run.begin_ms)
            part = run.sound[: max(0, len(track) - at)]
            track[at : at + len(part)] = part
        return bytes(track)

    def _parts(self, since_ms: float, until_ms: float) -> list[bytes]:
        """What was played of each run; runs that had ended before are not looked at."""
        first = len(self.runs)
        while first and self.runs[first - 1].begin_ms + len(self.runs[first - 1].sound) / self._bytes_a_ms > since_ms:
            first -= 1
        return [self._part(run, since_ms, until_ms) for run in self.runs[first:]]

    def _part(self, run: Played, since_ms: float, until_ms: float) -> bytes:
        begin, end = self._whole(since_ms - run.begin_ms), self._whole(until_ms - run.begin_ms)
        return bytes(run.sound[max(0, begin) : max(0, end)])

    def _whole(self, ms: float) -> int:
        """The bytes of the whole samples in a time."""
        return int(ms * self.format.rate_hz / 1000 + 1e-6) * self.format.sample_bytes


class LinkDelay:
    """One way of a network: a constant delay, and jitter that does not change the order of messages."""

    def __init__(self, delay_ms: float = 0.0, jitter_ms: float = 0.0, chance: random.Random | None = None) -> None:
        """Each message takes `delay_ms`, give or take up to `jitter_ms`; `chance` draws how much."""
        self._delay_ms = delay_ms
        self._jitter_ms = jitter_ms
        self._chance = chance or random.Random(0)
        self._last_ms = 0.0

    def arrival_ms(self, sent_ms: float) -> float:
        """When a message arrives that is sent now: after all that were sent before it."""
        delay_ms = self._delay_ms + self._chance.uniform(-self._jitter_ms, self._jitter_ms)
        self._last_ms = max(self._last_ms, sent_ms + max(0.0, delay_ms))
        return self._last_ms
