"""A media socket between a gateway and a far end, in virtual time: each way is a network with a delay."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from gateway.net.sockets import Receiver
from gateway.softphone.far_ends.ear import LinkDelay


class FarStream(Protocol):
    """The pure part of a far end: what arrives goes in, what it answers comes out."""

    def text(self, message: bytes, now_ms: float) -> list[bytes]: ...

    def binary(self, message: bytes, now_ms: float) -> list[bytes]: ...

    def on_time(self, now_ms: float) -> list[bytes]: ...

    @property
    def wake_ms(self) -> float | None: ...


class FarSocket:
    """The gateway's socket, whose messages reach `far_end` after a while, as its own reach the gateway.

    `closed_with` is how the gateway has closed it. `closed` is called at the far end when that has got there.
    """

    unsent_bytes = 0
    peer = "127.0.0.1"
    subprotocol = None

    def __init__(
        self,
        receiver: Receiver,
        far_end: FarStream,
        *,
        out: LinkDelay | None = None,
        back: LinkDelay | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.closed_with: tuple[int, str] | None = None
        self.ended_here = False
        self.sent: list[tuple[float, bytes]] = []  # the gateway's messages, and when each left
        self._receiver = receiver
        self._far_end = far_end
        self._out = out or LinkDelay()
        self._back = back or LinkDelay()
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._lost = False
        # Messages on their way, in order: timers of the same time ring in any order.
        self._outward: deque[Callable[[], None]] = deque()
        self._inward: deque[Callable[[], None]] = deque()
        self.stuck = False  # nothing arrives any more, either way
        receiver.opened(self)

    @property
    def now_ms(self) -> float:
        """The loop's time."""
        return self._loop.time() * 1000

    # ---- the gateway's side

    @property
    def closed(self) -> bool:
        return self.closed_with is not None

    def send_text(self, message: bytes) -> None:
        self._send(self._far_end.text, message)

    def send_binary(self, message: bytes) -> None:
        self._send(self._far_end.binary, message)

    def fast_send(self) -> Callable[[bytes], None]:
        return self.send_text

    def count_message(self) -> None:
        return None

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self.closed_with is None and not self._lost:
            self.closed_with, self.ended_here = (code, reason), True
            if not self.stuck:
                self._carry(self._outward, self._out, self._on_close)
            self._loop.call_soon(self._lose, code, reason)

    def _send(self, take: Callable[[bytes, float], list[bytes]], message: bytes) -> None:
        if self.closed_with is None and not self._lost and not self.stuck:
            self.sent.append((self.now_ms, message))
            self._carry(self._outward, self._out, lambda: self._reaches(take, message))

    # ---- the far end's side

    def says(self, messages: Iterable[bytes]) -> None:
        """The far end sends text messages."""
        for message in messages:
            if not self.stuck:
                self._carry(self._inward, self._back, partial(self._hears, message))

    def speaks(self, message: bytes) -> None:
        """The far end sends a binary message."""
        if not self.stuck:
            self._carry(self._inward, self._back, partial(self._hears, message, binary=True))

    def goes(self, code: int = 1000) -> None:
        """The far end closes the socket; with 1006 it breaks without a close frame."""
        self._carry(self._inward, self._back, partial(self._lose, code, ""))

    def _reaches(self, take: Callable[[bytes, float], list[bytes]], message: bytes) -> None:
        self.says(take(message, self.now_ms))
        self._wake()

    def _wake(self) -> None:
        wake_ms = self._far_end.wake_ms
        if wake_ms is not None:
            self._at(wake_ms, self._on_time)

    def _on_time(self) -> None:
        echoes = self._far_end.on_time(self.now_ms + 1e-6)
        if echoes:
            self.says(echoes)
            self._wake()

    def _hears(self, message: bytes, *, binary: bool = False) -> None:
        if self.closed_with is not None or self._lost:
            return
        if binary:
            self._receiver.binary(message)
        else:
            self._receiver.text(message)

    def _lose(self, code: int, reason: str) -> None:
        if not self._lost:
            self._lost = True
            self._receiver.lost(code, reason)

    def _carry(self, way: deque[Callable[[], None]], delay: LinkDelay, arrives: Callable[[], None]) -> None:
        way.append(arrives)
        self._at(delay.arrival_ms(self.now_ms), lambda: way.popleft()())

    def _at(self, when_ms: float, what: Callable[[], None]) -> None:
        self._loop.call_at(when_ms / 1000, what)
