"""One channel out of several: the one that has sound, or a mix of those that have."""

from __future__ import annotations

import audioop
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

from audio.formats import AudioFormat, AudioFrame, Coding
from audio.g711 import to_pcm16

WINDOW_MS = 50
SILENT = 8  # root mean square of 16-bit samples in the loudest window: 72 dB below full scale
FAINTER = 20  # times: what is 26 dB below the loudest channel is noise or crosstalk
AGAINST = -0.5  # correlation below which a channel runs against another, as where a cable is wired the wrong way round
LOST = 2  # times fainter than one channel alone would make it: there the mix has cancelled its own sound out
MOST_LOST = 0.05  # of the windows with sound


@dataclass(frozen=True, slots=True)
class Mono:
    """The one channel. `remark` says how it came about, or that it is silent; empty where there is nothing to say."""

    format: AudioFormat
    payload: bytes
    remark: str


def to_mono(format: AudioFormat, channels: Sequence[bytes]) -> Mono:
    """One channel of one or more of equal length. What needs no mixing stays in its format, a mix is PCM16."""
    pcm = [to_pcm16(AudioFrame(channel, format, 0)).payload for channel in channels]
    windows = [_windows(channel, format.rate_hz) for channel in pcm]
    loudest = [max(levels, default=0) for levels in windows]
    top = max(loudest)
    first = loudest.index(top)
    if not channels[0] or top < SILENT:
        return Mono(format, channels[0], "is silent" if channels[0] else "")
    if len(channels) == 1:
        return Mono(format, channels[0], "")
    heard = [number for number, level in enumerate(loudest) if level * FAINTER >= top and level >= SILENT]
    if len(heard) == 1:
        told = f"has sound on channel {_name(first, len(channels))} only, which is used"
        return Mono(format, channels[first], told)
    mix, turned = _mix([pcm[number] for number in heard], heard.index(first))
    if _cancels(mix, [windows[number] for number in heard], format.rate_hz):
        told = f"has channels that cancel each other out, so the loudest alone is used, {_name(first, len(channels))}"
        return Mono(format, channels[first], told)
    told = f"has sound on {len(heard)} of {len(channels)} channels, which are mixed"
    if turned:
        told += f"; {turned} of them ran against the loudest and {'is' if turned == 1 else 'are'} turned over"
    return Mono(AudioFormat(Coding.PCM16, format.rate_hz), mix, told)


def _name(channel: int, channels: int) -> str:
    side = f" ({('left', 'right')[channel]})" if channels == 2 else ""
    return f"{channel + 1} of {channels}{side}"


def _windows(pcm: bytes, rate_hz: int) -> list[int]:
    """The level of each window without the constant part, which is no sound."""
    step = max(2, rate_hz * WINDOW_MS // 1000 * 2)
    return [_level(pcm[begin : begin + step]) for begin in range(0, len(pcm), step)]


def _level(pcm: bytes) -> int:
    return isqrt(max(0, audioop.rms(pcm, 2) ** 2 - audioop.avg(pcm, 2) ** 2))


def _mix(channels: Sequence[bytes], loudest: int) -> tuple[bytes, int]:
    """The mean of the channels, and how many of them were turned over to agree with the loudest."""
    mix, turned = bytes(len(channels[0])), 0
    for channel in channels:
        share = 1 / len(channels)
        if _correlation(channels[loudest], channel) < AGAINST:
            share, turned = -share, turned + 1
        mix = audioop.add(mix, audioop.mul(channel, 2, share), 2)
    return mix, turned


def _correlation(one: bytes, other: bytes) -> float:
    """From -1 to 1: how much one channel goes as the other does."""
    own, others = audioop.rms(one, 2), audioop.rms(other, 2)
    return float(audioop.findfactor(one, other)) * others / own if own and others else 0.0


def _cancels(mix: bytes, windows: Sequence[Sequence[int]], rate_hz: int) -> bool:
    """Whether sound that the channels have is missing in their mix."""
    lost = heard = 0
    for mixed, *levels in zip(_windows(mix, rate_hz), *windows, strict=True):
        loudest = max(levels)
        if loudest >= SILENT * len(levels) * LOST:
            heard += 1
            lost += mixed * len(levels) * LOST < loudest
    return lost > heard * MOST_LOST
