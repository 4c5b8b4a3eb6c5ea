"""Detects the caller's speech with Silero VAD in windows of 32 ms, each of which takes about 0.2 ms.

The model is the ONNX file inside the `silero-vad` wheel. The wheel is never imported, because it would need torch.
Source: github.com/snakers4/silero-vad, `utils_vad.py` (`OnnxWrapper`: 512 samples at 16 kHz, preceded by the last 64).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sessions.errors import VoiceError
from sessions.ports import Json, JsonObject

RATE_HZ = 16_000
WINDOW_SAMPLES = 512
WINDOW_BYTES = 2 * WINDOW_SAMPLES
CONTEXT_SAMPLES = 64
RELEASE_BELOW = 0.15  # speech continues while the probability is above threshold - 0.15, as in Silero's iterator
SHORTEST_MS = 96  # of consecutive speech before it counts: one window alone may be a click
BY_HAND_SILENCE_MS = 10_000
EAGERNESS_MS: Mapping[Json, int] = {"low": 1000, "medium": 600, "auto": 600, "high": 350}


class MissingPart(VoiceError):
    """A part that the local model needs is not installed; the message says what to install."""


def load_speech_model() -> Any:
    """Load the ONNX session, which all calls can share because a run keeps no state in it. Raises MissingPart."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPart("the local model needs onnxruntime: pip install 'patchbay[local]'") from error
    found = importlib.util.find_spec("silero_vad")
    folder = Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None
    path = folder / "data" / "silero_vad.onnx" if folder is not None else None
    if path is None or not path.is_file():
        raise MissingPart("the local model needs Silero VAD's model file: pip install --no-deps silero-vad")
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])


class SpeechModel:
    """Computes the probability of speech in one stream, window by window."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._rate = np.array(RATE_HZ, dtype=np.int64)
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        self._state: NDArray[np.float32] = np.zeros((2, 1, 128), dtype=np.float32)
        self._window: NDArray[np.float32] = np.zeros((1, CONTEXT_SAMPLES + WINDOW_SAMPLES), dtype=np.float32)

    def probability(self, pcm16: bytes) -> float:
        """The probability of speech in exactly `WINDOW_BYTES` of PCM16 at 16 kHz."""
        window = self._window
        window[0, :CONTEXT_SAMPLES] = window[0, -CONTEXT_SAMPLES:]
        window[0, CONTEXT_SAMPLES:] = np.frombuffer(pcm16, dtype="<i2")
        window[0, CONTEXT_SAMPLES:] /= 32768.0
        feed = {"input": window, "state": self._state, "sr": self._rate}
        output, self._state = self._session.run(None, feed)
        return float(output[0, 0])


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """When speech counts as begun and as ended."""

    threshold: float = 0.5
    silence_ms: int = 500
    prefix_ms: int = 300

    @classmethod
    def of(cls, turn_detection: JsonObject | None) -> Sensitivity:
        """Read the session's `turn_detection`; where the client commits the turns (None), pauses do not end speech."""
        if turn_detection is None:
            return cls(silence_ms=BY_HAND_SILENCE_MS)
        if turn_detection.get("type") == "semantic_vad":
            return replace(cls(), silence_ms=EAGERNESS_MS.get(turn_detection.get("eagerness"), 600))
        return cls(
            threshold=_number(turn_detection.get("threshold"), 0.5),
            silence_ms=int(_number(turn_detection.get("silence_duration_ms"), 500)),
            prefix_ms=int(_number(turn_detection.get("prefix_padding_ms"), 300)),
        )


def _number(value: Json, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


class Edge(Enum):
    """The beginning or the end of speech."""

    STARTED = auto()
    STOPPED = auto()


@dataclass(frozen=True, slots=True)
class Found:
    """An edge of speech. `at_sample` is its position at 16 kHz, prefix padding and trailing silence included."""

    edge: Edge
    at_sample: int


class SpeechDetector:
    """Finds where speech begins and ends in one stream, which is given to `window` window by window."""

    def __init__(self, model: SpeechModel) -> None:
        self._model = model
        self._sensitivity = Sensitivity()
        # All positions are in samples at 16 kHz.
        self._at = 0  # the end of the last window
        self._rise: int | None = None  # where the present run of windows with speech began
        self._last_speech = 0  # the end of the last window with speech
        self._floor = 0  # where the last speech ended: the next one begins no earlier, even with its padding
        self.speaking = False

    def tune(self, sensitivity: Sensitivity) -> None:
        """Take over the session's turn detection; the present speech continues."""
        self._sensitivity = sensitivity

    @property
    def rise(self) -> int:
        """Where the present speech began, in samples, without padding."""
        return self._at if self._rise is None else self._rise

    def forget(self) -> None:
        """End the present speech, for example because the client committed or cleared its sound."""
        self.speaking = False
        self._rise = None
        self._floor = self._at

    def skip(self, samples: int) -> None:
        """Advance the position by sound that is not processed."""
        self._at += samples

    def window(self, pcm16: bytes) -> Found | None:
        """Process exactly `WINDOW_BYTES` of PCM16 at 16 kHz, and return an edge if there is one."""
        probability = self._model.probability(pcm16)
        begin, self._at = self._at, self._at + WINDOW_SAMPLES
        sensitivity = self._sensitivity
        if self.speaking:
            if probability >= max(sensitivity.threshold - RELEASE_BELOW, 0.01):
                self._last_speech = self._at
            elif self._at - self._last_speech >= _samples(sensitivity.silence_ms):
                self.forget()
                return Found(Edge.STOPPED, self._at)
            return None
        if probability < sensitivity.threshold:
            self._rise = None
            return None
        if self._rise is None:
            self._rise = begin
        if self._at - self._rise < _samples(SHORTEST_MS):
            return None
        self.speaking = True
        self._last_speech = self._at
        return Found(Edge.STARTED, max(self._floor, self._rise - _samples(sensitivity.prefix_ms)))


def _samples(ms: int) -> int:
    return ms * RATE_HZ // 1000
