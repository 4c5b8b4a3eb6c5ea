"""WebSockets for media, over picows: whole messages in and out, handled in the socket's callbacks.

A leg implements `Receiver` and gets a `Socket`. `dial.py` opens the client's side, `upgrade.py` the server's.
Compression is never negotiated. Sources: RFC 6455 for the rules; picows 2.3.1, `picows.pyx`, for its behaviour.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import partial
from typing import Protocol

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from gateway.guard import Guard
from gateway.net.message_budget import MessageBudget
from gateway.net.messages import (
    Assembler,
    CloseCode,
    Message,
    PeerClosed,
    Violation,
    fit_reason,
    is_utf8,
    may_be_sent,
)
from gateway.net.transport import MAX_UNSENT_BYTES, CorkedTransport
from gateway.runtime.fairness import LONG_MESSAGE_BYTES

log = logging.getLogger("patchbay.sockets")


class Side(StrEnum):
    """The side of a call that a socket leads to."""

    CALLER = "caller"
    MODEL = "model"


OPEN_SOCKETS: Counter[Side] = Counter()  # in this process, for the metrics

_TEXT = WSMsgType.TEXT
_BINARY = WSMsgType.BINARY
_CLOSE = WSMsgType.CLOSE


class Receiver(Protocol):
    """Handles the messages of one socket. Every method is called in the event loop's thread."""

    def opened(self, socket: Socket) -> None:
        """The socket takes messages from now on. This is the first call."""

    def text(self, message: bytes) -> None:
        """A text message has arrived; it is valid UTF-8."""

    def binary(self, message: bytes) -> None:
        """A binary message has arrived."""

    def lost(self, code: int, reason: str) -> None:
        """The connection has ended. Called once, as the last call.

        `code` is the close code of the peer or our own, and 1006 if the connection broke or the peer fell silent.
        """


class Socket(Protocol):
    """Sends messages to one peer. No method waits; messages sent after the end are dropped."""

    @property
    def closed(self) -> bool:
        """Whether it no longer takes messages: it is closing, broken or lost."""

    @property
    def ended_here(self) -> bool:
        """Whether this side ended it: by `close`, because a limit was exceeded, or because of a protocol violation."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for the peer to read. With TLS, up to 64 KiB plus one message more can be unsent."""

    @property
    def peer(self) -> str:
        """The peer's address without its port."""

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol."""

    def send_text(self, message: bytes) -> None:
        """Send UTF-8 text as one message."""

    def send_binary(self, message: bytes) -> None:
        """Send one binary message."""

    def fast_send(self) -> Callable[[bytes], None]:
        """Return the cheapest form of `send_text`, for sound. It may be used only while this socket is open."""

    def count_message(self) -> None:
        """Count a handled message that is more work than sound: after some of them, other tasks get a turn."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame. `lost` follows within `SocketLimits.goodbye_s`, and no message arrives before it."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """The limits of one socket. A peer that has vanished is noticed after `ping_idle_s` plus `ping_reply_s`.

    With `ping_idle_s` None no pings are sent, for peers that cannot bear them; the protocol must notice by itself.
    """

    max_message_bytes: int = 16 * 1024 * 1024  # a longer message closes the socket with 1009
    max_unsent_bytes: int = MAX_UNSENT_BYTES  # messages, answers to pings and all else; more closes it with 1013
    ping_idle_s: float | None = 20.0
    ping_reply_s: float = 20.0  # at most ping_idle_s
    goodbye_s: float = 5.0  # the time for the peer to answer our close frame and to take what is unsent


DEFAULT_LIMITS = SocketLimits()


def log_fault(fault: BaseException) -> None:
    """Log a receiver's error: the default for `on_fault`."""
    log.error("a socket's receiver failed", exc_info=fault)


class _State(Enum):
    OPEN = "open"
    CLOSING = "closing"  # our close frame is sent and the peer's is awaited
    BROKEN = "broken"  # the peer broke the protocol, so its messages are no longer handled
    GONE = "gone"


_OPEN = _State.OPEN  # a constant, because looking up an enum member costs as much as the comparison

_NO_GUARD = Guard(log_fault)


def _drop(kind: WSMsgType, message: bytes) -> None:
    return None


class PicowsSocket(WSListener):
    """A `Socket` over picows, and the listener that passes picows' messages to the receiver."""

    def __init__(
        self,
        receiver: Receiver,
        on_fault: Callable[[BaseException], None],
        limits: SocketLimits,
        peer: str,
        side: Side = Side.CALLER,
    ) -> None:
        self._receiver = receiver
        self._on_fault = on_fault
        self._limits = limits
        self.peer = peer
        self._side = side
        self._guard = Guard(self._fault)
        self._assembler = Assembler(limits.max_message_bytes)
        self._budget = MessageBudget(self._take_deferred, self._report_lost)
        self.count_message = self._budget.count_message
        self._state = _State.CLOSING  # until the handshake is complete
        self._end: tuple[int, str] | None = None  # close code and reason
        self._ended_here = False
        self._violated = False  # the peer broke the protocol while the socket was open
        self._ws: WSTransport | None = None
        self._transport: CorkedTransport | None = None
        self._send: Callable[[WSMsgType, bytes], None] = _drop  # picows' method while the socket is open
        self.subprotocol: str | None = None  # set before the handshake ends

    @property
    def closed(self) -> bool:
        return self._state is not _State.OPEN

    @property
    def ended_here(self) -> bool:
        return self._ended_here

    @property
    def unsent_bytes(self) -> int:
        return self._transport.unsent_bytes if self._transport is not None else 0

    def send_text(self, message: bytes) -> None:
        if self._state is _OPEN:
            self._send(_TEXT, message)

    def send_binary(self, message: bytes) -> None:
        if self._state is _OPEN:
            self._send(_BINARY, message)

    def fast_send(self) -> Callable[[bytes], None]:
        return partial(self._send, _TEXT)  # after a close frame picows drops messages, as `send_text` does

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        if self._state is not _State.OPEN or self._ws is None or self._transport is None:
            return
        self._state = _State.CLOSING
        reason = fit_reason(reason)
        if self._end is None:  # otherwise this answers the peer's close frame
            self._end, self._ended_here = (code, reason), True
        self._ws.send_close(code, reason)  # type: ignore[arg-type]
        self._transport.abort_in(self._limits.goodbye_s)

    def abort(self) -> None:
        """End the connection without a close frame; `lost` follows."""
        if self._transport is not None:
            self._transport.abort()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._ws = transport
        OPEN_SOCKETS[self._side] += 1
        corked: CorkedTransport = transport.underlying_transport  # type: ignore[assignment]
        self._transport = corked
        self._budget.reading = corked.reading
        self._send = transport.send
        self._state = _State.OPEN
        with self._guard:
            self._receiver.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if self._state is not _OPEN:
            if kind is _CLOSE and self._transport is not None:
                self._transport.close()
            return
        if self._budget.deferred is not None:
            self._budget.defer(frame)
            return
        plain = frame.fin and not (self._assembler.joining or frame.rsv1 or frame.rsv2 or frame.rsv3)
        if plain and frame.payload_size < LONG_MESSAGE_BYTES:
            if kind is _TEXT:
                message = frame.get_payload_as_bytes()
                if message.isascii() or is_utf8(message):
                    try:  # this is what `Guard` does, without the two calls that a `with` costs for every message
                        self._receiver.text(message)
                    except Exception as fault:
                        self._fault(fault)
                    return
            elif kind is _BINARY:
                with self._guard:
                    self._receiver.binary(frame.get_payload_as_bytes())
                return
        reserved = frame.rsv1 or frame.rsv2 or frame.rsv3
        self._take_any(kind, frame.fin, reserved, frame.payload_size, frame.get_payload_as_bytes)

    def _take_deferred(self, kind: WSMsgType, fin: bool, reserved: int, payload: bytes) -> None:
        if self._state is _OPEN or self._transport is None:
            self._take_any(kind, fin, reserved, len(payload), lambda: payload)
        elif kind is _CLOSE and self._transport is not None:
            self._transport.close()

    def _take_any(self, kind: WSMsgType, fin: bool, reserved: int, size: int, copy: Callable[[], bytes]) -> None:
        """Handle a frame that `on_ws_frame` does not handle itself: fragments, violations, long and deferred ones."""
        match self._assembler.take(int(kind.value), fin, reserved, size, copy):
            case Message(payload, _) as message if len(payload) >= LONG_MESSAGE_BYTES:
                self._budget.defer_long(partial(self._hand_on_long, message))
            case Message() as message:
                self._hand_on(message)
            case PeerClosed() if self._violated:
                pass  # the peer has answered at once, before `_end_after_violation`
            case PeerClosed(code, reason):
                self._answer_close(code, reason)
                if self._transport is not None:
                    self._transport.close()
            case Violation(code, reason) if self._transport is not None:
                self.close(code, reason)
                self._state = _State.BROKEN
                self.peer_broke_protocol()

    def _hand_on(self, message: Message) -> None:
        with self._guard:
            (self._receiver.text if message.is_text else self._receiver.binary)(message.payload)

    def _hand_on_long(self, message: Message) -> None:
        if self._state is _OPEN or self._transport is None:  # as in `_take_deferred`
            self._hand_on(message)

    def _answer_close(self, code: int, reason: str) -> None:
        self._end = (code, reason)
        self.close(CloseCode.NORMAL if code == CloseCode.NO_CODE else code)

    def peer_broke_protocol(self) -> None:
        """End the connection after a violation, once picows has handled the current read.

        picows parses one frame ahead, so it can find a violation after a close frame that it has not reported yet. All
        input after a close frame must be ignored (RFC 6455, 5.5.1), so the close is answered before the error is sent.
        """
        handshake = self._ws.close_handshake if self._ws is not None else None
        if handshake is not None and handshake.recv is not None and self._state is _OPEN:
            code, reason = handshake.recv.code.value, handshake.recv.reason
            if code == 0 and not reason:  # this is how picows shows a close frame without a code
                self._answer_close(CloseCode.NO_CODE, "")
            elif may_be_sent(code):
                self._answer_close(code, reason or "")
        self._violated = self._state is _OPEN
        asyncio.get_running_loop().call_soon(self._end_after_violation)

    def _end_after_violation(self) -> None:
        """End the connection after a close frame for a violation, which either we or picows have sent."""
        if self._state is _State.OPEN and self._ws is not None:
            handshake = self._ws.close_handshake  # picows closed: its parser found a violation, or the peer is silent
            sent = None if handshake is None else handshake.sent
            if sent is None or sent.code.value == CloseCode.GOING_AWAY:
                return
            self._end, self._ended_here = (sent.code.value, sent.reason), True
            self._state = _State.BROKEN
        if self._state is _State.BROKEN and self._transport is not None:
            self._transport.linger()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        silent = self._end is None and transport.close_handshake is not None
        if self._end is None:
            self._end = (CloseCode.BROKEN, "the peer did not answer pings" if silent else "")
        if self._state is not _OPEN:
            self._budget.deferred = None
        self._state = _State.GONE
        if self._ws is not None:
            OPEN_SOCKETS[self._side] -= 1
        self._ws = self._transport = self._budget.reading = None
        self._send = _drop
        if self._budget.deferred is None:
            self._report_lost()  # otherwise it is reported after the deferred frames

    def _report_lost(self) -> None:
        assert self._end is not None
        code, reason = self._end
        with self._guard:
            self._receiver.lost(int(code), reason)
        # Break the reference cycles: the guard and the budget call methods of this object.
        self._guard = _NO_GUARD
        self._budget.close()

    def overloaded(self) -> None:
        """Close the socket because too much is unsent; the transport calls this on any write."""
        self.close(CloseCode.OVERLOADED, "too much is unsent")

    def _fault(self, fault: Exception) -> None:
        try:
            self._on_fault(fault)
        finally:
            self.close(CloseCode.OUR_FAULT)
