"""Speech synthesis with espeak-ng in this process; it takes about a thousandth of the sound's duration.

espeak-ng is licensed under the GPL, version 3. It is used through its shared library, which the optional package
`espeakng-loader` contains. Source: github.com/espeak-ng/espeak-ng, `src/include/espeak-ng/speak_lib.h`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from threading import Lock
from typing import Any

from audio.formats import PCM16_24K, AudioFormat, Coding
from audio.g711 import encode
from audio.resampling import resample_in_place
from gateway.models.local.dialogue.rules import Speech
from gateway.models.local.speech.detector import MissingPart

_SYNCHRONOUS = 2
_NO_EXIT = 0x8000  # report a missing folder instead of exiting the process
_UTF8 = 1
_RATE, _PITCH = 1, 3
_OK = 0
_BUFFER_MS = 200
BREATH_MS = 150  # of silence that is kept after a sentence
RUN_MS = 1000  # of sound in each run that `raw` returns

# Of espeak-ng's voices, recognisers understand these best: at 16 kHz and more, and at 8 kHz, where the first one's
# consonants are lost.
WIDE_VOICE = "en-us+klatt2"
NARROW_VOICE = "en-us+klatt4"

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Voice:
    """The process's only espeak-ng. The library keeps its state in globals, so a lock protects it."""

    def __init__(self) -> None:
        """Load the library. Raises MissingPart."""
        try:
            import espeakng_loader
        except ImportError as error:
            raise MissingPart("the local model needs espeakng-loader: pip install 'patchbay[local]'") from error
        self._lock = Lock()
        self._sound = bytearray()
        self._tuned: Speech | None = None
        self._library: Any = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        folder = str(espeakng_loader.get_data_path()).encode()
        self.rate_hz: int = self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, folder, _NO_EXIT)
        if self.rate_hz <= 0:
            raise MissingPart("espeak-ng cannot find its data: reinstall espeakng-loader")
        self._callback = _Callback(self._take)  # an attribute, because the library keeps a pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def has(self, voice: str) -> bool:
        """Whether espeak-ng has a voice of this name."""
        with self._lock:
            self._tuned = None
            return bool(self._library.espeak_SetVoiceByName(voice.encode()) == _OK)

    def speak(self, sentence: str, speech: Speech, format: AudioFormat) -> bytes:
        """The sentence's sound in `format`; empty where the sentence has nothing to pronounce."""
        return b"".join(self.pieces(self.raw(sentence, speech), format))

    def raw(self, sentence: str, speech: Speech) -> list[bytes]:
        """The sentence's sound as the library makes it: PCM16 at `rate_hz`, in runs of one second."""
        with self._lock:
            self._tune(speech)
            self._sound.clear()
            text = sentence.encode() + b"\0"
            self._library.espeak_Synth(text, len(text), 0, 0, 0, _UTF8, None, None)
            pcm16 = _without_tail(bytes(self._sound), self.rate_hz)
        run = 2 * self.rate_hz * RUN_MS // 1000
        return [pcm16[begin : begin + run] for begin in range(0, len(pcm16), run)]

    def pieces(self, runs: list[bytes], format: AudioFormat) -> Iterator[bytes]:
        """Convert runs to `format`, each when it is taken; converting takes as long as synthesis did."""
        for piece in resample_in_place(runs, self.rate_hz, format.rate_hz):
            yield piece if format.coding is Coding.PCM16 else encode(piece, format.coding)

    def _tune(self, speech: Speech) -> None:
        if speech == self._tuned:
            return
        if self._library.espeak_SetVoiceByName(speech.voice.encode()) != _OK:
            self._library.espeak_SetVoiceByName(Speech().voice.encode())
        self._library.espeak_SetParameter(_RATE, speech.words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, speech.pitch, 0)
        self._tuned = speech

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._sound += ctypes.string_at(samples, 2 * count)
        return 0


@cache
def process_voice() -> Voice:
    """The only `Voice` of this process. Raises MissingPart."""
    return Voice()


def speak_pcm16_24k(text: str, voice: str = WIDE_VOICE) -> bytes:
    """A caller's sentence as PCM16 at 24 kHz, for `patchbay call --text`, with 200 ms of silence before and after it.

    `voice` is `WIDE_VOICE`, or `NARROW_VOICE` for a call at 8 kHz.
    """
    silence = bytes(PCM16_24K.bytes_for_ms(200))
    return silence + process_voice().speak(text, Speech(voice, 150), PCM16_24K) + silence


def _without_tail(pcm16: bytes, rate_hz: int) -> bytes:
    """Remove the silence at the end except `BREATH_MS`, so that the next sentence follows without a long pause."""
    end = len(pcm16.rstrip(b"\0"))
    return pcm16[: end + end % 2 + rate_hz * BREATH_MS // 1000 * 2]
