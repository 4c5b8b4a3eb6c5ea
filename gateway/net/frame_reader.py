"""Cuts the bytes of one TCP connection into frames whose header says how long they are, some of them in each turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.net.reading import PausableReading
from sessions.errors import WireError

# Frames of one peer that are handled in one turn of the event loop; the others wait for the next turns.
FRAMES_A_TURN = 32


@dataclass(frozen=True, slots=True)
class FrameRules:
    """How frames are cut: `frame_bytes` says how long a frame is, header included, from its first bytes.

    It gets `head_bytes` bytes or more. For a frame that no peer may send it raises WireError: the connection ends.
    """

    head_bytes: int
    frame_bytes: Callable[[bytes], int]


def _no_frame(frame: bytes) -> None:
    """Stands in for `deliver` after the end."""


class FrameReader:
    """Hands whole frames on, and keeps the rest; nothing is read while frames wait for the next turn."""

    __slots__ = ("_broken", "_deferred", "_deliver", "_frame_bytes", "_head_bytes", "_reading", "_rest")

    def __init__(
        self,
        rules: FrameRules,
        reading: PausableReading,
        deliver: Callable[[bytes], None],
        broken: Callable[[str], None],
    ) -> None:
        """`broken` gets the reason why the bytes are no frames. `stop` may be called from within both functions."""
        self._head_bytes = rules.head_bytes
        self._frame_bytes = rules.frame_bytes
        self._reading = reading
        self._deliver = deliver
        self._broken = broken
        self._rest: bytearray | None = bytearray()  # what has been read and not been handled; None after the end
        self._deferred = False  # whether frames in `_rest` wait for the next turn

    def received(self, data: bytes) -> None:
        """Take what was read."""
        rest = self._rest
        if rest is None:
            return
        if not rest and len(data) >= self._head_bytes:
            try:
                whole = self._frame_bytes(data) == len(data)
            except WireError as error:
                self._broken(error.message)
                return
            if whole:  # as nearly always: one frame comes in one read
                self._deliver(data)
                return
        rest += data
        if not self._deferred:
            self._take_frames()

    def finish(self) -> bool:
        """The peer sends no more: hand on all whole frames. Returns whether a part of a frame is left."""
        while self._take_frame():
            pass
        partial = bool(self._rest)
        self.stop()
        return partial

    def stop(self) -> None:
        """Hand nothing on any more. This drops the references to the functions."""
        self._rest = None
        self._deliver = self._broken = _no_frame  # type: ignore[assignment]

    def _take_frames(self) -> None:
        for _ in range(FRAMES_A_TURN):
            if not self._take_frame():
                return
        self._deferred = True
        self._reading.hold()
        asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._deferred = False
        self._take_frames()
        if not self._deferred:
            self._reading.release()

    def _take_frame(self) -> bool:
        """Hand the first frame in `_rest` on; False where there is no whole one."""
        rest = self._rest
        if rest is None or len(rest) < self._head_bytes:
            return False
        try:
            size = self._frame_bytes(bytes(rest[: self._head_bytes]))
        except WireError as error:
            self._broken(error.message)
            return False
        if len(rest) < size:
            return False
        frame = bytes(rest[:size])
        del rest[:size]
        self._deliver(frame)
        return True
