"""Bounds how many messages of one peer are handled in one turn of the event loop; the rest waits for the next turns.

Of all peers' long messages, one is handled in a turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from picows import WSFrame, WSMsgType

from gateway.net.reading import PausableReading
from gateway.net.transport import thread_cork
from gateway.runtime.fairness import LONG_WORK

# The number of messages of one peer, each more work than sound, after which the other tasks get a turn: one read of
# 16 KiB may bring 450 of them.
MESSAGES_A_TURN = 16


class MessageBudget:
    """Counts a socket's expensive messages, and defers its frames once a turn of the event loop has had enough."""

    __slots__ = ("_handled", "_long", "_on_drained", "_take", "deferred", "reading")

    def __init__(self, take: Callable[[WSMsgType, bool, int, bytes], None], on_drained: Callable[[], None]) -> None:
        """`take` handles a deferred frame. `on_drained` is called after the last one if the connection has ended."""
        self._take = take
        self._on_drained = on_drained
        self._handled = 0  # messages in this turn of the loop
        self._long: Callable[[], None] | None = None  # hands on a long message, which waits for `LONG_WORK`
        self.reading: PausableReading | None = None  # of the connection, while there is one
        # Frames for later turns (kind, last of its message, reserved bits, payload); None while nothing is deferred.
        self.deferred: deque[tuple[WSMsgType, bool, int, bytes]] | None = None

    def count_message(self) -> None:
        """Count one message; after `MESSAGES_A_TURN` of them, the frames that follow are deferred."""
        self._handled += 1
        if self._handled == 1:
            asyncio.get_running_loop().call_soon(self._next_turn)
        elif self._handled == MESSAGES_A_TURN:
            self._begin_to_defer()

    def defer_long(self, hand_on: Callable[[], None]) -> None:
        """Hand a long message on, and the frames behind it, in a turn in which no other long message is handled."""
        self._begin_to_defer()
        self._long = hand_on
        LONG_WORK.add(self._long_turn)

    def _begin_to_defer(self) -> None:
        self.deferred = deque()
        if self.reading is not None:
            self.reading.hold()

    def defer(self, frame: WSFrame) -> None:
        """Keep a frame for a later turn. Only what is left of the current read comes here, so the number is bounded."""
        assert self.deferred is not None
        reserved = frame.rsv1 or frame.rsv2 or frame.rsv3
        self.deferred.append((frame.msg_type, frame.fin, reserved, frame.get_payload_as_bytes()))

    def close(self) -> None:
        """Drop the references to the socket, so that it can be freed without the garbage collector."""
        self._take = _ignore
        self._long = self._long and _do_nothing
        self._on_drained = _do_nothing

    def _long_turn(self) -> None:
        hand_on, self._long = self._long, None
        assert hand_on is not None
        with _corked():
            hand_on()
        self._next_turn()

    def _next_turn(self) -> None:
        """Handle deferred frames until none is left or the budget of this turn is used up."""
        self._handled = 0
        if self._long is not None:
            return
        frames, self.deferred = self.deferred, None
        if frames is None:
            return
        with _corked():
            while frames and self.deferred is None:
                self._take(*frames.popleft())
        if self.deferred is not None:  # the budget is used up: go on in the next turn
            self.deferred = frames
        elif self.reading is not None:
            self.reading.release()
        else:
            self._on_drained()


@contextmanager
def _corked() -> Iterator[None]:
    """Gather what is written meanwhile."""
    cork = thread_cork()
    cork.active = True
    try:
        yield
    finally:
        cork.release()


def _ignore(kind: WSMsgType, fin: bool, reserved: int, payload: bytes) -> None:
    return None


def _do_nothing() -> None:
    return None
