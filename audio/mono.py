"""Makes one channel of several: the only one that has sound, or a mix of all that have."""

from __future__ import annotations

import audioop
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

from audio.formats import AudioFormat, AudioFrame, Coding
from audio.g711 import to_pcm16

WINDOW_MS = 50
# A channel is silent if the root mean square of its loudest window is below this: 72 dB below full scale.
SILENT = 8
# A channel that is this many times (26 dB) weaker than the loudest one holds noise or crosstalk.
WEAKER = 20
# A correlation below this means that a channel is inverted, for example by a cable that is wired the wrong way round.
INVERTED = -0.5
# A window of the mix is cancelled if it is more than this many times weaker than one channel alone would make it.
CANCELLED = 2
MAX_CANCELLED = 0.05  # of the windows with sound


@dataclass(frozen=True, slots=True)
class Mono:
    """The one channel. `remark` says how it was made or that it is silent; it is empty for a normal mono file."""

    format: AudioFormat
    payload: bytes
    remark: str


def to_mono(format: AudioFormat, channels: Sequence[bytes]) -> Mono:
    """Make one channel of one or more of equal length. A mix is PCM16; a single channel keeps its format."""
    pcm = [to_pcm16(AudioFrame(channel, format, 0)).payload for channel in channels]
    windows = [_windows(channel, format.rate_hz) for channel in pcm]
    loudest = [max(levels, default=0) for levels in windows]
    top = max(loudest)
    first = loudest.index(top)
    if not channels[0] or top < SILENT:
        return Mono(format, channels[0], "is silent" if channels[0] else "")
    if len(channels) == 1:
        return Mono(format, channels[0], "")
    heard = [number for number, level in enumerate(loudest) if level * WEAKER >= top and level >= SILENT]
    if len(heard) == 1:
        remark = f"has sound only on channel {_name(first, len(channels))}; that channel is used"
        return Mono(format, channels[first], remark)
    mix, inverted = _mix([pcm[number] for number in heard], heard.index(first))
    if _cancels(mix, [windows[number] for number in heard], format.rate_hz):
        remark = f"has channels that cancel each other; only the loudest is used, channel {_name(first, len(channels))}"
        return Mono(format, channels[first], remark)
    remark = f"has sound on {len(heard)} of {len(channels)} channels; they are mixed"
    if inverted:
        is_or_are = "is" if inverted == 1 else "are"
        remark += f", and {inverted} of them {is_or_are} inverted first, to match the loudest"
    return Mono(AudioFormat(Coding.PCM16, format.rate_hz), mix, remark)


def _name(channel: int, channels: int) -> str:
    side = f" ({('left', 'right')[channel]})" if channels == 2 else ""
    return f"{channel + 1} of {channels}{side}"


def _windows(pcm: bytes, rate_hz: int) -> list[int]:
    """The level of each window without its constant (DC) part, which is not audible."""
    step = max(2, rate_hz * WINDOW_MS // 1000 * 2)
    return [_level(pcm[begin : begin + step]) for begin in range(0, len(pcm), step)]


def _level(pcm: bytes) -> int:
    return isqrt(max(0, audioop.rms(pcm, 2) ** 2 - audioop.avg(pcm, 2) ** 2))


def _mix(channels: Sequence[bytes], loudest: int) -> tuple[bytes, int]:
    """The mean of the channels, and how many of them were inverted to match the loudest."""
    mix, inverted = bytes(len(channels[0])), 0
    for channel in channels:
        share = 1 / len(channels)
        if _correlation(channels[loudest], channel) < INVERTED:
            share, inverted = -share, inverted + 1
        mix = audioop.add(mix, audioop.mul(channel, 2, share), 2)
    return mix, inverted


def _correlation(one: bytes, other: bytes) -> float:
    """The correlation of two channels, from -1 to 1."""
    one_rms, other_rms = audioop.rms(one, 2), audioop.rms(other, 2)
    return float(audioop.findfactor(one, other)) * other_rms / one_rms if one_rms and other_rms else 0.0


def _cancels(mix: bytes, windows: Sequence[Sequence[int]], rate_hz: int) -> bool:
    """Whether the mix lacks sound that the channels have."""
    cancelled = audible = 0
    for mixed, *levels in zip(_windows(mix, rate_hz), *windows, strict=True):
        loudest = max(levels)
        if loudest >= SILENT * len(levels) * CANCELLED:
            audible += 1
            cancelled += mixed * len(levels) * CANCELLED < loudest
    return cancelled > audible * MAX_CANCELLED
