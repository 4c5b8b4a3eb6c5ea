"""Frames are cut from reads of any size, and handled some in each turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from support.calls.call_rig import turn
from support.calls.memory_transport import MemoryTransport
from support.virtual import run

from gateway.net.frame_reader import FRAMES_A_TURN, FrameReader, FrameRules
from gateway.net.reading import PausableReading
from sessions.errors import WireError


def size_of(head: bytes) -> int:
    """A frame of the test's protocol: two length bytes, the first of them below 200, and so many bytes."""
    if head[0] >= 200:
        raise WireError("too long")
    return 2 + int.from_bytes(head[:2], "big")


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(2, "big") + payload


class Reads:
    """A reader, its transport, and what it hands on."""

    def __init__(self, deliver: Callable[[bytes], None] | None = None) -> None:
        self.frames: list[bytes] = []
        self.broken: list[str] = []
        self.wire = MemoryTransport(asyncio.Protocol())
        self.reader = FrameReader(
            FrameRules(2, size_of), PausableReading(self.wire), deliver or self.frames.append, self.broken.append
        )


def in_a_loop(step: Callable[[], None]) -> None:
    async def main() -> None:
        step()

    run(main())


def cut(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    while data:
        size = next(sizes, len(data))
        yield data[:size]
        data = data[size:]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=100), st.lists(st.integers(1, 500)))
def test_frames_are_whole_and_in_order_however_they_are_read(payloads: list[bytes], sizes: list[int]) -> None:
    async def main() -> None:
        reads = Reads()
        for piece in cut(b"".join(map(frame, payloads)), iter(sizes)):
            reads.reader.received(piece)
            while not reads.wire.reading:
                await turn()
        assert reads.frames == list(map(frame, payloads))
        assert not reads.reader.finish()

    run(main())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes_are_frames_or_break_the_connection_with_a_reason(pieces: list[bytes]) -> None:
    def step() -> None:
        reads = Reads()
        for piece in pieces:
            reads.reader.received(piece)
            if reads.broken:
                break
        assert reads.broken in ([], ["too long"])
        assert b"".join(pieces).startswith(b"".join(reads.frames))

    in_a_loop(step)


def test_of_a_flood_only_so_many_frames_are_handled_in_a_turn_and_nothing_is_read_meanwhile() -> None:
    async def main() -> None:
        reads = Reads()
        reads.reader.received(frame(b"x") * (FRAMES_A_TURN + 1))
        assert (len(reads.frames), reads.wire.reading) == (FRAMES_A_TURN, False)
        await turn()
        assert (len(reads.frames), reads.wire.reading) == (FRAMES_A_TURN + 1, True)

    run(main())


def test_at_the_end_whole_frames_are_handed_on_and_a_part_of_one_is_told() -> None:
    def step() -> None:
        reads = Reads()
        reads.reader.received(frame(b"x") * 2 * FRAMES_A_TURN + frame(b"part")[:3])
        assert reads.reader.finish()
        assert len(reads.frames) == 2 * FRAMES_A_TURN
        reads.reader.received(frame(b"late"))
        assert len(reads.frames) == 2 * FRAMES_A_TURN

    in_a_loop(step)


def test_a_reader_may_be_stopped_by_a_frame_and_reads_on_for_the_end_of_the_connection() -> None:
    async def main() -> None:
        def stop(frame: bytes) -> None:
            seen.append(frame)
            if len(seen) == FRAMES_A_TURN:
                reads.reader.stop()

        seen: list[bytes] = []
        reads = Reads(stop)
        reads.reader.received(frame(b"x") * 100)
        await turn()
        assert (len(seen), reads.wire.reading) == (FRAMES_A_TURN, True)

    run(main())
