"""The two ends of a media socket in memory, with the faults of real sockets as methods: drop, stall, reorder, hang up.

`MemoryLeg` is the far end: a client in a test. The near end is the `Socket` that the gateway's receiver gets. It keeps
the bounds of the real one (`gateway/net/sockets.py`), and like that one calls `lost` once, as the last callback.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from gateway.net.media_routes import Accepted
from gateway.net.sockets import DEFAULT_LIMITS, Receiver, SocketLimits

BROKEN, TOO_BIG, OUR_FAULT, OVERLOADED = 1006, 1009, 1011, 1013


class MemoryLeg:
    """A client's end. `on_message` gets each text message that arrives, `on_closed` the close code and reason, once."""

    def __init__(
        self,
        accepted: Accepted,
        on_message: Callable[[bytes], None],
        on_closed: Callable[[int, str], None],
        limits: SocketLimits = DEFAULT_LIMITS,
    ) -> None:
        self.near = NearEnd(self, accepted, limits)
        self._on_message = on_message
        self._on_closed = on_closed
        self._held: bytes | None = None  # sent after the next message
        self._reorder = False

    def open(self) -> None:
        """Open the connection."""
        self.near.begin()

    # ---- what a client does

    def send(self, message: bytes) -> None:
        """Send a text message."""
        if self._reorder:
            self._reorder, self._held = False, message
            return
        held, self._held = self._held, None
        self.near.arrived(message)
        if held is not None:
            self.near.arrived(held)

    def send_binary(self, message: bytes) -> None:
        """Send a binary message."""
        self.near.arrived(message, binary=True)

    def hang_up(self, code: int = 1000, reason: str = "") -> None:
        """Close with a close frame."""
        self.near.gone(code, reason)

    # ---- what goes wrong

    def drop(self) -> None:
        """Break the connection without a close frame."""
        self.near.gone(BROKEN, "")

    def stall(self) -> None:
        """Read nothing until `resume`; messages to this end wait at the other end."""
        self.near.stalled = True

    def resume(self) -> None:
        """Read again: all waiting messages arrive now."""
        self.near.stalled = False
        self.near.flush()

    def reorder(self) -> None:
        """Let the next message that is sent arrive after the one that follows it."""
        self._reorder = True

    # ---- for the near end

    def receive(self, message: bytes) -> None:
        """A message arrives."""
        self._on_message(message)

    def closed(self, code: int, reason: str) -> None:
        """The other end has closed."""
        self._on_closed(code, reason)


class NearEnd:
    """The gateway's end: a `Socket`."""

    def __init__(self, far: MemoryLeg, accepted: Accepted, limits: SocketLimits) -> None:
        self._far = far
        self._receiver: Receiver = accepted.receiver
        self._on_fault = accepted.on_fault
        self._limits = limits
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._closing: tuple[int, str] | None = None
        self._told_far = False
        self._gone = False
        self.ended_here = False
        self.stalled = False

    # ---- the socket that a receiver has

    @property
    def closed(self) -> bool:
        return self._gone or self._closing is not None

    @property
    def unsent_bytes(self) -> int:
        return self._waiting_bytes

    @property
    def peer(self) -> str:
        return "127.0.0.1"

    @property
    def subprotocol(self) -> str | None:
        return None

    def send_text(self, message: bytes) -> None:
        if self.closed:
            return
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        if self._waiting_bytes > self._limits.max_unsent_bytes:
            self.close(OVERLOADED, "too much is unsent")
        self.flush()

    def send_binary(self, message: bytes) -> None:
        self.send_text(message)

    def fast_send(self) -> Callable[[bytes], None]:
        return self.send_text

    def count_message(self) -> None:
        pass

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self.closed:
            return
        self._closing = (code, reason)
        self.ended_here = True
        loop = asyncio.get_running_loop()
        loop.call_later(self._limits.goodbye_s if self.stalled else 0, self._lost, code, reason)
        self.flush()

    # ---- what the far end does

    def begin(self) -> None:
        """The handshake is complete."""
        self._guarded(lambda: self._receiver.opened(self))

    def arrived(self, message: bytes, *, binary: bool = False) -> None:
        """The far end has sent a message."""
        if self.closed:
            return
        if len(message) > self._limits.max_message_bytes:
            self.close(TOO_BIG, "the message is too big")
        elif binary:
            self._guarded(lambda: self._receiver.binary(message))
        else:
            self._guarded(lambda: self._receiver.text(message))

    def gone(self, code: int, reason: str) -> None:
        """The far end has closed, with or without a close frame."""
        if self.closed:
            return
        self._waiting.clear()
        self._told_far = True
        self._lost(code, reason)

    def flush(self) -> None:
        """Pass on the waiting messages, if the far end reads."""
        while self._waiting and not self.stalled:
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message)
            self._far.receive(message)
        if self._closing is not None and not self.stalled and not self._told_far:
            self._told_far = True
            self._far.closed(*self._closing)

    def _lost(self, code: int, reason: str) -> None:
        if self._gone:
            return
        self._gone = True
        self._guarded(lambda: self._receiver.lost(code, reason))

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as fault:
            self._on_fault(fault)
            self.close(OUR_FAULT)
