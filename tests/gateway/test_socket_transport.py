from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from call_rig import turn

from gateway.socket_transport import CORKED_MAX_BYTES, Cork, Line, Portions, cork_here


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


def bounded(wire: Wire, max_unsent_bytes: int) -> tuple[Line, list[str]]:
    told: list[str] = []
    return Line(wire, asyncio.BufferedProtocol(), 5.0, max_unsent_bytes, lambda: told.append("overflow")), told


def test_the_bound_counts_what_waits_whoever_wrote_it() -> None:
    wire = Wire()
    line, told = bounded(wire, 100)
    wire.waiting_bytes = 100
    line.write(b"up to the bound")
    assert told == []
    wire.waiting_bytes = 101
    line.writelines([b"past ", b"it"])
    assert told == ["overflow"]


def test_the_bound_holds_for_what_a_cork_held(cork: Cork) -> None:
    wire = Wire()
    line, told = bounded(wire, 100)
    cork.inserted = True
    line.write(b"x" * 200)
    assert told == []
    wire.waiting_bytes = 200
    cork.draw()
    assert told == ["overflow"]


def test_what_a_slow_peer_does_not_take_waits_in_one_piece() -> None:
    wire = Wire()
    line, told = bounded(wire, 5_000)
    wire.waiting_bytes = 1_000
    line.stall()
    for _ in range(2_000):
        line.write(b"\x8a\x00")
    assert (wire.writes, line.unsent_bytes, line.get_write_buffer_size(), told) == ([], 5_000, 5_000, [])
    line.write(b"\x8a\x00")
    assert told == ["overflow"]
    wire.waiting_bytes = 0
    line.go_on()
    assert wire.writes == [b"\x8a\x00" * 2_001]
    line.write(b"at once again")
    assert wire.writes[1:] == [b"at once again"]


def test_what_waited_for_a_slow_peer_stays_before_what_a_cork_holds(cork: Cork) -> None:
    wire = Wire()
    line = line_on(wire)
    line.stall()
    line.write(b"one ")
    cork.inserted = True
    line.write(b"two ")
    line.go_on()
    line.write(b"three")
    assert wire.writes == []
    cork.draw()
    assert wire.writes == [b"one two three"]
    cork.inserted = True
    line.stall()
    line.write(b"four ")
    cork.draw()
    assert wire.writes[1:] == []
    line.write(b"five")
    line.go_on()
    assert wire.writes[1:] == [b"four five"]


def test_what_waits_for_a_slow_peer_is_sent_before_an_end() -> None:
    wire = Wire()

    def ends() -> None:
        line = line_on(wire)
        line.stall()
        line.write(b"goodbye")
        line.close()

    in_a_loop(ends)
    assert (wire.writes, wire.ended) == ([b"goodbye"], ["closed"])


class Tap(Wire):
    """A transport that is read, and whose TLS gives what it holds only when it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    def pause_reading(self) -> None:
        self.steps.append("paused")

    def resume_reading(self) -> None:
        self.steps.append("resumed")

    def _retry_ssl_read(self) -> None:
        self.steps.append("delivered")


def test_reading_goes_on_with_what_tls_holds() -> None:
    tap = Tap()

    async def main() -> None:
        line = line_on(tap)
        line.breathe()
        assert tap.steps == ["paused"]
        await turn()
        assert tap.steps == ["paused", "resumed", "delivered"]

    asyncio.run(main())


def test_a_line_that_closes_while_it_breathes_is_read_to_its_end() -> None:
    tap = Tap()

    async def main() -> None:
        line = line_on(tap)
        line.breathe()
        line.close()
        await turn()
        assert (tap.steps, tap.ended) == (["paused", "resumed"], ["closed"])
        line.gone()

    asyncio.run(main())


def test_portions_leave_turns_between_them_and_none_of_their_bytes_behind() -> None:
    tap = Tap()
    taken: list[bytes] = []

    async def main() -> None:
        portions = Portions(tap, taken.append, 4)
        portions.room[:10] = b"0123456789"
        portions.came(10)
        assert (taken, tap.steps) == ([b"0123"], ["paused"])
        portions.room[:2] = b"ab"
        portions.came(2)  # what the transport had on its way
        await turn()
        assert taken == [b"0123", b"4567"]
        await turn()
        assert (taken[2:], tap.steps) == ([b"89ab"], ["paused", "resumed"])
        portions.room[:9] = b"cdefghijk"
        portions.came(9)
        portions.finish()
        assert taken[3:] == [b"cdef", b"ghij", b"k"]
        await turn()
        assert len(taken) == 6

    asyncio.run(main())
