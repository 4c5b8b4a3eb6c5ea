"""Mixes the stereo recording of a call, caller left and agent right, from spans of sound that was heard."""

from __future__ import annotations

import audioop
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from audio.formats import AudioFormat, Coding
from audio.g711 import check_whole_samples
from audio.wav import interleave

BLOCK_MS = 200


class Pcm16Reader(Protocol):
    """A source of sound that is read forward from its start."""

    def read(self, samples: int) -> bytes:
        """Return the next `samples` samples as PCM16; fewer only at the end, and none after that."""
        ...


class RunReader:
    """Reads PCM16 from an iterable of byte strings, such as `resample_in_place` gives; holds one at a time."""

    def __init__(self, runs: Iterable[bytes]) -> None:
        self._runs = iter(runs)
        self._carry = b""

    def read(self, samples: int) -> bytes:
        """Return the next `samples` samples; fewer only at the end, and none after that."""
        wanted = samples * 2
        pieces = [self._carry]
        held = len(self._carry)
        while held < wanted and (run := next(self._runs, None)) is not None:
            pieces.append(run)
            held += len(run)
        joined = b"".join(pieces)
        self._carry = joined[wanted:]
        return joined[:wanted]


@dataclass(frozen=True, slots=True)
class Placed:
    """A span of `samples` samples; the first is at `start_sample` of the timeline that both channels share."""

    reader: Pcm16Reader
    start_sample: int
    samples: int


def mix_stereo(caller: list[Placed], agent: list[Placed], rate_hz: int) -> Iterator[bytes]:
    """Yield blocks of interleaved PCM16 at `rate_hz`, from sample 0 to the end of the last span.

    Gaps are silent. Overlapping spans of one channel are added and clipped. A reader that ends early leaves silence.
    All readers must give `rate_hz`. Holds one block of `BLOCK_MS` at a time and reads each reader only forward.
    Raises ValueError for a negative start or length, or for a reader that gives half a sample.
    """
    for placed in (*caller, *agent):
        if placed.start_sample < 0 or placed.samples < 0:
            raise ValueError(f"cannot place {placed.samples} samples at {placed.start_sample}")
    end = max((placed.start_sample + placed.samples for placed in (*caller, *agent)), default=0)
    format = AudioFormat(Coding.PCM16, rate_hz)
    left, right = _Channel(caller), _Channel(agent)
    block = max(1, rate_hz * BLOCK_MS // 1000)
    for start in range(0, end, block):
        samples = min(block, end - start)
        yield interleave(format, left.read(start, samples), right.read(start, samples))


class _Channel:
    """One side of the call, read block by block."""

    def __init__(self, spans: list[Placed]) -> None:
        self._later = sorted(spans, key=lambda placed: placed.start_sample, reverse=True)
        self._sounding: list[Placed] = []

    def read(self, start: int, samples: int) -> bytes:
        end = start + samples
        while self._later and self._later[-1].start_sample < end:
            self._sounding.append(self._later.pop())
        mixed = bytearray(samples * 2)
        for placed in self._sounding:
            begin = max(start, placed.start_sample)
            wanted = min(end, placed.start_sample + placed.samples) - begin
            sound = placed.reader.read(wanted)[: wanted * 2]
            check_whole_samples(sound)
            place = slice((begin - start) * 2, (begin - start) * 2 + len(sound))
            mixed[place] = audioop.add(mixed[place], sound, 2)
        self._sounding = [placed for placed in self._sounding if placed.start_sample + placed.samples > end]
        return bytes(mixed)
