"""espeak-ng in this process: a sentence in, its sound out, in about a thousandth of the time that it lasts.

espeak-ng is under the GPL, version 3; it is used through its shared library, which `espeakng-loader` (an optional
package) brings. Source: github.com/espeak-ng/espeak-ng, `src/include/espeak-ng/speak_lib.h`.
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
from gateway.models.local.detector import MissingPart
from gateway.models.local.rules import Speech

_SYNCHRONOUS = 2
_NO_EXIT = 0x8000  # report a missing folder instead of ending the process
_UTF8 = 1
_RATE, _PITCH = 1, 3
_OK = 0
_BUFFER_MS = 200
BREATH_MS = 150
RUN_MS = 1000

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Voice:
    """The process's one espeak-ng: the library keeps its state in globals, so a lock stands before it."""

    def __init__(self) -> None:
        """Loads the library. Raises MissingPart."""
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
            raise MissingPart("espeak-ng does not find its data: reinstall espeakng-loader")
        self._callback = _Callback(self._take)  # the library keeps a pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def has(self, voice: str) -> bool:
        """Whether there is a voice of this name."""
        with self._lock:
            self._tuned = None
            return bool(self._library.espeak_SetVoiceByName(voice.encode()) == _OK)

    def speak(self, sentence: str, speech: Speech, format: AudioFormat) -> bytes:
        """The sentence's sound in `format`; empty where there is nothing to pronounce."""
        return b"".join(self.pieces(self.raw(sentence, speech), format))

    def raw(self, sentence: str, speech: Speech) -> list[bytes]:
        """The sentence's sound as the library makes it, PCM16 at `rate_hz`, in runs of a second."""
        with self._lock:
            self._tune(speech)
            self._sound.clear()
            text = sentence.encode() + b"\0"
            self._library.espeak_Synth(text, len(text), 0, 0, 0, _UTF8, None, None)
            pcm16 = _without_tail(bytes(self._sound), self.rate_hz)
        run = 2 * self.rate_hz * RUN_MS // 1000
        return [pcm16[begin : begin + run] for begin in range(0, len(pcm16), run)]

    def pieces(self, runs: list[bytes], format: AudioFormat) -> Iterator[bytes]:
        """The same in `format`, each run brought there when it is asked for: as much work as making it was."""
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
    """The one voice of this process. Raises MissingPart."""
    return Voice()


def speak_pcm16_24k(text: str) -> bytes:
    """A caller's words, for `patchbay call --text`: with a little silence around, as a microphone has.

    Of espeak-ng's voices this is the one that recognisers understand best.
    """
    silence = bytes(PCM16_24K.bytes_for_ms(200))
    return silence + process_voice().speak(text, Speech("en-us+klatt2", 150), PCM16_24K) + silence


def _without_tail(pcm16: bytes, rate_hz: int) -> bytes:
    """Without the silence at the end, but for a breath: the next sentence shall not keep a caller waiting."""
    end = len(pcm16.rstrip(b"\0"))
    return pcm16[: end + end % 2 + rate_hz * BREATH_MS // 1000 * 2]
