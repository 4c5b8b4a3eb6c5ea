"""One sentence's sound as a speech endpoint sends it, brought to the rate of the call as it comes."""

from __future__ import annotations

import numpy as np

from audio.resampling import Resampler
from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.speech_kind import HEAD_BYTES, RATES_HZ, Kind, kind_of, rate_of
from gateway.models.local.wav_stream import HEAD_BYTES as WAV_HEAD_BYTES
from gateway.models.local.wav_stream import WavStream, is_wav

MOST_SENTENCE_S = 120
LEAD_MS = 200  # of silence before the first sound; more is left out


class SpeechReader:
    """Bytes in, PCM16 at the call's rate out; nothing comes out before it is known what they are."""

    def __init__(self, content_type: str, rate_hz: int) -> None:
        """`rate_hz`: the rate of the call."""
        self._content_type = content_type
        self._rate_hz = rate_hz
        self._head = bytearray()
        self._kind: Kind | None = None
        self._wav = WavStream()
        self._half = b""  # of a sample of raw PCM
        self._from_hz: int | None = None
        self._resampler: Resampler | None = None
        self._lead = b""
        self._audible = False
        self._samples = 0

    def feed(self, piece: bytes) -> bytes:
        """What can be played now. Raises AnswerFault for what is no sound that can be read, or does not end."""
        if self._kind is None:
            self._head += piece
            enough = WAV_HEAD_BYTES if is_wav(bytes(self._head[:WAV_HEAD_BYTES])) else HEAD_BYTES
            if len(self._head) < enough:
                return b""
            piece = self._begin()
        return self._let_out(self._resampled(self._pcm16(piece)))

    def end(self) -> bytes:
        """The rest. Raises AnswerFault, too, where no sound has come at all."""
        pcm16 = b""
        if self._kind is None:
            pcm16 = self._resampled(self._pcm16(self._begin()))
        if self._resampler is not None:
            pcm16 += self._resampler.flush()
        sound = self._let_out(pcm16)
        if not self._audible:
            raise AnswerFault("no sound came")
        return sound

    def _begin(self) -> bytes:
        head = bytes(self._head)
        self._head.clear()
        self._kind = kind_of(head, self._content_type)
        return head

    def _pcm16(self, piece: bytes) -> bytes:
        """One channel of PCM16, at the rate at which it came."""
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
            raise AnswerFault(f"a WAV file at {from_hz} Hz came")
        self._from_hz = from_hz
        if from_hz != self._rate_hz:
            try:
                self._resampler = Resampler(from_hz, self._rate_hz)
            except ValueError:
                raise AnswerFault(f"sound at {from_hz} Hz came, from which the call's rate is not made") from None

    def _resampled(self, pcm16: bytes) -> bytes:
        return pcm16 if self._resampler is None else self._resampler.feed(pcm16)

    def _let_out(self, pcm16: bytes) -> bytes:
        """All from the first sound on, and a little of the silence before it."""
        if not self._audible:
            self._audible = bool(pcm16.strip(b"\0"))
            pcm16 = self._lead + pcm16
            if not self._audible:
                self._lead = pcm16[-2 * (self._rate_hz * LEAD_MS // 1000) :]
                return b""
            pcm16 = pcm16[max(0, _silent_bytes(pcm16) - 2 * (self._rate_hz * LEAD_MS // 1000)) :]
        self._samples += len(pcm16) // 2
        if self._samples > MOST_SENTENCE_S * self._rate_hz:
            raise AnswerFault("the sentence's sound does not end")
        return pcm16


def _silent_bytes(pcm16: bytes) -> int:
    silent = len(pcm16) - len(pcm16.lstrip(b"\0"))
    return silent - silent % 2
