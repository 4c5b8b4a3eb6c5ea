from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.socket_transport import CORKED_MAX_BYTES, Cork, Line, cork_here


class Wire(asyncio.Transport):
    """A transport that keeps each write of its own, and what follows."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.ended: list[str] = []
        self.waiting_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if "eof" in self.ended:
            raise RuntimeError("the writing side is shut")
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.waiting_bytes

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended.append("eof")

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.ended.append("drained")

    def close(self) -> None:
        self.ended.append("closed")


@pytest.fixture
def cork() -> Cork:
    return cork_here()


def line_on(wire: Wire) -> Line:
    return Line(wire, asyncio.BufferedProtocol(), 5.0)


def in_a_loop(step: Callable[[], None]) -> None:
    async def main() -> None:
        step()

    asyncio.run(main())


def test_without_a_cork_each_write_goes_out_at_once() -> None:
    wire = Wire()
    line = line_on(wire)
    line.write(b"one")
    line.writelines([b"t", b"wo"])
    assert wire.writes == [b"one", b"two"]
    assert line.get_write_buffer_size() == 0


def test_what_a_cork_held_goes_out_in_order_and_in_one_piece_a_line(cork: Cork) -> None:
    first, second, idle = Wire(), Wire(), Wire()
    lines = line_on(first), line_on(second)
    line_on(idle)
    cork.inserted = True
    scratch = bytearray(b"one ")  # picows writes its next header over the last
    lines[0].write(memoryview(scratch))
    scratch[:] = b"two "
    lines[1].write(b"other")
    lines[0].write(memoryview(scratch))
    assert first.writes == second.writes == []
    cork.draw()
    assert (first.writes, second.writes, idle.writes) == ([b"one two "], [b"other"], [])
    lines[0].write(b"three")
    assert first.writes == [b"one two ", b"three"]


def test_under_a_cork_nothing_may_be_written_past_the_line(cork: Cork) -> None:
    wire = Wire()
    line = line_on(wire)
    cork.inserted = True
    assert line.get_write_buffer_size() > 0  # by 0 picows takes it that the socket is its own to write to
    wire.waiting_bytes = 70
    line.write(b"x" * 30)
    assert line.get_write_buffer_size() == 100
    cork.draw()
    assert line.get_write_buffer_size() == 70


def test_a_cork_holds_no_more_than_its_bound(cork: Cork) -> None:
    wire = Wire()
    line = line_on(wire)
    cork.inserted = True
    piece = bytes(CORKED_MAX_BYTES // 4)
    for _ in range(6):
        line.write(piece)
    assert [len(write) for write in wire.writes] == [5 * len(piece)]
    cork.draw()
    assert b"".join(wire.writes) == 6 * piece


def test_what_is_held_goes_out_before_an_end(cork: Cork) -> None:
    closed, lingering = Wire(), Wire()

    def ends() -> None:
        cork.inserted = True
        for wire, end in ((closed, Line.close), (lingering, Line.linger)):
            line = line_on(wire)
            line.write(b"goodbye")
            end(line)
            line.write(b"too late")
        cork.draw()

    in_a_loop(ends)
    assert (closed.writes[0], closed.ended) == (b"goodbye", ["closed"])
    assert (lingering.writes, lingering.ended) == ([b"goodbye"], ["drained", "eof"])


def test_what_is_held_for_a_line_that_is_gone_is_dropped(cork: Cork) -> None:
    wire = Wire()
    line = line_on(wire)
    cork.inserted = True
    line.write(b"for nobody")
    line.gone()
    cork.draw()
    assert wire.writes == []
