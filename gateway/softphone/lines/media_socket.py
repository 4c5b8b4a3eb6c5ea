"""A media socket as a carrier dials it: messages in order, and the far end's own at their time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gateway.softphone.lines.line import LineLost, NowMs

# The caller's clock counts whole milliseconds, so a moment has passed for certain only one later.
CLOCK_MS = 1


class FarStream(Protocol):
    """The pure side of a media socket: what arrives goes in, and its answers, which are texts, come out."""

    def text(self, message: bytes, now_ms: float) -> list[bytes]:
        """A text message has arrived."""
        ...

    def binary(self, message: bytes, now_ms: float) -> list[bytes]:
        """A binary message has arrived."""
        ...

    def on_time(self, now_ms: float) -> list[bytes]:
        """What is due. An early call is harmless."""
        ...

    @property
    def wake_ms(self) -> float | None:
        """When `on_time` has something to send; None: not before more has come."""
        ...

    @property
    def close_code(self) -> int | None:
        """The code with which the far end now closes the socket; None: it stays open."""
        ...


class MediaSocket:
    """One media socket, without compression and without pings."""

    def __init__(self, socket: ClientConnection, far_end: FarStream) -> None:
        self._socket = socket
        self._far_end = far_end

    @classmethod
    async def dial(
        cls,
        url: str,
        far_end: FarStream,
        headers: Mapping[str, str],
        *,
        subprotocol: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> MediaSocket:
        """Open a socket. Raises OSError and websockets' errors."""
        options: dict[str, Any] = {} if tls is None else {"ssl": tls}
        if subprotocol is not None:
            options["subprotocols"] = [Subprotocol(subprotocol)]
        socket = await connect(
            url,
            additional_headers=headers,
            compression=None,
            max_size=None,
            ping_interval=None,
            proxy=None,
            user_agent_header=None,
            **options,
        )
        return cls(socket, far_end)

    @property
    def subprotocol(self) -> str | None:
        """The one that the gateway has chosen."""
        return self._socket.subprotocol

    async def say(self, messages: Iterable[bytes], *, text: bool = True) -> None:
        """Send messages in order. Raises LineLost."""
        try:
            for message in messages:
                await self._socket.send(message, text=text)
        except ConnectionClosed as error:
            raise LineLost("the socket is closed") from error

    async def listen(self, now_ms: NowMs) -> None:
        """Give the far end what arrives, and send what it answers, until the socket has closed."""
        far_end = self._far_end
        try:
            while True:
                message = await self._next(now_ms)
                if message is None:
                    answers = far_end.on_time(now_ms())
                elif isinstance(message, str):
                    answers = far_end.text(message.encode(), now_ms())
                else:
                    answers = far_end.binary(message, now_ms())
                await self.say(answers)
                if far_end.close_code is not None:
                    await self.close(far_end.close_code)
        except (ConnectionClosed, LineLost):
            return

    async def _next(self, now_ms: NowMs) -> str | bytes | None:
        """The next message, or None when the far end has something to do."""
        wake_ms = self._far_end.wake_ms
        if wake_ms is None:
            return await self._socket.recv()
        try:
            async with asyncio.timeout((max(0.0, wake_ms - now_ms()) + CLOCK_MS) / 1000):
                return await self._socket.recv()
        except TimeoutError:
            return None

    async def close(self, code: int = 1000) -> None:
        """Close the socket. Harmless where it is closed."""
        await self._socket.close(code)

    @property
    def ending(self) -> str:
        """How the other side has ended the call."""
        reason = self._socket.close_reason
        return f"the gateway hung up: {reason}" if reason else "the gateway hung up"

    @property
    def close_code(self) -> int | None:
        """The code with which the socket was closed."""
        return self._socket.close_code
