"""The scripted model's voice, a sound that energy gates take for speech, and its speech detection by energy."""

from __future__ import annotations

import audioop
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

import numpy as np

from audio.formats import AudioFormat, AudioFrame, Coding
from audio.g711 import encode, to_pcm16
from audio.resampling import Converter
from gateway.models.scripted.shape import Recording

# The part of a word's time that has sound; the rest is the gap before the next word.
VOICED = 0.8
PITCH_HZ = 140
# Telephone formats carry frequencies up to this one.
HIGHEST_HZ = 3400
# The loudest sample: about -11 dB of full scale.
PEAK = 9000

# How much of a recording is converted at once.
PIECE_MS = 10_000

WINDOW_MS = 10
# How long sound must be above the gate before it counts as speech.
START_MS = 60


@lru_cache(maxsize=64)
def word(ms: int, format: AudioFormat) -> bytes:
    """The sound of one placeholder word with the gap after it: pulses at a voice's pitch. All words sound the same."""
    samples = format.rate_hz * ms // 1000
    voiced = int(samples * VOICED)
    time_s = np.arange(voiced) / format.rate_hz
    sound = np.zeros(voiced)
    for harmonic in range(1, HIGHEST_HZ // PITCH_HZ + 1):
        hz = harmonic * PITCH_HZ
        formant = np.exp(-(((hz - 600) / 300) ** 2)) + 0.5 * np.exp(-(((hz - 1700) / 400) ** 2)) + 0.05
        sound += formant * np.cos(2 * np.pi * hz * time_s)
    sound *= np.sin(np.pi * np.arange(voiced) / max(voiced, 1)) ** 0.5
    loudest = float(np.max(np.abs(sound))) if voiced else 1.0
    pcm16 = np.zeros(samples, dtype="<i2")
    pcm16[:voiced] = np.round(sound * (PEAK / (loudest or 1.0)))
    payload = pcm16.tobytes()
    return payload if format.coding is Coding.PCM16 else encode(payload, format.coding)


@lru_cache(maxsize=96)
def recorded(recording: Recording, format: AudioFormat) -> bytes:
    """A recording's payload in this format.

    It is converted in pieces: one long conversion would hold the interpreter and delay the calls.
    """
    converter, source = Converter(recording.format, format), recording.format
    step = source.bytes_for_ms(PIECE_MS)
    pieces = []
    for begin in range(0, len(recording.payload), step):
        frame = AudioFrame(recording.payload[begin : begin + step], source, begin // source.sample_bytes)
        pieces.append(converter.convert(frame).payload)
    return b"".join(pieces)


class Heard(Enum):
    """What the speech detection has found."""

    STARTED = auto()
    STOPPED = auto()


@dataclass(frozen=True, slots=True)
class Notice:
    """The beginning or end of the caller's speech.

    `at_ms` counts all the caller's sound. The `at_ms` of an end includes the silence by which the end was detected.
    """

    what: Heard
    at_ms: int


class EnergyEar:
    """Detects speech by its energy: 60 ms above the gate begin it, and the session's silence time ends it."""

    def __init__(self, gate: int) -> None:
        self._gate = gate
        self._silence_ms = 500
        self._prefix_ms = 300
        self._rest = b""
        self._rest_format: AudioFormat | None = None
        self._at_ms = 0.0
        self._loud_ms = 0
        self._quiet_ms = 0
        self._speech = False

    def configure(self, silence_ms: int, prefix_ms: int) -> None:
        """Set the silence that ends speech, and how much sound before its beginning belongs to it."""
        self._silence_ms = silence_ms
        self._prefix_ms = prefix_ms

    def reset(self) -> None:
        """End the current speech, if any; the position stays."""
        self._loud_ms = self._quiet_ms = 0
        self._speech = False

    def feed(self, frame: AudioFrame) -> list[Notice]:
        """Listen to a frame; returns what was detected in it, in order."""
        pcm = to_pcm16(frame)
        if pcm.format != self._rest_format:
            self._rest, self._rest_format = b"", pcm.format
        # The position comes from the frame itself, so it stays right after a change of the format.
        rest_samples = len(self._rest) // 2
        self._at_ms = max(0.0, (pcm.start_sample - rest_samples) * 1000 / pcm.format.rate_hz)
        sound = self._rest + pcm.payload
        step = pcm.format.bytes_for_ms(WINDOW_MS)
        whole = len(sound) - len(sound) % step
        self._rest = sound[whole:]
        notices = []
        for begin in range(0, whole, step):
            self._at_ms += WINDOW_MS
            notice = self._window(audioop.rms(sound[begin : begin + step], 2) > self._gate)
            if notice is not None:
                notices.append(notice)
        return notices

    def _window(self, loud: bool) -> Notice | None:
        if loud:
            self._loud_ms += WINDOW_MS
            self._quiet_ms = 0
        else:
            self._quiet_ms += WINDOW_MS
            if self._quiet_ms > START_MS:
                self._loud_ms = 0  # shorter gaps belong to the speech
        if not self._speech and self._loud_ms >= START_MS:
            self._speech = True
            return Notice(Heard.STARTED, max(0, int(self._at_ms) - START_MS - self._prefix_ms))
        if self._speech and self._quiet_ms >= self._silence_ms:
            self.reset()
            return Notice(Heard.STOPPED, int(self._at_ms))
        return None
