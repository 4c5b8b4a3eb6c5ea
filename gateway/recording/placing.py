"""Computes where spooled sound belongs on the recording's timeline, from runs and spans; it reads no sound.

Positions and lengths are in samples at the recording's rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

from audio.formats import AudioFormat
from gateway.recording.tracks import LONGEST_MS, Stretch
from sessions.record import PlayedSpan

DEFAULT_RATE_HZ = 8000  # of a recording without sound
JOIN_MAX_MS = 80  # up to this, a gap between consecutive runs comes from clock drift, not from the caller
PULL_MAX_MS = 10_000  # how far a burst of late sound may be moved back in time


@dataclass(frozen=True, slots=True)
class Placement:
    """Sound with its position: consecutive byte ranges (offset, length) of a track's file, all in one format."""

    start_sample: int
    samples: int
    format: AudioFormat
    ranges: tuple[tuple[int, int], ...]

    @property
    def end_sample(self) -> int:
        """The position of the first sample after it."""
        return self.start_sample + self.samples


def common_rate_hz(stretches: Iterable[Stretch]) -> int:
    """The highest sample rate of all stretches."""
    return max((stretch.run.format.rate_hz for stretch in stretches), default=DEFAULT_RATE_HZ)


def place_caller(stretches: Sequence[Stretch], rate_hz: int) -> list[Placement]:
    """Place the caller's runs where they were spoken, without overlap.

    Only the time of arrival of a run is known. After a stall of the network, several runs arrive in one burst.
    Therefore, from the last run to the first, each run that would overlap the next one is moved back in time. Runs
    that a caller sends faster than real time are placed end to end.
    """
    lengths = [stretch.samples * rate_hz // stretch.run.format.rate_hz for stretch in stretches]
    arrivals = [stretch.run.at_ms * rate_hz // 1000 for stretch in stretches]
    wanted = list(arrivals)
    pull_max = PULL_MAX_MS * rate_hz // 1000
    for index in range(len(wanted) - 2, -1, -1):
        wanted[index] = max(min(wanted[index], wanted[index + 1] - lengths[index]), arrivals[index] - pull_max)
    placed: list[Placement] = []
    before: Stretch | None = None
    for stretch, samples, start in zip(stretches, lengths, wanted, strict=True):
        end = placed[-1].end_sample if placed else 0
        start = max(start, end)
        follows = before is not None and _follows(before, stretch)
        if follows and start - end <= JOIN_MAX_MS * rate_hz // 1000:
            _join(placed, stretch, rate_hz)
        else:
            ranges = ((stretch.run.offset_bytes, stretch.payload_bytes),)
            placed.append(Placement(start, samples, stretch.run.format, ranges))
        before = stretch
    return placed


def place_agent(stretches: Sequence[Stretch], played: Iterable[PlayedSpan], rate_hz: int) -> list[Placement]:
    """Place each item of the agent where it was heard, cut to the part that was heard; unheard items are left out."""
    items: dict[str | None, list[Stretch]] = {}
    for stretch in stretches:
        items.setdefault(stretch.run.item_id, []).append(stretch)
    placed: list[Placement] = []
    for span in played:
        if span.begin_ms > LONGEST_MS:
            continue
        start = max(0, span.begin_ms) * rate_hz // 1000
        for part in _merged(items.get(span.item_id, [])):
            format = part.format
            samples = min(part.samples, span.heard_ms * format.rate_hz // 1000 - part.start_sample)
            if samples > 0:
                at = start + part.start_sample * rate_hz // format.rate_hz
                ranges = _cut(part.ranges, samples * format.sample_bytes)
                placed.append(Placement(at, samples * rate_hz // format.rate_hz, format, ranges))
    return placed


def unrecorded_spans(agent: Sequence[Stretch], caller: Sequence[Stretch], recorded: Set[str]) -> list[PlayedSpan]:
    """Spans for items that no stored turn of a lost server has: from their arrival to the end of all known sound."""
    if not agent:
        return []
    last_ms = max(stretch.run.at_ms + stretch.run.format.ms_of(stretch.samples) for stretch in caller or agent)
    arrived: dict[str, int] = {}
    for stretch in agent:
        if stretch.run.item_id is not None and stretch.run.item_id not in recorded:
            arrived.setdefault(stretch.run.item_id, stretch.run.at_ms)
    return [PlayedSpan(item_id, at_ms, last_ms - at_ms) for item_id, at_ms in arrived.items() if at_ms < last_ms]


def _follows(before: Stretch, stretch: Stretch) -> bool:
    """Whether a run continues, sample for sample, the run before it in the file."""
    return (
        stretch.run.format == before.run.format
        and stretch.run.start_sample == before.run.start_sample + before.samples
        and stretch.run.offset_bytes == before.run.offset_bytes + before.payload_bytes
    )


def _join(placed: list[Placement], stretch: Stretch, rate_hz: int) -> None:
    """Extend the last placement by a run, so that the resampler gets one continuous stretch."""
    last = placed[-1]
    ((offset, length),) = last.ranges
    ranges = ((offset, length + stretch.payload_bytes),)
    samples = last.format.samples_in(length + stretch.payload_bytes) * rate_hz // last.format.rate_hz
    placed[-1] = replace(last, samples=samples, ranges=ranges)


def _merged(stretches: Iterable[Stretch]) -> list[Placement]:
    """An item's runs on the item's timeline, at their own rate; consecutive runs are merged."""
    merged: list[Placement] = []
    for stretch in sorted(stretches, key=lambda stretch: stretch.run.start_sample):
        run, samples = stretch.run, stretch.samples
        this = (run.offset_bytes, stretch.payload_bytes)
        last = merged[-1] if merged else None
        if last is not None and last.format == run.format and last.end_sample == run.start_sample:
            merged[-1] = replace(last, samples=last.samples + samples, ranges=(*last.ranges, this))
        else:
            merged.append(Placement(run.start_sample, samples, run.format, (this,)))
    return merged


def _cut(ranges: Iterable[tuple[int, int]], payload_bytes: int) -> tuple[tuple[int, int], ...]:
    kept: list[tuple[int, int]] = []
    for offset, length in ranges:
        if payload_bytes <= 0:
            break
        kept.append((offset, min(length, payload_bytes)))
        payload_bytes -= length
    return tuple(kept)
