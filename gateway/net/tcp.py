"""A port of its own for a protocol of frames over TCP, such as Asterisk's AudioSocket.

Such a protocol has no TLS and no credential in its first bytes. So only machines of the allowed networks may connect,
and connections that have not come to a call yet are bounded in number and time.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gateway.auth.requests import Network, is_one_of
from gateway.net.arrivals import Arrivals
from gateway.net.bind import bound
from gateway.net.frame_reader import FrameRules
from gateway.net.framed import FramedHooks, FramedLimits, FramedSocket
from gateway.net.half_open import HalfOpen, HalfOpenConnection
from gateway.net.messages import CloseCode
from gateway.net.sockets import Receiver

# What the system holds of one connection's sound: it is late by as much when the peer has stopped reading for a moment.
SEND_BUFFER_BYTES = 16 * 1024
MAX_HALF_OPEN = 256


@dataclass(frozen=True, slots=True)
class ListenAt:
    """Where to listen, and for whom. `port` 0 means any free port; `names` are the settings, for messages."""

    host: str
    port: int
    networks: tuple[Network, ...]
    names: str = "host, port"


class FramedListener:
    """Listens, and gives each connection its first receiver.

    `counts` holds the connections that came to no call, by reason: `not_allowed`, `too_many`, `no_first_frame`,
    `bad_frame`, `draining`; and with `too_slow` those that were ended because the peer did not read.
    """

    def __init__(
        self,
        rules: FrameRules,
        make_receiver: Callable[[], Receiver],
        at: ListenAt,
        *,
        counts: Counter[str] | None = None,
        limits: FramedLimits | None = None,
        max_half_open: int = MAX_HALF_OPEN,
    ) -> None:
        """A connection is half-open until its receiver hands it to the receiver of a call (`FramedSocket.hand_to`)."""
        self.counts: Counter[str] = Counter() if counts is None else counts
        self._rules = rules
        self._make_receiver = make_receiver
        self._at = at
        self._limits = limits or FramedLimits()
        self._half_open = HalfOpen(max_half_open, max_half_open)  # one PBX has one address
        self._sockets: set[FramedSocket] = set()
        self._all_gone = asyncio.Event()
        self._arrivals: Arrivals | None = None
        self._draining = False

    @property
    def port(self) -> int:
        """The port on which it listens; valid once it has started."""
        assert self._arrivals is not None
        return int(self._arrivals.sockets[0].getsockname()[1])

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._sockets)

    async def start(self) -> None:
        """Listen from now on. Raises OSError, whose text names the settings and says why that is not possible."""
        listening = bound(self._at.host, self._at.port, self._at.names)
        for one in listening:
            # Accepted connections inherit it.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._arrivals = Arrivals(listening, self._half_open, self.accept, tls=None, handshake_timeout_s=0)
        self._arrivals.start()

    def drain(self) -> None:
        """Accept no more, and end the connections that have not come to a call; calls go on."""
        self._draining = True
        if self._arrivals is not None:
            self._arrivals.close()

    async def close(self) -> None:
        """Stop: end all connections, and wait until they have ended."""
        self.drain()
        for each in tuple(self._sockets):
            each.close(CloseCode.GOING_AWAY)
        if self._sockets:
            self._all_gone.clear()
            await self._all_gone.wait()  # each connection has a deadline
        if self._arrivals is not None:
            await self._arrivals.wait_closed()

    def accept(self, half_open: HalfOpenConnection) -> FramedSocket:
        """The protocol of a connection that has been accepted."""
        return FramedSocket(
            self._rules,
            self._limits,
            FramedHooks(
                opened=lambda made: self._opened(made, half_open),
                adopted=lambda: self._half_open.leave(half_open),
                lost=lambda gone: self._lost(gone, half_open),
                count=self._count,
            ),
        )

    def _opened(self, made: FramedSocket, half_open: HalfOpenConnection) -> Receiver | None:
        def cut() -> None:
            if self._draining:
                self._count("draining")
                made.close(CloseCode.GOING_AWAY)
            else:
                self._count("too_many")
                made.abort()

        self._sockets.add(made)
        half_open.cut = cut
        if is_one_of(made.peer, self._at.networks):
            return self._make_receiver()
        self._count("not_allowed")
        return None

    def _lost(self, gone: FramedSocket, half_open: HalfOpenConnection) -> None:
        self._half_open.leave(half_open)
        self._sockets.discard(gone)
        if not self._sockets:
            self._all_gone.set()

    def _count(self, reason: str) -> None:
        self.counts[reason] += 1
