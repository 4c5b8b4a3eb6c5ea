"""A TCP connection in memory: a transport under an asyncio protocol, whose far end is the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class MemoryTransport(asyncio.Transport):
    """Records what is written and when, and how the near end has ended the connection.

    With `full` True nothing that is written leaves.
    """

    def __init__(
        self, protocol: asyncio.Protocol, *, peer: str = "127.0.0.1", now_ms: Callable[[], int] = lambda: 0
    ) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.at_ms: list[int] = []
        self.ended: list[str] = []  # `eof`, `closed`, `aborted`
        self.reading = True
        self.full = False
        self._unsent_bytes = 0
        self._protocol = protocol
        self._peer = peer
        self._now_ms = now_ms
        self._lost = False
        protocol.connection_made(self)

    # ---- what the near end does

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not {"eof", "aborted"} & set(self.ended), "written after the end"
        if self.full:
            self._unsent_bytes += len(data)
            return
        self.written.append(bytes(data))
        self.at_ms.append(self._now_ms())

    def get_write_buffer_size(self) -> int:
        return self._unsent_bytes

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self._peer, 40_000) if name == "peername" else default

    def is_closing(self) -> bool:
        return self._lost or "closed" in self.ended or "aborted" in self.ended

    def write_eof(self) -> None:
        self.ended.append("eof")

    def close(self) -> None:
        self.ended.append("closed")
        self._lose(None)

    def abort(self) -> None:
        self.ended.append("aborted")
        self._lose(None)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    # ---- what the far end does

    def says(self, data: bytes) -> None:
        """Send bytes, which arrive in one read."""
        self._protocol.data_received(data)

    def goes(self, error: Exception | None = None) -> None:
        """End the connection; with an error, break it."""
        if error is None and self._protocol.eof_received():
            return
        self._lose(error)

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._lost

    @property
    def got(self) -> bytes:
        """All that the far end has received."""
        return b"".join(self.written)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)
