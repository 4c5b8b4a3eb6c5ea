"""What the sound that a telephone has got shows: gaps, order, repeats, and when there was speech."""

from __future__ import annotations

import audioop
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from peers.asterisk.rtp import Packet

LOUD = 600  # the highest sample of a frame with speech is above this
PAUSE_S = 0.4  # without a loud frame: between two stretches of speech
DECODERS: dict[int, Callable[[bytes, int], bytes]] = {0: audioop.ulaw2lin, 8: audioop.alaw2lin}


@dataclass(frozen=True, slots=True)
class Report:
    """Measures of one call's sound. Gaps are between arrivals, in milliseconds; times are of the monotonic clock."""

    packets: int
    payload_bytes: tuple[int, ...]
    gap_p50_ms: float
    gap_p99_ms: float
    gap_max_ms: float
    missing: int  # packets out of sequence
    repeated: int  # loud frames that are the same as the one before
    loud: int
    loud_first_s: float | None
    loud_last_s: float | None
    last_s: float | None


def pcm(packet: Packet) -> bytes:
    """A packet's sound as 16-bit samples."""
    return DECODERS[packet.payload_type](packet.payload, 2)


def is_loud(packet: Packet) -> bool:
    """Whether there is speech in it, or a tone."""
    return audioop.max(pcm(packet), 2) > LOUD


def measure(packets: Sequence[Packet]) -> Report:
    """Measure what has arrived, in the order of arrival."""
    gaps = sorted((after.at_s - before.at_s) * 1000 for before, after in pairwise(packets))
    loud = [packet for packet in packets if is_loud(packet)]
    return Report(
        packets=len(packets),
        payload_bytes=tuple(sorted({len(packet.payload) for packet in packets})),
        gap_p50_ms=_share(gaps, 0.5),
        gap_p99_ms=_share(gaps, 0.99),
        gap_max_ms=gaps[-1] if gaps else 0.0,
        missing=sum((after.sequence - before.sequence) & 0xFFFF != 1 for before, after in pairwise(packets)),
        repeated=sum(before.payload == after.payload and is_loud(after) for before, after in pairwise(packets)),
        loud=len(loud),
        loud_first_s=loud[0].at_s if loud else None,
        loud_last_s=loud[-1].at_s if loud else None,
        last_s=packets[-1].at_s if packets else None,
    )


def inside_speech(packets: Sequence[Packet]) -> list[list[Packet]]:
    """The packets of each stretch of speech: from a loud one to the last before 400 ms without another."""
    stretches: list[list[Packet]] = []
    quiet: list[Packet] = []  # since the last loud one
    loud_s: float | None = None
    for packet in packets:
        if not is_loud(packet):
            quiet.append(packet)
            continue
        if loud_s is None or packet.at_s - loud_s > PAUSE_S:
            stretches.append([packet])
        else:
            stretches[-1] += [*quiet, packet]
        loud_s, quiet = packet.at_s, []
    return stretches


def _share(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
