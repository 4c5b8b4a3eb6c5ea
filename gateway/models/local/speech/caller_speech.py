"""Finds and recognises speech in one stream of the caller's sound, in any of the protocol's formats.

The recogniser's model was trained on sound at 16 kHz. Telephone sound that a proper filter brings up to that rate has
nothing above 4 kHz, which the model has never seen: it then recognised 55 of 100 sentences. With each sample simply
repeated, mirror images fill the band where a voice has its hiss, and it recognised 83.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from audio.formats import PCM16_16K, PCM16_24K, AudioFormat, AudioFrame, Coding
from audio.g711 import decode
from audio.resampling import Resampler
from gateway.models.local.speech.detector import (
    RATE_HZ,
    WINDOW_BYTES,
    WINDOW_SAMPLES,
    Edge,
    Sensitivity,
    SpeechDetector,
    SpeechModel,
)
from gateway.models.local.speech.recogniser import Recogniser
from sessions.ports import JsonObject

KEPT_WINDOWS = 40  # 1.3 s of sound before speech is detected, for the prefix padding
MOST_LATE_MS = 1000  # of speech that may wait for a decoder before further sound is held back
# Narrow-band sound has at most this share of its level above 4.4 kHz: -54 dB. A microphone's noise alone is above that.
NARROW_SHARE = 0.002

# Noise at -74 dB of full scale, from a fixed seed, so that the same sound always gives the same result.
_FLOOR = np.rint(np.random.default_rng(1).normal(0, 6, 4 * WINDOW_SAMPLES)).astype(np.int32)


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak. `at_ms` is a position in all sound of the stream."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The caller stopped speaking. `speech_ms` is the length of the speech without padding and trailing silence."""

    at_ms: int
    speech_ms: int


SpeechEvent: TypeAlias = SpeechStarted | SpeechEnded


class CallerSpeech:
    """Detects speech in the caller's sound, and feeds it to the recogniser."""

    def __init__(self, model: SpeechModel, recogniser: Recogniser | None) -> None:
        """`recogniser` None: the speech is collected in `spoken` for an endpoint."""
        self._detector = SpeechDetector(model)
        self.recogniser = recogniser
        self._sensitivity = Sensitivity()
        self._format = PCM16_24K
        self._resampler: Resampler | None = Resampler(PCM16_24K.rate_hz, RATE_HZ)
        self._rest = b""
        self._samples = 0  # processed so far, at 16 kHz, in whole windows
        self._recent: deque[bytes] = deque(maxlen=KEPT_WINDOWS)
        self._narrow = False
        self._began = 0
        self.spoken = bytearray()  # the present speech as PCM16 at 16 kHz, for an endpoint

    def configure(self, format: AudioFormat, turn_detection: JsonObject | None) -> None:
        """Take over the session's input format and turn detection."""
        self._sensitivity = Sensitivity.of(turn_detection)
        self._detector.tune(self._sensitivity)
        if format != self._format:
            self._format = format
            self._rest = b""
            self._resampler = None if format.rate_hz in (8000, RATE_HZ) else Resampler(format.rate_hz, RATE_HZ)

    def feed(self, frame: AudioFrame, state: str) -> list[SpeechEvent]:
        """Process a frame. `state` names the grammar to be used if speech begins in it."""
        pcm16 = self._rest + self._at_16k(frame)
        whole = len(pcm16) - len(pcm16) % WINDOW_BYTES
        self._rest = pcm16[whole:]
        events: list[SpeechEvent] = []
        for at in range(0, whole, WINDOW_BYTES):
            event = self._window(pcm16[at : at + WINDOW_BYTES], state)
            if event is not None:
                events.append(event)
        return events

    @property
    def decoder_behind(self) -> bool:
        """Whether the recogniser is so late that further sound should be held back, if the sound can wait."""
        recogniser = self.recogniser
        if recogniser is None or not recogniser.busy:
            return False
        return not self._detector.speaking or recogniser.waiting_ms > MOST_LATE_MS

    def decode_waiting(self) -> None:
        """Let the recogniser decode sound that waits; takes a few ms at most."""
        if self.recogniser is not None:
            self.recogniser.work()

    def skip(self, samples: int, format: AudioFormat) -> None:
        """Advance the time by sound that is not processed. The caller must call `forget` afterwards."""
        passed = len(self._rest) // 2 + samples * RATE_HZ // format.rate_hz
        self._rest = bytes(2 * (passed % WINDOW_SAMPLES))
        self._samples += passed - passed % WINDOW_SAMPLES
        self._detector.skip(passed - passed % WINDOW_SAMPLES)
        self._recent.clear()

    def end_speech(self) -> SpeechEnded | None:
        """End the present speech, because the client committed it; None: the caller was not speaking."""
        if not self._detector.speaking:
            return None
        self._detector.forget()
        return SpeechEnded(self._samples * 1000 // RATE_HZ, (self._samples - self._began) * 1000 // RATE_HZ)

    def forget(self) -> None:
        """Discard the present speech."""
        self._detector.forget()
        self.spoken.clear()
        if self.recogniser is not None:
            self.recogniser.drop()

    def _window(self, window: bytes, state: str) -> SpeechEvent | None:
        self._samples += WINDOW_SAMPLES
        self._recent.append(window)
        found = self._detector.window(window)
        if found is None:
            if self._detector.speaking:
                self._listen(window)
            return None
        if found.edge is Edge.STOPPED:
            silence_samples = self._sensitivity.silence_ms * RATE_HZ // 1000
            speech_samples = max(0, found.at_sample - silence_samples - self._began)
            return SpeechEnded(found.at_sample * 1000 // RATE_HZ, speech_samples * 1000 // RATE_HZ)
        self._begin(found.at_sample, state)
        return SpeechStarted(found.at_sample * 1000 // RATE_HZ)

    def _begin(self, at_sample: int, state: str) -> None:
        windows = min(len(self._recent), -(-(self._samples - at_sample) // WINDOW_SAMPLES))
        lead = b"".join(list(self._recent)[len(self._recent) - windows :])
        self._narrow = self._format.rate_hz == 8000 or is_narrow(lead)
        self._began = self._detector.rise
        self.spoken.clear()
        if self.recogniser is not None:
            self.recogniser.start(state)
        self._listen(lead)

    def _listen(self, pcm16: bytes) -> None:
        if self.recogniser is None:
            self.spoken += pcm16
            return
        self.recogniser.feed(with_floor(widened(pcm16) if self._narrow else pcm16))

    def _at_16k(self, frame: AudioFrame) -> bytes:
        payload = frame.payload
        if frame.format.coding is not Coding.PCM16:
            payload = decode(payload, frame.format.coding)
        if frame.format.rate_hz == 8000:
            return np.repeat(np.frombuffer(payload, dtype="<i2"), 2).tobytes()
        if self._resampler is None or frame.format == PCM16_16K:
            return payload
        return self._resampler.feed(payload)


def is_narrow(pcm16: bytes) -> bool:
    """Whether PCM16 at 16 kHz has nothing above 4 kHz, like telephone sound that was resampled to 16 kHz."""
    samples = np.frombuffer(pcm16, dtype="<i2").astype(np.float64)
    whole = len(samples) - len(samples) % WINDOW_SAMPLES
    if not whole:
        return False
    windows = samples[:whole].reshape(-1, WINDOW_SAMPLES) * np.hanning(WINDOW_SAMPLES)
    power = (np.abs(np.fft.rfft(windows, axis=1)) ** 2).sum(axis=0)
    high = power[WINDOW_SAMPLES * 4400 // RATE_HZ :].sum()
    return bool(power.sum() > 0 and high <= power.sum() * NARROW_SHARE**2)


def with_floor(pcm16: bytes) -> bytes:
    """Add the noise of a quiet room, which is always the same: perfect silence distorts the recogniser's logarithms."""
    samples = np.frombuffer(pcm16, dtype="<i2")
    noise = np.resize(_FLOOR, len(samples))
    return np.clip(samples + noise, -32768, 32767).astype("<i2").tobytes()


def widened(pcm16: bytes) -> bytes:
    """Narrow-band sound with mirror images above 4 kHz: every second sample, each repeated."""
    return np.repeat(np.frombuffer(pcm16, dtype="<i2")[::2], 2).tobytes()
