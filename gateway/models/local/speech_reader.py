"""Reads one sentence's sound from a speech endpoint, and resamples it to the call's rate as it arrives."""

from __future__ import annotations

import numpy as np

from audio.resampling import Resampler
from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.speech_kind import HEAD_BYTES, RATES_HZ, Kind, kind_of, rate_of
from gateway.models.local.wav_stream import HEAD_BYTES as WAV_HEAD_BYTES
from gateway.models.local.wav_stream import WavStream, is_wav

MOST_SENTENCE_S = 120
LEAD_MS = 200  # of silence that is kept before the first sound; silence before that is dropped


class SpeechReader:
    """Converts an endpoint's bytes to PCM16 at the call's rate; nothing is returned before their format is known."""

    def __init__(self, content_type: str, rate_hz: int) -> None:
        """`rate_hz`: the call's rate."""
        self._content_type = content_type
        self._rate_hz = rate_hz
        self._head = bytearray()
        self._kind: Kind | None = None
        self._wav = WavStream()
        self._half = b""  # the first byte of an incomplete sample of raw PCM
        self._from_hz: int | None = None
        self._resampler: Resampler | None = None
        self._lead = b""
        self._audible = False
        self._samples = 0

    def feed(self, piece: bytes) -> bytes:
        """Take a piece, and return what can be played now.

        Raises AnswerFault for bytes that are not a sound that can be read, or for a sound that is too long.
        """
        if self._kind is None:
            self._head += piece
            enough = WAV_HEAD_BYTES if is_wav(bytes(self._head[:WAV_HEAD_BYTES])) else HEAD_BYTES
            if len(self._head) < enough:
                return b""
            piece = self._begin()
        return self._trimmed(self._resampled(self._pcm16(piece)))

    def end(self) -> bytes:
        """The rest of the sound. Raises AnswerFault also where the whole sentence was silent or empty."""
        pcm16 = b""
        if self._kind is None:
            pcm16 = self._resampled(self._pcm16(self._begin()))
        if self._resampler is not None:
            pcm16 += self._resampler.flush()
        sound = self._trimmed(pcm16)
        if not self._audible:
            raise AnswerFault("the endpoint sent no sound")
        return sound

    def _begin(self) -> bytes:
        head = bytes(self._head)
        self._head.clear()
        self._kind = kind_of(head, self._content_type)
        return head

    def _pcm16(self, piece: bytes) -> bytes:
        """One channel of PCM16, at the endpoint's rate."""
        if self._kind is Kind.WAV:
            sound = self._wav.feed(piece)
            self._set_rate(self._wav.rate_hz)
            return sound
        self._set_rate(rate_of(self._content_type))
        piece = self._half + piece
        whole = len(piece) - len(piece) % 2
        self._half = piece[whole:]
        if self._kind is Kind.PCM_BIG_ENDIAN:
            return np.frombuffer(piece[:whole], dtype=">i2").astype("<i2").tobytes()
        return piece[:whole]

    def _set_rate(self, from_hz: int | None) -> None:
        if from_hz is None or from_hz == self._from_hz:
            return
        if from_hz not in RATES_HZ:
            raise AnswerFault(f"the endpoint sent a WAV file at {from_hz} Hz")
        self._from_hz = from_hz
        if from_hz != self._rate_hz:
            try:
                self._resampler = Resampler(from_hz, self._rate_hz)
            except ValueError:
                raise AnswerFault(f"the endpoint sent sound at {from_hz} Hz, which cannot be resampled") from None

    def _resampled(self, pcm16: bytes) -> bytes:
        return pcm16 if self._resampler is None else self._resampler.feed(pcm16)

    def _trimmed(self, pcm16: bytes) -> bytes:
        """The sound without the silence at its beginning, of which at most `LEAD_MS` are kept."""
        if not self._audible:
            self._audible = bool(pcm16.strip(b"\0"))
            pcm16 = self._lead + pcm16
            if not self._audible:
                self._lead = pcm16[-2 * (self._rate_hz * LEAD_MS // 1000) :]
                return b""
            pcm16 = pcm16[max(0, _silent_bytes(pcm16) - 2 * (self._rate_hz * LEAD_MS // 1000)) :]
        self._samples += len(pcm16) // 2
        if self._samples > MOST_SENTENCE_S * self._rate_hz:
            raise AnswerFault("the sentence's sound is longer than the limit")
        return pcm16


def _silent_bytes(pcm16: bytes) -> int:
    silent = len(pcm16) - len(pcm16.lstrip(b"\0"))
    return silent - silent % 2
