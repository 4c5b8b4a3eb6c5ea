"""One AudioSocket connection until its call begins: its UUID must be expected, and its first sound names the rate.

Asterisk says the sound's rate only by sending sound, and a caller whose telephone is silent sends none. So a call whose
dialplan has not said the format waits for its first sound, for at most `SOUND_WAIT_MS`, and is at 8 kHz otherwise.
Silence leaves from the UUID on, because some releases of Asterisk pass no sound on before they have read some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from audio.formats import PCM16_8K, AudioFormat
from gateway.callers.asterisk.registered import RegisteredCall, RegisteredCalls
from gateway.callers.audiosocket.codec import (
    CALL_ID,
    FORMATS,
    FRAME_MS,
    HANG_UP,
    KINDS,
    AudioSocketCodec,
    call_id_of,
    silent_frame,
)
from gateway.callers.phone.calls import ExpectedCall, PhoneCalls
from gateway.callers.phone.receiver import PhoneReceiver
from gateway.guard import Guard
from gateway.legs.closing import BAD_INPUT_CODE
from gateway.net.framed import FramedSocket
from gateway.net.messages import CloseCode
from gateway.net.sockets import Socket
from gateway.timer import Alarm

PROTOCOL = "audiosocket"
SOUND_WAIT_MS = 60
MAX_EARLY_FRAMES = 16  # before the first sound
_SILENCE = silent_frame(PCM16_8K)


@dataclass(frozen=True, slots=True)
class DoorstepParts:
    """What all connections of a listener share. `counts`: those that came to no call, by reason."""

    registered: RegisteredCalls
    calls: PhoneCalls
    draining: Callable[[], bool]
    on_g711: Callable[[], None]
    counts: Counter[str] = field(default_factory=Counter)


class Doorstep:
    """The receiver of a connection's first frames; it hands the connection to a `PhoneReceiver`."""

    def __init__(self, parts: DoorstepParts) -> None:
        self._parts = parts
        self._socket: FramedSocket | None = None
        self._registered: RegisteredCall | None = None  # between the UUID and the call's begin
        self._early: list[bytes] = []  # the frames so far
        self._alarm = Alarm(parts.calls.clock, self._on_time)
        self._silence_due_ms = self._sound_due_ms = 0

    def opened(self, socket: Socket) -> None:
        """The connection is there."""
        assert isinstance(socket, FramedSocket)
        self._socket = socket

    def text(self, message: bytes) -> None:
        """AudioSocket has no text."""

    def binary(self, message: bytes) -> None:
        """A whole frame has arrived."""
        if self._registered is None:
            self._identify(message)
            return
        self._early.append(message)
        if message[0] == HANG_UP:
            self._turn_away("hung_up", CloseCode.NORMAL)
            return
        format = FORMATS.get(message[0])
        if format is not None or len(self._early) > MAX_EARLY_FRAMES:
            self._begin(format or PCM16_8K)

    def lost(self, code: int, reason: str) -> None:
        """The connection has ended before its call began."""
        if self._registered is not None:
            self._parts.counts["hung_up"] += 1
        self._release()
        self._socket = None

    def _identify(self, frame: bytes) -> None:
        call_id, parts = call_id_of(frame), self._parts
        if call_id is None:
            self._turn_away("bad_frame" if frame[0] == CALL_ID else "wrong_order", BAD_INPUT_CODE)
            return
        registered = None if parts.draining() else parts.registered.take(UUID(bytes=call_id))
        if registered is None:
            self._turn_away("draining" if parts.draining() else "unknown_call", BAD_INPUT_CODE)
            return
        self._registered = registered
        self._early.append(frame)
        said = registered.format
        if said is not None:
            pcm = said in KINDS
            self._begin(said if pcm else PCM16_8K, PCM16_8K if pcm else said)
            return
        self._silence_due_ms = parts.calls.clock.now_ms()
        self._sound_due_ms = self._silence_due_ms + SOUND_WAIT_MS
        self._wait()

    # ---- waiting for the first sound

    def _on_time(self) -> None:
        socket = self._socket
        if socket is not None and self._registered is not None:
            with Guard(socket.failed):
                self._wait()

    def _wait(self) -> None:
        """Send the silence that is due, or begin the call without sound."""
        now_ms = self._parts.calls.clock.now_ms()
        if now_ms >= self._sound_due_ms:
            self._begin(PCM16_8K)
            return
        assert self._socket is not None
        if now_ms >= self._silence_due_ms:
            self._socket.send_binary(_SILENCE)
            self._silence_due_ms += FRAME_MS
        self._alarm.set(min(self._silence_due_ms, self._sound_due_ms))

    # ---- the end of waiting

    def _begin(self, format: AudioFormat, narrow: AudioFormat | None = None) -> None:
        """Begin the call, and read the frames so far as its first ones. `narrow` as in `AudioSocketCodec`."""
        registered, socket = self._registered, self._socket
        assert registered is not None
        assert socket is not None
        parts, early = self._parts, self._early
        codec = AudioSocketCodec(registered.facts, format, narrow=narrow, on_g711=parts.on_g711)
        receiver = PhoneReceiver(ExpectedCall(registered.ticket, PROTOCOL), codec, parts.calls)
        self._registered = self._socket = None  # the receiver answers for the ticket from here on
        self._release()
        socket.hand_to(receiver, receiver.fault)
        for frame in early:
            receiver.binary(frame)

    def _turn_away(self, reason: str, code: int) -> None:
        self._parts.counts[reason] += 1
        self._release()
        if self._socket is not None:
            self._socket.close(code, reason)

    def _release(self) -> None:
        registered, self._registered = self._registered, None
        if registered is not None:
            self._parts.calls.release(registered.ticket)
        self._alarm.close()
        self._early = []
