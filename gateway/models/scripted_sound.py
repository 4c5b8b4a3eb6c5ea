"""The scripted model's voice and ear: a sound that gates take for speech, and speech detection by energy."""

from __future__ import annotations

import audioop
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

import numpy as np

from audio.formats import AudioFormat, AudioFrame, Coding
from audio.g711 import encode, to_pcm16
from audio.resampling import Converter
from gateway.models.scripted_shape import Recording

VOICED = 0.8  # of a word's time; the rest is the gap to the next one
PITCH_HZ = 140
HIGHEST_HZ = 3400  # so that telephone formats carry all of it
PEAK = 9000  # about -16 dB of full scale at its loudest, some -24 on average

PIECE_MS = 10_000  # of a recording, converted at once

WINDOW_MS = 10
START_MS = 60  # of sound above the gate before it counts as speech


@lru_cache(maxsize=64)
def word(ms: int, format: AudioFormat) -> bytes:
    """One spoken-like word, the gap after it included: pulses at a voice's pitch, the same for every word."""
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
    """A recording in the format wanted. In pieces: one long conversion would hold up the threads of the calls."""
    converter, source = Converter(recording.format, format), recording.format
    step = source.bytes_for_ms(PIECE_MS)
    pieces = []
    for begin in range(0, len(recording.payload), step):
        frame = AudioFrame(recording.payload[begin : begin + step], source, begin // source.sample_bytes)
        pieces.append(converter.convert(frame).payload)
    return b"".join(pieces)


class Heard(Enum):
    """What the ear noticed."""

    STARTED = auto()
    STOPPED = auto()


@dataclass(frozen=True, slots=True)
class Notice:
    """When the caller started or stopped, in ms of all their sound. A stop's includes the silence that showed it."""

    what: Heard
    at_ms: int


class EnergyEar:
    """Finds speech by its loudness: 60 ms above a gate start it, a silence of the session's length ends it."""

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
        """Take over the session's times."""
        self._silence_ms = silence_ms
        self._prefix_ms = prefix_ms

    def reset(self) -> None:
        """Whatever was heard is over; time goes on."""
        self._loud_ms = self._quiet_ms = 0
        self._speech = False

    def feed(self, frame: AudioFrame) -> list[Notice]:
        """Listen on; what was noticed, in order."""
        pcm = to_pcm16(frame)
        if pcm.format != self._rest_format:
            self._rest, self._rest_format = b"", pcm.format
        # Windows follow the frames' own places, so that a change of format leaves the time right.
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
                self._loud_ms = 0  # speech has short gaps of its own
        if not self._speech and self._loud_ms >= START_MS:
            self._speech = True
            return Notice(Heard.STARTED, max(0, int(self._at_ms) - START_MS - self._prefix_ms))
        if self._speech and self._quiet_ms >= self._silence_ms:
            self.reset()
            return Notice(Heard.STOPPED, int(self._at_ms))
        return None
