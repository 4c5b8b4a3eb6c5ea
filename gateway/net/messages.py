"""Joins WebSocket frames into messages, by the rules of RFC 6455 that picows leaves to its user. Pure code.

picows parses frames, checks opcodes, masks and the shape of control frames, and answers pings. This module checks the
order of fragments (5.4), reserved bits (5.2), strict UTF-8 (8.1), the size of the whole message (1009) and close codes
(7.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

CLOSE_REASON_BYTES = 123  # a control frame holds 125 bytes, and the close code takes two


class Opcode(IntEnum):
    """Frame opcodes (RFC 6455, 11.8)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Close codes (RFC 6455, 7.4.1, and IANA's registry); 1005 and 1006 are never sent."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_CODE = 1005
    BROKEN = 1006
    NOT_UTF8 = 1007
    TOO_BIG = 1009
    OUR_FAULT = 1011
    OVERLOADED = 1013


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message. If `is_text`, the payload is valid UTF-8."""

    payload: bytes
    is_text: bool


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """The peer's close frame. `code` is 1005 if the frame had none."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Violation:
    """The peer broke the protocol or a limit: close with this code. `reason` may be sent to the peer."""

    code: int
    reason: str


Taken: TypeAlias = Message | PeerClosed | Violation | None


def is_utf8(payload: bytes) -> bool:
    """Whether this is valid UTF-8 by RFC 3629: no surrogates, no overlong forms. Fast for ASCII."""
    if payload.isascii():
        return True
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def may_be_sent(code: int) -> bool:
    """Whether a close frame may carry this code (7.4.1, 7.4.2; 1012 to 1014 are registered with IANA)."""
    return code in {1000, 1001, 1002, 1003} or 1007 <= code <= 1014 or 3000 <= code <= 4999


def read_close(payload: bytes) -> PeerClosed | Violation:
    """Read the payload of a close frame (5.5.1): empty, or a code of two bytes and a UTF-8 reason."""
    if not payload:
        return PeerClosed(CloseCode.NO_CODE, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not may_be_sent(code):
        return Violation(CloseCode.PROTOCOL_ERROR, "invalid close code")
    try:
        return PeerClosed(code, payload[2:].decode("utf-8"))
    except UnicodeDecodeError:
        return Violation(CloseCode.NOT_UTF8, "the close reason is not UTF-8")


def fit_reason(reason: str) -> str:
    """Shorten `reason` to what a close frame can hold, at a character boundary."""
    return reason.encode("utf-8", "replace")[:CLOSE_REASON_BYTES].decode("utf-8", "ignore")


class Assembler:
    """Joins frames into messages and reports violations; after a violation or a close frame it ignores all frames."""

    def __init__(self, max_message_bytes: int) -> None:
        self.joining = False  # between the first and the last fragment of a message
        self._max_message_bytes = max_message_bytes
        self._parts = bytearray()  # one buffer, so that a million fragments of one byte do not need a million objects
        self._is_text = False
        self._over = False

    def take(self, opcode: int, fin: bool, reserved: int, size: int, copy: Callable[[], bytes]) -> Taken:
        """Take a frame of `size` payload bytes. `copy` returns them; it is not called if the message is too big."""
        if self._over:
            return None
        taken = self._judge(opcode, fin, reserved, size, copy)
        if isinstance(taken, PeerClosed | Violation):
            self._over = True
            self._parts.clear()
        return taken

    def _judge(self, opcode: int, fin: bool, reserved: int, size: int, copy: Callable[[], bytes]) -> Taken:
        if reserved:
            return Violation(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
        if opcode >= Opcode.CLOSE:
            return _judge_control(opcode, fin, size, copy)
        if opcode > Opcode.BINARY:
            return Violation(CloseCode.PROTOCOL_ERROR, "unknown opcode")
        if (opcode == Opcode.CONTINUATION) != self.joining:
            return Violation(CloseCode.PROTOCOL_ERROR, "fragments are out of order")
        if len(self._parts) + size > self._max_message_bytes:
            return Violation(CloseCode.TOO_BIG, "the message is too big")
        if not self.joining:
            self._is_text = opcode == Opcode.TEXT
            if fin:
                return _whole(copy(), self._is_text)
        self._parts += copy()
        self.joining = not fin
        if self.joining:
            return None
        payload = bytes(self._parts)
        self._parts = bytearray()
        return _whole(payload, self._is_text)


def _whole(payload: bytes, is_text: bool) -> Message | Violation:
    if is_text and not is_utf8(payload):
        return Violation(CloseCode.NOT_UTF8, "the text is not UTF-8")
    return Message(payload, is_text)


def _judge_control(opcode: int, fin: bool, size: int, copy: Callable[[], bytes]) -> Taken:
    if not fin or size > CLOSE_REASON_BYTES + 2:
        return Violation(CloseCode.PROTOCOL_ERROR, "a control frame is fragmented or too long")
    if opcode == Opcode.CLOSE:
        return read_close(copy())
    if opcode in (Opcode.PING, Opcode.PONG):
        return None
    return Violation(CloseCode.PROTOCOL_ERROR, "unknown opcode")
