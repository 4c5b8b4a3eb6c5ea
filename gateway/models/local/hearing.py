"""One call's ears: caller's sound in any of the protocol's formats in, speech found and recognised out.

The recogniser's model was trained on 16 kHz. Telephone sound brought up to that rate by a proper filter has nothing
above 4 kHz, which the model has never met: of 100 sentences it then got 55 right. With each sample simply repeated, the
mirror images stand where a voice's hiss would be, and it got 83.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from audio.formats import PCM16_16K, PCM16_24K, AudioFormat, AudioFrame, Coding
from audio.g711 import decode
from audio.resampling import Resampler
from gateway.models.local.detector import (
    RATE_HZ,
    WINDOW_BYTES,
    WINDOW_SAMPLES,
    Edge,
    Sensitivity,
    SpeechDetector,
    SpeechModel,
)
from gateway.models.local.recogniser import Recogniser
from sessions.ports import JsonObject

KEPT_WINDOWS = 40  # 1.3 s before speech is known to be speech: what padding may reach back to
MOST_LATE_MS = 1000  # of speech that waits for a decoder
NARROW_SHARE = 0.002  # of a voice's level above 4.2 kHz: -54 dB; a microphone's own noise is above that

# -74 dB of full scale, from a fixed seed, so that the same sound is always heard the same.
_FLOOR = np.rint(np.random.default_rng(1).normal(0, 6, 4 * WINDOW_SAMPLES)).astype(np.int32)


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """The caller speaks, from `at_ms` of all sound so far."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechOver:
    """The caller has been silent for long enough; `speech_ms` is how long they spoke, padding and silence aside."""

    at_ms: int
    speech_ms: int


HeardEvent: TypeAlias = SpeechBegan | SpeechOver


class Hearing:
    """Follows the caller's sound, and has the recogniser listen while there is speech in it."""

    def __init__(self, model: SpeechModel, recogniser: Recogniser | None) -> None:
        """`recogniser` None: another recogniser takes the sound, from `spoken`."""
        self._detector = SpeechDetector(model)
        self.recogniser = recogniser
        self._sensitivity = Sensitivity()
        self._format = PCM16_24K
        self._resampler: Resampler | None = Resampler(PCM16_24K.rate_hz, RATE_HZ)
        self._rest = b""
        self._samples = 0  # at 16 kHz, in whole windows
        self._recent: deque[bytes] = deque(maxlen=KEPT_WINDOWS)
        self._narrow = False
        self._began = 0
        self.spoken = bytearray()  # PCM16 at 16 kHz of the speech under way, for another recogniser

    def configure(self, format: AudioFormat, turn_detection: JsonObject | None) -> None:
        """Take over the session's formats and wishes."""
        self._sensitivity = Sensitivity.of(turn_detection)
        self._detector.tune(self._sensitivity)
        if format != self._format:
            self._format = format
            self._rest = b""
            self._resampler = None if format.rate_hz in (8000, RATE_HZ) else Resampler(format.rate_hz, RATE_HZ)

    def heard(self, frame: AudioFrame, state: str) -> list[HeardEvent]:
        """Take a frame; `state` is what the dialogue expects, should speech begin."""
        pcm16 = self._rest + self._at_16k(frame)
        whole = len(pcm16) - len(pcm16) % WINDOW_BYTES
        self._rest = pcm16[whole:]
        events: list[HeardEvent] = []
        for at in range(0, whole, WINDOW_BYTES):
            event = self._window(pcm16[at : at + WINDOW_BYTES], state)
            if event is not None:
                events.append(event)
        return events

    @property
    def pressed(self) -> bool:
        """Whether the recogniser is so late that further sound had better wait, if it can."""
        recogniser = self.recogniser
        if recogniser is None or not recogniser.busy:
            return False
        return not self._detector.speaking or recogniser.waiting_ms > MOST_LATE_MS

    def make_out(self) -> None:
        """Let the recogniser go on; a few ms at most."""
        if self.recogniser is not None:
            self.recogniser.work()

    def skip(self, samples: int, format: AudioFormat) -> None:
        """Sound that nobody wants: time passes, and nothing is heard. `forget` is to follow."""
        passed = len(self._rest) // 2 + samples * RATE_HZ // format.rate_hz
        self._rest = bytes(2 * (passed % WINDOW_SAMPLES))
        self._samples += passed - passed % WINDOW_SAMPLES
        self._detector.skip(passed - passed % WINDOW_SAMPLES)
        self._recent.clear()

    def cut(self) -> SpeechOver | None:
        """Speech under way is over, by the client's word; None: there was none."""
        if not self._detector.speaking:
            return None
        self._detector.forget()
        return SpeechOver(self._samples * 1000 // RATE_HZ, (self._samples - self._began) * 1000 // RATE_HZ)

    def forget(self) -> None:
        """Speech under way is not wanted."""
        self._detector.forget()
        self.spoken.clear()
        if self.recogniser is not None:
            self.recogniser.drop()

    def _window(self, window: bytes, state: str) -> HeardEvent | None:
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
            return SpeechOver(found.at_sample * 1000 // RATE_HZ, speech_samples * 1000 // RATE_HZ)
        self._begin(found.at_sample, state)
        return SpeechBegan(found.at_sample * 1000 // RATE_HZ)

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
    """Whether sound at 16 kHz holds nothing above 4 kHz, as a telephone's does that was brought up to the rate."""
    samples = np.frombuffer(pcm16, dtype="<i2").astype(np.float64)
    whole = len(samples) - len(samples) % WINDOW_SAMPLES
    if not whole:
        return False
    windows = samples[:whole].reshape(-1, WINDOW_SAMPLES) * np.hanning(WINDOW_SAMPLES)
    power = (np.abs(np.fft.rfft(windows, axis=1)) ** 2).sum(axis=0)
    high = power[WINDOW_SAMPLES * 4400 // RATE_HZ :].sum()
    return bool(power.sum() > 0 and high <= power.sum() * NARROW_SHARE**2)


def with_floor(pcm16: bytes) -> bytes:
    """With a quiet room's noise, always the same: in perfect silence a recogniser's logarithms lead it astray."""
    samples = np.frombuffer(pcm16, dtype="<i2")
    noise = np.resize(_FLOOR, len(samples))
    return np.clip(samples + noise, -32768, 32767).astype("<i2").tobytes()


def widened(pcm16: bytes) -> bytes:
    """Narrow sound with mirror images above 4 kHz: every second sample, each twice."""
    return np.repeat(np.frombuffer(pcm16, dtype="<i2")[::2], 2).tobytes()
