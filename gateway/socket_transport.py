"""The transport under a WebSocket, with endings that are heard and that end, and with messages that go out together.

What comes in one read (a model's answer in a burst, whatever piled up while the loop was busy) goes out in one write: a
system call for each message is most of what a relayed message costs. So the busier the loop, the cheaper a message.

What a peer does not take waits and is counted in one place, whoever wrote it: messages, answers to pings, our
own pings, close frames. Past the transport's high-water mark it waits here in one piece, because thousands of answers
to empty pings, each an object of its own, take a hundred times the memory of their bytes.

Closing a TCP connection while the peer still sends makes the kernel answer with a reset, which can overtake our close
frame (RFC 6455, 7.1.1, and RFC 1122, 4.2.2.13): so after a violation the rest is read and thrown away for a moment.
And a graceful close waits for a peer that reads; one that does not is cut off.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

LINGER_S = 1.0
MAX_UNSENT_BYTES = 16 * 1024 * 1024
CORKED_MAX_BYTES = 64 * 1024  # of one line; past it they go out at once
_DRAIN_BYTES = 64 * 1024
_ROOM_BYTES = 256 * 1024  # as much as asyncio's TLS can hold
_DELIVER = "_retry_ssl_read"


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


def read_on(transport: asyncio.Transport) -> None:
    """Resume reading, and take first what TLS has taken from the socket already. Not from within a protocol's callback.

    aiofastnet 1.2.0 delivers what it holds, decrypted or not, only when the peer sends more, and drops it when the peer
    closes: after a pause the end of a message came as late as the next one. Its own method delivers it. The other
    transports deliver by themselves.
    """
    transport.resume_reading()
    deliver = getattr(transport, _DELIVER, None)
    if deliver is not None:
        deliver()


def drops_unread(transport: asyncio.Transport) -> bool:
    """Whether it throws away what it has decrypted and not delivered when the peer hangs up: asyncio's own TLS does."""
    return transport.get_extra_info("ssl_object") is not None and not hasattr(transport, _DELIVER)


class Portions:
    """Takes all that a transport has at once, and hands it on in portions, with a turn for everybody else between."""

    def __init__(self, transport: asyncio.Transport, take: Callable[[bytes], None], portion_bytes: int) -> None:
        self.room = _HERE.room
        self._transport = transport
        self._take = take
        self._portion_bytes = portion_bytes
        self._rest = bytearray()
        self._paused = False

    def came(self, nbytes: int) -> None:
        """So much has been read into `room`."""
        self._rest += self.room[:nbytes]
        if not self._paused:
            self._hand_on()

    def finish(self) -> None:
        """The connection has ended: nobody else has to wait for the rest."""
        self._paused = False
        while self._rest:
            self._hand_on_one()

    def _hand_on_one(self) -> None:
        portion = bytes(self._rest[: self._portion_bytes])
        del self._rest[: self._portion_bytes]
        self._take(portion)

    def _hand_on(self) -> None:
        if self._rest:
            self._hand_on_one()
        if self._rest:
            if not self._paused:
                self._paused = True
                self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._hand_on)
        elif self._paused:
            self._paused = False
            self._transport.resume_reading()  # closing too: the peer's end may wait behind the pause


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
    """What the lines of a thread share: they belong to its loop."""

    def __init__(self) -> None:
        self.cork = Cork()
        self.room = memoryview(bytearray(_ROOM_BYTES))  # used within one callback only


_HERE = _Here()


def cork_here() -> Cork:
    """The cork of this thread's lines."""
    return _HERE.cork


class Line:
    """What picows takes for its asyncio transport.

    `on_overflow` is called when more than `max_unsent_bytes` wait for the peer, by whatever was written last.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        protocol: asyncio.BufferedProtocol,
        goodbye_s: float,
        max_unsent_bytes: int = MAX_UNSENT_BYTES,
        on_overflow: Callable[[], None] = lambda: None,
    ) -> None:
        self._write = transport.write
        self._waiting = transport.get_write_buffer_size
        self._cork = cork_here()
        self._held = bytearray()  # under a cork, or while the peer does not keep up
        self._stalled = False  # more waits in the transport than its high-water mark
        self._max_unsent_bytes = max_unsent_bytes
        self._on_overflow = on_overflow
        self._transport = transport
        self._protocol = protocol
        self._goodbye_s = goodbye_s
        self._breathing = False
        self._resting = False
        self._lingering = False
        self._gone = False
        self._deadline: asyncio.TimerHandle | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As `asyncio.BaseTransport` has it."""
        return self._transport.get_extra_info(name, default)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for the peer. Under TLS, up to 64 KiB and one message more can be on their way."""
        return self._waiting() + len(self._held)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait. Never 0 under a cork: picows writes past its transport where nothing waits."""
        return self._waiting() + len(self._held) or (1 if self._cork.inserted else 0)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As `asyncio.WriteTransport` has it; gathered under a cork, copied because picows writes over it."""
        if self._cork.inserted:
            if not self._held:
                self._cork.holds(self)
            self._held += data
            if len(self._held) > CORKED_MAX_BYTES:
                self.flush()
            return
        if self._stalled:
            self._held += data
        else:
            self._write(data)
        if self._waiting() + len(self._held) > self._max_unsent_bytes:
            self._on_overflow()

    def flush(self) -> None:
        """Send what was gathered; while the peer does not keep up it goes on waiting here."""
        if not self._held or self._gone:
            return
        if not self._stalled:
            self._send_held()
        if self._waiting() + len(self._held) > self._max_unsent_bytes:
            self._on_overflow()

    def _send_held(self) -> None:
        held, self._held = self._held, bytearray()
        with suppress(RuntimeError):  # its writing side was shut meanwhile, so nobody waits for it
            self._write(held)

    def stall(self) -> None:
        """The transport holds more than its high-water mark: gather here what is written from now on."""
        self._stalled = True

    def go_on(self) -> None:
        """The transport has room again."""
        self._stalled = False
        if self._cork.inserted:
            self._cork.holds(self)
        else:
            self.flush()

    def writelines(self, parts: Iterable[bytes | memoryview]) -> None:
        """Write all, copied: picows hands out its header as a view of memory that its next header is written into."""
        self.write(b"".join(parts))

    def breathe(self) -> None:
        """Read on only when everybody else has had a turn: one peer that floods us is not to hold up the others."""
        self._pause()
        asyncio.get_running_loop().call_soon(self._read_on)

    def rest(self) -> None:
        """Read nothing more until `rested`: what was read already is work for more than one turn."""
        self._resting = True
        self._pause()

    def rested(self) -> None:
        """That work is done. Not from within a protocol's callback."""
        self._resting = False
        self._read_on()

    def _pause(self) -> None:
        if not self._breathing:
            self._breathing = True
            self._transport.pause_reading()

    def _read_on(self) -> None:
        if self._breathing and not self._resting and not self._gone:
            self._breathing = False
            read_on(self._transport)

    def read_again(self) -> None:
        """The peer has reset the connection, which the loop may have told nobody: ask for its end once more."""
        if self._transport.is_reading() and not self._gone:
            self._transport.pause_reading()
            read_on(self._transport)

    def is_closing(self) -> bool:
        """As `asyncio.BaseTransport` has it."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what is unsent, then close; cut off a peer that does not take it in time."""
        if not self._lingering and not self._gone:
            self._send_all()
            if self._breathing:  # TLS reads its peer's goodbye, and a transport that closes cannot be resumed
                self._breathing = False
                self._transport.resume_reading()
            self._transport.close()
            self.abort_in(self._goodbye_s)

    def linger(self) -> None:
        """The last frame is out and the peer is not to be read any more: throw away what comes, and end soon."""
        if self._lingering or self._gone:
            return
        self._lingering = True
        self._send_all()
        self._transport.set_protocol(_Drain(self._protocol))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.abort_in(LINGER_S)

    def _send_all(self) -> None:
        """Before an end: nothing is held back any more."""
        if self._held:
            self._send_held()

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
