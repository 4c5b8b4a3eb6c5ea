"""What the caller will say in each turn and when, read from the command line, as 24 kHz sound."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio.formats import PCM16_24K, AudioFormat, AudioFrame, Coding
from audio.g711 import decode
from audio.mono import to_mono
from audio.resampling import resample_in_place
from audio.wav import WavError, read_sound

TEXT_PREFIX = "text:"
MAX_TURN_S = 600
# More digits would name no turn and no moment of a call.
_BARGE_IN = re.compile(r"([0-9]{1,4}):([0-9]{1,8})")


class PlanError(ValueError):
    """A turn that cannot be played; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """One turn of the caller. `pcm` is 24 kHz PCM16, mono.

    `remark` says which part of the recording is used, where that is not all of one channel; it names the file. The turn
    starts when the agent has finished or, with `barge_in_ms`, that long after the agent became audible.
    """

    label: str
    pcm: bytes
    barge_in_ms: int | None
    remark: str

    @property
    def duration_ms(self) -> int:
        """The length of its sound."""
        return PCM16_24K.ms_of(len(self.pcm) // 2)


def read_plan(
    turns: Sequence[str], texts: Sequence[str], barge_ins: Sequence[str], speak: Callable[[str], bytes]
) -> tuple[SpokenTurn, ...]:
    """The turns in order: each is a recording's path or `text:WORDS`; those given as `texts` come last.

    `barge_ins` are `TURN:MS`, with turns counted from 1. `speak` turns words into 24 kHz PCM16. Raises PlanError.
    """
    wanted = [*turns, *(TEXT_PREFIX + text for text in texts)]
    if not wanted:
        raise PlanError("nothing to say: name a recording (a WAV file), or give --text")
    moments: dict[int, int] = {}
    for entry in barge_ins:
        number, moment_ms = _read_barge_in(entry, len(wanted))
        if moments.setdefault(number, moment_ms) != moment_ms:
            raise PlanError(
                f"--barge-in {entry}: turn {number} already has another moment, {moments[number]}; give one"
            )
    return tuple(_read_turn(entry, moments.get(number), speak) for number, entry in enumerate(wanted, start=1))


def _read_barge_in(entry: str, turns: int) -> tuple[int, int]:
    found = _BARGE_IN.fullmatch(entry)
    if found is None or not 1 <= int(found[1]) <= turns:
        raise PlanError(f"--barge-in {entry}: write TURN:MS, such as 2:1200, with a turn from 2 to {turns}")
    if int(found[1]) == 1:
        raise PlanError(f"--barge-in {entry}: the first turn interrupts no answer; write a turn from 2 to {turns}")
    return int(found[1]), int(found[2])


def _read_turn(entry: str, barge_in_ms: int | None, speak: Callable[[str], bytes]) -> SpokenTurn:
    if entry.startswith(TEXT_PREFIX):
        words = entry.removeprefix(TEXT_PREFIX).strip()
        if not words:
            raise PlanError("a text turn has no words")
        return SpokenTurn(f"“{words}”", speak(words), barge_in_ms, "")
    path = Path(entry)
    try:
        sound = read_sound(path)
        mono = to_mono(sound.format, sound.channels)
    except OSError as error:
        raise PlanError(f"{entry}: {error.strerror or error}") from error
    except WavError as error:
        raise PlanError(str(error)) from error
    if not mono.payload:
        raise PlanError(f"{entry}: the recording is empty; record it again")
    if mono.format.samples_in(len(mono.payload)) > MAX_TURN_S * mono.format.rate_hz:
        raise PlanError(f"{entry}: longer than {MAX_TURN_S} s, the limit of a turn")
    try:
        pcm = to_24k(mono.payload, mono.format)
    except ValueError as error:
        raise PlanError(f"{entry}: {error}; save it with 24000 samples per second") from error
    remarks = [f"{entry}: {remark}" for remark in (sound.remark, mono.remark) if remark]
    return SpokenTurn(path.name, pcm, barge_in_ms, "\n".join(remarks))


def to_24k(payload: bytes, format: AudioFormat) -> bytes:
    """Convert mono sound to 24 kHz PCM16. Raises ValueError for a rate without a small ratio to 24 kHz."""
    pcm = payload if format.coding is Coding.PCM16 else decode(payload, format.coding)
    if format.rate_hz == PCM16_24K.rate_hz:
        return pcm
    return b"".join(resample_in_place([pcm], format.rate_hz, PCM16_24K.rate_hz))


def frames_of(pcm: bytes, frame_ms: int) -> list[AudioFrame]:
    """Split the sound into frames; the last one is padded with silence."""
    size = PCM16_24K.bytes_for_ms(frame_ms)
    padded = pcm + bytes(-len(pcm) % size)
    return [AudioFrame(padded[start : start + size], PCM16_24K, start // 2) for start in range(0, len(padded), size)]
