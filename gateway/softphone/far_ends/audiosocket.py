"""The far end of AudioSocket as Asterisk plays it, with a telephone behind it: frames, what is checked, what is heard.

Asterisk buffers nothing: each frame goes to the telephone at once, and what comes faster than it is spoken is lost
there. The telephone holds back `JITTER_MS` of sound. A frame of an unknown kind ends the call. Pure.
Source: docs.asterisk.org, "AudioSocket"; measured with Asterisk 22.10.1.
"""

from __future__ import annotations

from uuid import UUID

from audio.formats import PCM16_8K
from audio.g711 import silence
from gateway.softphone.far_ends.ear import Ear

HANG_UP, CALL_ID, KEY, SOUND = 0x00, 0x01, 0x03, 0x10
HEAD_BYTES = 3
FRAME_MS = 20
FRAME_BYTES = PCM16_8K.bytes_for_ms(FRAME_MS)
JITTER_MS = 40
# What a telephone holds at most; sound that comes when it is full is lost.
MAX_HELD_MS = 200
# Asterisk ends the call when neither side has sent anything for so long.
IDLE_MS = 2_000
KEYS = frozenset("0123456789*#ABCD")


class AudioSocketFarEnd:
    """One call at 8 kHz. `faults` is what the other side has done against the protocol, each thing once."""

    def __init__(self, call_id: UUID) -> None:
        self.ear = Ear(PCM16_8K, MAX_HELD_MS)
        self.faults: list[str] = []
        self.ended = False  # the other side has hung up, or has sent what ends the call
        self._call_id = call_id
        self._unread = bytearray()
        self._last_ms = 0.0  # when the last frame came

    def begin(self, now_ms: float) -> bytes:
        """The first frame."""
        self._last_ms = now_ms
        return _frame(CALL_ID, self._call_id.bytes)

    def speak(self, payload: bytes) -> bytes:
        """The caller's next 20 ms."""
        assert len(payload) == FRAME_BYTES
        return _frame(SOUND, payload)

    def press(self, digit: str) -> bytes:
        """The caller presses a key. Raises ValueError for what is no key of a telephone."""
        if digit not in KEYS:
            raise ValueError(f"{digit!r} is no key of a telephone")
        return _frame(KEY, digit.encode("ascii"))

    def take(self, stream: bytes, now_ms: float) -> None:
        """Bytes have arrived, which may be a part of a frame or several frames."""
        self._unread += stream
        while len(self._unread) >= HEAD_BYTES and not self.ended:
            end = HEAD_BYTES + int.from_bytes(self._unread[1:HEAD_BYTES], "big")
            if len(self._unread) < end:
                return
            kind, payload = self._unread[0], bytes(self._unread[HEAD_BYTES:end])
            del self._unread[:end]
            self._read(kind, payload, now_ms)

    def _read(self, kind: int, payload: bytes, now_ms: float) -> None:
        if now_ms - self._last_ms > IDLE_MS:
            self._fault(f"nothing was sent for {IDLE_MS} ms")
        self._last_ms = now_ms
        if kind == SOUND:
            self._hear(payload, now_ms)
        elif kind == HANG_UP and not payload:
            self.ended = True
        else:
            self._fault(f"a frame of the kind {kind:#04x} with {len(payload)} bytes")
            self.ended = True

    def _hear(self, payload: bytes, now_ms: float) -> None:
        if len(payload) != FRAME_BYTES:
            self._fault("a sound frame that is not 20 ms at 8 kHz")
        if not payload or len(payload) % PCM16_8K.sample_bytes:
            self.ended = True
            return
        if not self.ear.held_ms(now_ms):
            self.ear.sound(silence(PCM16_8K, PCM16_8K.rate_hz * JITTER_MS // 1000), now_ms)
        if not self.ear.sound(payload, now_ms):
            self._fault("sound faster than it is spoken, which is lost")

    def _fault(self, what: str) -> None:
        if what not in self.faults:
            self.faults.append(what)


def _frame(kind: int, payload: bytes) -> bytes:
    return bytes((kind, *divmod(len(payload), 256))) + payload
