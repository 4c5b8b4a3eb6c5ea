"""Asterisk AudioSocket, both directions: frames of kind (1 byte), length (2 bytes, big-endian) and payload.

Wire audio: PCM16, little-endian, mono, in frames of 20 ms; the kind says the rate. Asterisk holds no sound, so exactly
one frame leaves every 20 ms. Sources: docs.asterisk.org, "AudioSocket"; Asterisk 22, `res_audiosocket.c`.

Asterisk takes PCM of every rate, whatever its channel carries, and takes nothing else. But what it sends under kind
0x10 may be something else: a channel that was dialled without `c(slin)` sends G.711 under the kind of PCM. Measured
with Asterisk 22.10.1: PCM that is sent to such a channel is heard well, and mu-law is heard as loud noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from audio.formats import PCM16_8K, PCMU_8K, AudioFormat, AudioFrame, Coding
from audio.g711 import silence
from audio.playout import FarEndRules, Framing
from audio.resampling import Converter
from gateway.callers.phone.codec import FarEndEvent, Heard, MediaStarted, Pressed, Stopped
from gateway.net.frame_reader import FrameRules
from sessions.caller_facts import CallerFacts
from sessions.errors import WireError
from sessions.keys import KEYS

HEAD_BYTES = 3
# The longest frame is 20 ms at 192 kHz, 7,680 bytes; a channel with longer frames sends some of them at once.
MAX_FRAME_BYTES = 32 * 1024
FRAME_MS = 20

HANG_UP, CALL_ID, KEY, ERROR = 0x00, 0x01, 0x03, 0xFF
NARROW = 0x10  # 8 kHz; the only kind of sound before 2025
_RATES = (8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000)
FORMATS: Mapping[int, AudioFormat] = {
    NARROW + place: AudioFormat(Coding.PCM16, rate_hz) for place, rate_hz in enumerate(_RATES)
}
KINDS: Mapping[AudioFormat, int] = {format: kind for kind, format in FORMATS.items()}
G711_FRAME_BYTES = 160  # 20 ms
GOODBYE = bytes((HANG_UP, 0, 0))


def frame_bytes(head: bytes) -> int:
    """The length of the frame that begins so, header included. Raises WireError for one that is too long."""
    size = HEAD_BYTES + (head[1] << 8 | head[2])
    if size > MAX_FRAME_BYTES:
        raise WireError("The frame is too long.", code="invalid_event")
    return size


FRAMES = FrameRules(HEAD_BYTES, frame_bytes)


def silent_frame(format: AudioFormat) -> bytes:
    """20 ms of silence in one of the formats that have a kind."""
    payload = silence(format, format.rate_hz * FRAME_MS // 1000)
    return _head_of(format, len(payload)) + payload


def call_id_of(frame: bytes) -> bytes | None:
    """The 16 bytes of the UUID in the first frame of a call; None for any other frame."""
    return frame[HEAD_BYTES:] if frame[0] == CALL_ID and len(frame) == HEAD_BYTES + 16 else None


class AudioSocketCodec:
    """Reads and writes the frames of one call.

    What is sent is always in the call's format. What arrives is converted to it where the far end sends something else.
    """

    sound_is_binary = True
    all_binary = True
    early_ms = 0
    heartbeat_ms: int | None = None

    def __init__(
        self,
        facts: CallerFacts,
        format: AudioFormat,
        *,
        narrow: AudioFormat | None = None,
        on_g711: Callable[[], None] = lambda: None,
    ) -> None:
        """`format` is one of those that have a kind.

        `narrow` is what the far end sends under kind 0x10, where the dialplan has said it; otherwise the first sound
        tells it by its length. `on_g711` is called when that has told G.711.
        """
        self._facts = facts
        self._format = format
        self._narrow = narrow
        self._on_g711 = on_g711
        self._wire: AudioFormat | None = None  # what the far end sends; None before its first sound
        self._plain_kind: int | None = None  # sound of this kind needs nothing done
        self._inward: Converter | None = None
        self._inward_samples = 0
        self._payload_bytes = format.bytes_for_ms(FRAME_MS)
        self._head = _head_of(format, self._payload_bytes)

    # ---- what arrives

    def read_text(self, message: bytes) -> FarEndEvent | None:
        """There is no text in AudioSocket."""
        raise WireError("AudioSocket has no text.", code="invalid_event")

    def read_binary(self, message: bytes) -> FarEndEvent | None:
        """Read one whole frame."""
        kind = message[0]
        if kind == self._plain_kind and len(message) > HEAD_BYTES:
            return Heard(message[HEAD_BYTES:])
        if kind in FORMATS:
            return Heard(self._hear(kind, message[HEAD_BYTES:]))
        if kind == KEY:
            return _key(message[HEAD_BYTES:])
        if kind == CALL_ID:
            if call_id_of(message) is None:
                raise WireError("The call's UUID does not have 16 bytes.", code="invalid_event")
            return MediaStarted(FarEndRules(self._format, ahead_ms=0, framing=Framing.ONE), self._facts)
        if kind in (HANG_UP, ERROR):  # after an error of its own, Asterisk has no more to send
            return Stopped()
        raise WireError("The kind of the frame is not known.", code="invalid_event")

    def _hear(self, kind: int, payload: bytes) -> bytes:
        """The sound of a frame in the call's format."""
        if not payload:
            raise WireError("A sound frame has no sound.", code="invalid_sound")
        wire = FORMATS[kind] if kind != NARROW else self._narrow or self._tell_narrow(payload)
        if len(payload) % wire.sample_bytes:
            raise WireError("The sound is not whole samples.", code="invalid_sound")
        if wire != self._wire:
            self._wire = wire
            self._inward = None if wire == self._format else Converter(wire, self._format)
            self._inward_samples = 0
            self._plain_kind = kind if self._inward is None else None
        if self._inward is None:
            return payload
        frame = AudioFrame(payload, wire, self._inward_samples)
        self._inward_samples += frame.samples
        return self._inward.convert(frame).payload

    def _tell_narrow(self, payload: bytes) -> AudioFormat:
        """What kind 0x10 stands for in this call, told by its first payload."""
        if len(payload) == G711_FRAME_BYTES and self._wire is None:
            self._narrow = PCMU_8K
            self._on_g711()
        else:
            self._narrow = PCM16_8K
        return self._narrow

    # ---- what leaves

    def opening(self) -> Sequence[bytes]:
        """Nothing: the sound begins with the call."""
        return ()

    def sound(self, payload: bytes) -> bytes:
        """One frame, of 20 ms in the call's format."""
        head = self._head if len(payload) == self._payload_bytes else _head_of(self._format, len(payload))
        return head + payload

    def clear(self) -> Sequence[bytes]:
        """Nothing: Asterisk holds no sound."""
        return ()

    def mark(self, name: str) -> bytes:
        """AudioSocket has no marks, and its rules ask for none."""
        raise NotImplementedError

    def heartbeat(self) -> Sequence[bytes]:
        """Nothing: the sound never stops."""
        return ()

    def goodbye(self, reason: str) -> Sequence[bytes]:
        """The frame after which Asterisk goes on with the dialplan."""
        return (GOODBYE,)


def _head_of(format: AudioFormat, payload_bytes: int) -> bytes:
    return bytes((KINDS[format], payload_bytes >> 8, payload_bytes & 0xFF))


def _key(payload: bytes) -> Pressed:
    digit = payload.decode("latin-1").upper()
    if len(payload) != 1 or digit not in KEYS:
        raise WireError("The key is not one of a telephone.", code="invalid_event")
    return Pressed(digit)
