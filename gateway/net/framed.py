"""One TCP connection that carries frames with a header that says how long they are; it looks like a media socket.

Each whole frame, header included, is a binary message. A frame that a receiver sends is written at once. An end from
this side sends what is unsent and shuts the writing side, and then discards what the peer still sends until that closes
too: a close with unread data would be a reset, which can overtake the last frame (RFC 1122, 4.2.2.13).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from gateway.guard import Guard
from gateway.net.frame_reader import FrameReader, FrameRules
from gateway.net.messages import CloseCode
from gateway.net.reading import PausableReading
from gateway.net.sockets import Receiver, log_fault


@dataclass(frozen=True, slots=True)
class FramedLimits:
    """The limits of one connection."""

    first_frame_s: float = 2.0  # the time for the first whole frame
    goodbye_s: float = 1.0  # the time for the peer to take what is unsent, and to close
    max_unsent_bytes: int = 128 * 1024  # above what the system holds; more ends the connection with 1013


@dataclass(frozen=True, slots=True)
class FramedHooks:
    """What the listener knows and does.

    `opened` gives the first receiver of a connection, None to end it at once. `adopted` is called when that receiver
    first hands it on, and `lost` when it has ended. `count` gets `no_first_frame`, `bad_frame` and `too_slow`.
    """

    opened: Callable[[FramedSocket], Receiver | None]
    adopted: Callable[[], None]
    lost: Callable[[FramedSocket], None]
    count: Callable[[str], None]


class _State(Enum):
    OPEN = "open"
    CLOSING = "closing"  # this side has ended it, and the peer's end is awaited
    GONE = "gone"


_OPEN = _State.OPEN  # a constant, because looking up an enum member costs as much as the comparison


class FramedSocket(asyncio.Protocol):
    """A `Socket` on a TCP connection. Its first receiver may hand it to another one, with `hand_to`."""

    subprotocol = None

    def __init__(
        self,
        rules: FrameRules,
        limits: FramedLimits,
        hooks: FramedHooks,
    ) -> None:
        self.peer = ""
        self._rules = rules
        self._limits = limits
        self._hooks = hooks
        self._receiver: Receiver | None = None
        self._on_fault: Callable[[BaseException], None] = log_fault
        self._guard = Guard(self.failed)
        self._state = _State.CLOSING  # until there is a transport
        self._end: tuple[int, str] | None = None  # close code and reason
        self._ended_here = False
        self._transport: asyncio.Transport | None = None
        self._reading: PausableReading | None = None
        self._frames: FrameReader | None = None
        self._deadline: asyncio.TimerHandle | None = None

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._reading = PausableReading(transport)
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if address else ""
        self._receiver = self._hooks.opened(self)
        if self._receiver is None:
            transport.abort()
            return
        self._state = _State.OPEN
        self._frames = FrameReader(self._rules, self._reading, self._deliver, self._break)
        self._set_deadline(self._limits.first_frame_s, self._no_first_frame)
        with self._guard:
            self._receiver.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._frames is not None:
            self._frames.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        partial = self._frames is not None and self._frames.finish()
        if self._end is None:
            broken = partial or exc is not None
            self._end = (int(CloseCode.BROKEN if broken else CloseCode.NORMAL), "")
        self._state = _State.GONE
        self._set_deadline(None, self.abort)
        if self._reading is not None:
            self._reading.end()
        self._hooks.lost(self)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            with self._guard:
                receiver.lost(*self._end)
        # Break the reference cycles: the guard calls a method of this object, and receivers hold it.
        self._guard = Guard(log_fault)
        self._on_fault = log_fault
        self._transport = None

    def _deliver(self, frame: bytes) -> None:
        if self._deadline is not None:
            self._set_deadline(None, self.abort)  # this was the first frame
        receiver = self._receiver
        assert receiver is not None
        try:  # this is what `Guard` does, without the two calls that a `with` costs for every frame
            receiver.binary(frame)
        except Exception as fault:
            self.failed(fault)

    # ---- the socket

    @property
    def closed(self) -> bool:
        return self._state is not _OPEN

    @property
    def ended_here(self) -> bool:
        return self._ended_here

    @property
    def unsent_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send_text(self, message: bytes) -> None:
        """Send one frame: there is only one kind of message here."""
        self.send_binary(message)

    def send_binary(self, message: bytes) -> None:
        """Send one frame, which holds its header."""
        transport = self._transport
        if self._state is not _OPEN or transport is None:
            return
        transport.write(message)
        if transport.get_write_buffer_size() > self._limits.max_unsent_bytes:
            self._hooks.count("too_slow")
            self.close(CloseCode.OVERLOADED, "too much is unsent")

    def fast_send(self) -> Callable[[bytes], None]:
        return self.send_binary

    def count_message(self) -> None:
        """Does nothing: every frame counts, whatever it holds."""

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send what is unsent, and end the connection. `lost` gets the code; the peer sees an end and no code."""
        transport = self._transport
        if self._state is not _OPEN or transport is None:
            return
        self._state = _State.CLOSING
        self._end, self._ended_here = (int(code), reason), True
        if self._frames is not None:
            self._frames.stop()
        self._set_deadline(self._limits.goodbye_s, self.abort)
        if not transport.is_closing():
            transport.write_eof()

    # ---- for the listener and for the first receiver

    def hand_to(self, receiver: Receiver, on_fault: Callable[[BaseException], None]) -> None:
        """From now on this receiver gets the frames, and `on_fault` what it raises. It is told `opened` at once."""
        self._receiver, self._on_fault = receiver, on_fault
        self._hooks.adopted()
        with self._guard:
            receiver.opened(self)

    def failed(self, fault: BaseException) -> None:
        """Report what a receiver has raised, and end the connection."""
        try:
            self._on_fault(fault)
        finally:
            self.close(CloseCode.OUR_FAULT)

    def abort(self) -> None:
        """End the connection at once; `lost` follows."""
        if self._transport is not None:
            self._transport.abort()

    def _break(self, reason: str) -> None:
        self._hooks.count("bad_frame")
        self.close(CloseCode.PROTOCOL_ERROR, reason)

    def _no_first_frame(self) -> None:
        self._hooks.count("no_first_frame")
        self.close(CloseCode.PROTOCOL_ERROR, "the first frame has not come in time")

    def _set_deadline(self, seconds: float | None, then: Callable[[], None]) -> None:
        """Set the connection's only timer, in place of the one before; None sets none."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else asyncio.get_running_loop().call_later(seconds, then)
