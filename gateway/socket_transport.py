"""The transport under a WebSocket, with endings that are heard and that end, and with messages that go out together.

What comes in one read (a model's answer in a burst, whatever piled up while the loop was busy) goes out in one write: a
system call for each message is most of what a relayed message costs. So the busier the loop, the cheaper a message.

Closing a TCP connection while the peer still sends makes the kernel answer with a reset, which can overtake our close
frame (RFC 6455, 7.1.1, and RFC 1122, 4.2.2.13): so after a violation the rest is read and thrown away for a moment.
And a graceful close waits for a peer that reads; one that does not is cut off.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

LINGER_S = 1.0
CORKED_MAX_BYTES = 64 * 1024  # of one line; past it they go out at once
_DRAIN_BYTES = 64 * 1024


class _Drain(asyncio.BufferedProtocol):
    """Reads and forgets; everything else goes to the protocol that was there before."""

    def __init__(self, before: asyncio.BufferedProtocol) -> None:
        self._before = before
        self._scratch = bytearray(_DRAIN_BYTES)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._before.connection_lost(exc)


class Cork:
    """While it is in, the lines of one thread gather what is written to them. `draw` sends it."""

    __slots__ = ("_lines", "inserted")

    def __init__(self) -> None:
        self.inserted = False
        self._lines: list[Line] = []

    def holds(self, line: Line) -> None:
        """A line has begun to gather."""
        self._lines.append(line)

    def draw(self) -> None:
        """Send all that was gathered, each line's in one piece."""
        self.inserted = False
        while self._lines:
            self._lines.pop().flush()


class _Here(threading.local):
    """The cork of each thread: lines belong to their loop's."""

    def __init__(self) -> None:
        self.cork = Cork()


_HERE = _Here()


def cork_here() -> Cork:
    """The cork of this thread's lines."""
    return _HERE.cork


class Line:
    """What picows takes for its asyncio transport."""

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.BufferedProtocol, goodbye_s: float) -> None:
        self._write = transport.write
        self.unsent_bytes = transport.get_write_buffer_size  # what a cork holds for the moment is not counted
        self._cork = cork_here()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._transport = transport
        self._protocol = protocol
        self._goodbye_s = goodbye_s
        self._lingering = False
        self._gone = False
        self._deadline: asyncio.TimerHandle | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As `asyncio.BaseTransport` has it."""
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait. Never 0 under a cork: picows writes past its transport where nothing waits."""
        if self._cork.inserted:
            return self.unsent_bytes() + self._held_bytes or 1
        return self.unsent_bytes()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As `asyncio.WriteTransport` has it; gathered under a cork, copied because picows writes over it."""
        if not self._cork.inserted:
            self._write(data)
            return
        held = bytes(data)
        if not self._held:
            self._cork.holds(self)
        self._held.append(held)
        self._held_bytes += len(held)
        if self._held_bytes > CORKED_MAX_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what was gathered."""
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self._gone:
            with suppress(RuntimeError):  # its writing side was shut meanwhile, so nobody waits for it
                self._write(held[0] if len(held) == 1 else b"".join(held))

    def writelines(self, parts: Iterable[bytes | memoryview]) -> None:
        """Write all, copied: picows hands out its header as a view of memory that its next header is written into."""
        self.write(b"".join(parts))

    def breathe(self) -> None:
        """Read on only when everybody else has had a turn: one peer that floods us is not to hold up the others."""
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if not self._gone and not self._transport.is_closing():
            self._transport.resume_reading()

    def is_closing(self) -> bool:
        """As `asyncio.BaseTransport` has it."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what is unsent, then close; cut off a peer that does not take it in time."""
        if not self._lingering and not self._gone:
            self.flush()
            self._transport.close()
            self.abort_in(self._goodbye_s)

    def linger(self) -> None:
        """The last frame is out and the peer is not to be read any more: throw away what comes, and end soon."""
        if self._lingering or self._gone:
            return
        self._lingering = True
        self.flush()
        self._transport.set_protocol(_Drain(self._protocol))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.abort_in(LINGER_S)

    def abort(self) -> None:
        """Close at once; unsent bytes are lost."""
        if not self._gone:
            self._transport.abort()

    def abort_in(self, seconds: float) -> None:
        """Close this much later, unless the connection has ended by itself; the latest call counts."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.abort)

    def gone(self) -> None:
        """The connection has ended."""
        self._gone = True
        self._protocol = asyncio.BufferedProtocol()  # the real one has us, and would be kept alive by us
        if self._deadline is not None:
            self._deadline.cancel()
