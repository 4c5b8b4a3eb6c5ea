"""WebSockets for media: whole messages in and out, in the socket's own callbacks, over picows on either side.

`Receiver` is what a leg gives, `Socket` what it gets. `dial` opens a client's side; `gateway/upgrade.py` a server's.
Compression is never negotiated. Source of the rules: RFC 6455; of the traps: picows 2.3.1, `picows.pyx`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Protocol

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from gateway.guard import Guard
from gateway.socket_messages import (
    Assembler,
    CloseCode,
    Message,
    PeerClosed,
    Violation,
    fit_reason,
    is_utf8,
    may_be_sent,
)
from gateway.socket_transport import MAX_UNSENT_BYTES, Line, cork_here

log = logging.getLogger("patchbay.sockets")

_TEXT = WSMsgType.TEXT
_BINARY = WSMsgType.BINARY
_CLOSE = WSMsgType.CLOSE


class Receiver(Protocol):
    """What one side of a call does with its socket's messages. Every method is called in the event loop's thread."""

    def opened(self, socket: Socket) -> None:
        """The socket takes messages from now on. First of all calls."""

    def text(self, message: bytes) -> None:
        """A text message, valid UTF-8."""

    def binary(self, message: bytes) -> None:
        """A binary message."""

    def lost(self, code: int, reason: str) -> None:
        """The socket is gone: once, and last. `code` is the peer's or our own, 1006 if it broke or fell silent."""


class Socket(Protocol):
    """One side's way out. Nothing here waits; what is sent after the end is dropped."""

    @property
    def closed(self) -> bool:
        """Whether it no longer takes messages: closing, broken or gone."""

    @property
    def ended_here(self) -> bool:
        """Whether the end began on this side: by `close`, at a bound, or because the peer broke the protocol."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for the peer to read. Under TLS, up to 64 KiB and one message more can be on their way."""

    @property
    def peer(self) -> str:
        """The other end's address, without its port."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol agreed on."""

    def send_text(self, message: bytes) -> None:
        """Send UTF-8 text as one message."""

    def send_binary(self, message: bytes) -> None:
        """Send one binary message."""

    def straight(self) -> Callable[[bytes], None]:
        """`send_text` in its cheapest form, for sound: only as long as this socket is open."""

    def worked(self) -> None:
        """A message was dealt with that is more work than sound: after some of them, everybody else has a turn."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye; `lost` follows within the limits' time, and no message before it."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """The bounds of one socket. A peer that vanished is noticed after `ping_idle_s` plus `ping_reply_s`."""

    max_message_bytes: int = 16 * 1024 * 1024  # past it: 1009
    max_unsent_bytes: int = MAX_UNSENT_BYTES  # of messages, answers to pings and all else; past it: 1013
    ping_idle_s: float = 20.0
    ping_reply_s: float = 20.0  # at most ping_idle_s
    goodbye_s: float = 5.0  # for the peer to answer our close, or to take what is unsent


DEFAULT_LIMITS = SocketLimits()


def log_fault(fault: BaseException) -> None:
    """What happens to a receiver's fault where nobody asked for it."""
    log.error("a socket's receiver failed", exc_info=fault)


class _State(Enum):
    OPEN = "open"
    CLOSING = "closing"  # our close frame is out, the peer's is awaited
    BROKEN = "broken"  # the peer broke the protocol: nothing it sends is read any more
    GONE = "gone"


# Of one peer, that are more work than sound, before everybody else has a turn: a read of 16 KiB may bring 450 of them.
MESSAGES_A_TURN = 16
_OPEN = _State.OPEN  # to look a member up takes as long as to compare it


_NO_GUARD = Guard(log_fault)


def _unsendable(kind: WSMsgType, message: bytes) -> None:
    return None


class PicowsSocket(WSListener):
    """A `Socket`, and the picows listener that feeds its receiver."""

    def __init__(
        self, receiver: Receiver, on_fault: Callable[[BaseException], None], limits: SocketLimits, peer: str
    ) -> None:
        self._receiver = receiver
        self._on_fault = on_fault
        self._limits = limits
        self.peer = peer
        self._guard = Guard(self._fault)
        self._assembler = Assembler(limits.max_message_bytes)
        self._state = _State.CLOSING  # until picows has shaken hands
        self._end: tuple[int, str] | None = None
        self._ended_here = False
        self._ws: WSTransport | None = None
        self._line: Line | None = None
        self._send: Callable[[WSMsgType, bytes], None] = _unsendable  # picows' own method, while it is open
        self._worked = 0  # messages in this turn of the loop
        # Frames that came with them, for the turns that follow: kind, whether it is the last of a message, reserved
        # bits, payload.
        self._later: deque[tuple[WSMsgType, bool, int, bytes]] | None = None
        self.subprotocol: str | None = None  # known before the handshake ends

    @property
    def closed(self) -> bool:
        return self._state is not _State.OPEN

    @property
    def ended_here(self) -> bool:
        return self._ended_here

    @property
    def unsent_bytes(self) -> int:
        return self._line.unsent_bytes if self._line is not None else 0

    def send_text(self, message: bytes) -> None:
        if self._state is _OPEN:
            self._send(_TEXT, message)

    def send_binary(self, message: bytes) -> None:
        if self._state is _OPEN:
            self._send(_BINARY, message)

    def straight(self) -> Callable[[bytes], None]:
        return partial(self._send, _TEXT)  # after a goodbye picows drops what it is given, as we do

    def worked(self) -> None:
        self._worked += 1
        if self._worked == 1:
            asyncio.get_running_loop().call_soon(self._next_turn)
        elif self._worked == MESSAGES_A_TURN:
            self._later = deque()
            if self._line is not None:
                self._line.rest()

    def _next_turn(self) -> None:
        """Go on with what came, as far as this turn may."""
        self._worked = 0
        later, self._later = self._later, None
        if later is None:
            return
        cork = cork_here()
        cork.inserted = True
        try:
            while later and self._later is None:
                self._take_late(*later.popleft())
        finally:
            cork.draw()
        if self._later is not None:  # there is a next turn
            self._later = later
        elif self._line is not None:
            self._line.rested()
        else:
            self._tell_lost()

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        if self._state is not _State.OPEN or self._ws is None or self._line is None:
            return
        self._state = _State.CLOSING
        reason = fit_reason(reason)
        if self._end is None:  # else this is the answer to the peer's
            self._end, self._ended_here = (code, reason), True
        self._ws.send_close(code, reason)  # type: ignore[arg-type]
        self._line.abort_in(self._limits.goodbye_s)

    def abort(self) -> None:
        """Cut the line without a goodbye; `lost` follows."""
        if self._line is not None:
            self._line.abort()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._ws = transport
        line: Line = transport.underlying_transport  # type: ignore[assignment]
        self._line = line
        self._send = transport.send
        self._state = _State.OPEN
        with self._guard:
            self._receiver.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if self._state is not _OPEN:
            if kind is _CLOSE and self._line is not None:
                self._line.close()
            return
        if self._later is not None:
            self._put_off(frame)
            return
        if frame.fin and not (self._assembler.joining or frame.rsv1 or frame.rsv2 or frame.rsv3):
            if kind is _TEXT:
                message = frame.get_payload_as_bytes()
                if message.isascii() or is_utf8(message):
                    try:  # the guard written out: a `with` costs two calls, and this is every message
                        self._receiver.text(message)
                    except Exception as fault:
                        self._fault(fault)
                    return
            elif kind is _BINARY:
                with self._guard:
                    self._receiver.binary(frame.get_payload_as_bytes())
                return
        reserved = frame.rsv1 or frame.rsv2 or frame.rsv3
        self._take_odd(kind, frame.fin, reserved, frame.payload_size, frame.get_payload_as_bytes)

    def _put_off(self, frame: WSFrame) -> None:
        """Keep a frame for the next turn; it is of the read that fills this one, so there are not many."""
        assert self._later is not None
        reserved = frame.rsv1 or frame.rsv2 or frame.rsv3
        self._later.append((frame.msg_type, frame.fin, reserved, frame.get_payload_as_bytes()))

    def _take_late(self, kind: WSMsgType, fin: bool, reserved: int, payload: bytes) -> None:
        if self._state is _OPEN or self._line is None:
            self._take_odd(kind, fin, reserved, len(payload), lambda: payload)
        elif kind is _CLOSE and self._line is not None:
            self._line.close()

    def _take_odd(self, kind: WSMsgType, fin: bool, reserved: int, size: int, copy: Callable[[], bytes]) -> None:
        """Anything but a whole, valid message in one frame; such a one too, in a later turn."""
        match self._assembler.take(int(kind.value), fin, reserved, size, copy):
            case Message(payload, is_text):
                with self._guard:
                    (self._receiver.text if is_text else self._receiver.binary)(payload)
            case PeerClosed(code, reason):
                self._answer_close(code, reason)
                if self._line is not None:
                    self._line.close()
            case Violation(code, reason) if self._line is not None:
                self.close(code, reason)
                self._state = _State.BROKEN
                self.broken_soon()

    def _answer_close(self, code: int, reason: str) -> None:
        self._end = (code, reason)
        self.close(CloseCode.NORMAL if code == CloseCode.NO_CODE else code)

    def broken_soon(self) -> None:
        """The peer broke the protocol: end the line once picows has worked through what came.

        picows reads one frame ahead, so it can meet nonsense behind a close frame that nobody has been told of. What
        follows a close frame does not count (RFC 6455, 5.5.1): the close is answered before picows answers the rest.
        """
        shaken = self._ws.close_handshake if self._ws is not None else None
        if shaken is not None and shaken.recv is not None and self._state is _OPEN:
            code, reason = shaken.recv.code.value, shaken.recv.reason
            if code == 0 and not reason:  # picows' word for a close frame without a code
                self._answer_close(CloseCode.NO_CODE, "")
            elif may_be_sent(code):
                self._answer_close(code, reason or "")
        asyncio.get_running_loop().call_soon(self._broken)

    def _broken(self) -> None:
        """A close frame is out for what the peer did: ours, or picows' own. Whose was it, and why?"""
        if self._state is _State.OPEN and self._ws is not None:
            shaken = self._ws.close_handshake  # picows closed: its parser met a violation, or the peer is silent
            sent = None if shaken is None else shaken.sent
            if sent is None or sent.code.value == CloseCode.GOING_AWAY:
                return
            self._end, self._ended_here = (sent.code.value, sent.reason), True
            self._state = _State.BROKEN
        if self._state is _State.BROKEN and self._line is not None:
            self._line.linger()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        silent = self._end is None and transport.close_handshake is not None
        if self._end is None:
            self._end = (CloseCode.BROKEN, "the peer did not answer pings" if silent else "")
        if self._state is not _OPEN:
            self._later = None
        self._state = _State.GONE
        self._ws = self._line = None
        self._send = _unsendable
        if self._later is None:
            self._tell_lost()  # else when what came before has been dealt with

    def _tell_lost(self) -> None:
        assert self._end is not None
        code, reason = self._end
        with self._guard:
            self._receiver.lost(int(code), reason)
        self._guard = _NO_GUARD  # its own reports to us, and would keep us and our receiver alive

    def overloaded(self) -> None:
        """More is unsent than may be: the line's word, whoever wrote it."""
        self.close(CloseCode.OVERLOADED, "too much is unsent")

    def _fault(self, fault: Exception) -> None:
        try:
            self._on_fault(fault)
        finally:
            self.close(CloseCode.OUR_FAULT)
