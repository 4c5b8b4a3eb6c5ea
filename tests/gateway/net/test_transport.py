"""Tests for gateway/net/transport.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from support.calls.call_rig import turn

from gateway.net.transport import CORKED_MAX_BYTES, Cork, CorkedTransport, thread_cork


class Wire(asyncio.Transport):
    """A transport that records each write and how it was ended."""

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
    return thread_cork()


def corked_on(wire: Wire) -> CorkedTransport:
    return CorkedTransport(wire, asyncio.BufferedProtocol(), 5.0)


def in_a_loop(step: Callable[[], None]) -> None:
    async def main() -> None:
        step()

    asyncio.run(main())


def test_without_a_cork_each_write_goes_out_at_once() -> None:
    wire = Wire()
    corked = corked_on(wire)
    corked.write(b"one")
    corked.writelines([b"t", b"wo"])
    assert wire.writes == [b"one", b"two"]
    assert corked.get_write_buffer_size() == 0


def test_corked_writes_go_out_in_order_with_one_write_per_transport(cork: Cork) -> None:
    first, second, idle = Wire(), Wire(), Wire()
    transports = corked_on(first), corked_on(second)
    corked_on(idle)
    cork.active = True
    buffer = bytearray(b"one ")  # picows reuses this buffer for its next header
    transports[0].write(memoryview(buffer))
    buffer[:] = b"two "
    transports[1].write(b"other")
    transports[0].write(memoryview(buffer))
    assert first.writes == second.writes == []
    cork.release()
    assert (first.writes, second.writes, idle.writes) == ([b"one two "], [b"other"], [])
    transports[0].write(b"three")
    assert first.writes == [b"one two ", b"three"]


def test_under_a_cork_picows_must_not_write_directly_to_the_socket(cork: Cork) -> None:
    wire = Wire()
    corked = corked_on(wire)
    cork.active = True
    assert corked.get_write_buffer_size() > 0  # at 0 picows would write directly to the socket
    wire.waiting_bytes = 70
    corked.write(b"x" * 30)
    assert corked.get_write_buffer_size() == 100
    cork.release()
    assert corked.get_write_buffer_size() == 70


def test_a_cork_gathers_no_more_than_its_maximum(cork: Cork) -> None:
    wire = Wire()
    corked = corked_on(wire)
    cork.active = True
    piece = bytes(CORKED_MAX_BYTES // 4)
    for _ in range(6):
        corked.write(piece)
    assert [len(write) for write in wire.writes] == [5 * len(piece)]
    cork.release()
    assert b"".join(wire.writes) == 6 * piece


def test_gathered_data_is_sent_before_an_end(cork: Cork) -> None:
    closed, lingering = Wire(), Wire()

    def ends() -> None:
        cork.active = True
        for wire, end in ((closed, CorkedTransport.close), (lingering, CorkedTransport.linger)):
            corked = corked_on(wire)
            corked.write(b"goodbye")
            end(corked)
            corked.write(b"too late")
        cork.release()

    in_a_loop(ends)
    assert (closed.writes[0], closed.ended) == (b"goodbye", ["closed"])
    assert (lingering.writes, lingering.ended) == ([b"goodbye"], ["drained", "eof"])


def test_gathered_data_is_dropped_when_the_connection_has_ended(cork: Cork) -> None:
    wire = Wire()
    corked = corked_on(wire)
    cork.active = True
    corked.write(b"dropped")
    corked.ended()
    cork.release()
    assert wire.writes == []


def bounded(wire: Wire, max_unsent_bytes: int) -> tuple[CorkedTransport, list[str]]:
    reported: list[str] = []
    return CorkedTransport(
        wire, asyncio.BufferedProtocol(), 5.0, max_unsent_bytes, lambda: reported.append("overflow")
    ), reported


def test_the_bound_counts_everything_that_waits_for_the_peer() -> None:
    wire = Wire()
    corked, reported = bounded(wire, 100)
    wire.waiting_bytes = 100
    corked.write(b"up to the bound")
    assert reported == []
    wire.waiting_bytes = 101
    corked.writelines([b"past ", b"it"])
    assert reported == ["overflow"]


def test_the_bound_includes_gathered_data(cork: Cork) -> None:
    wire = Wire()
    corked, reported = bounded(wire, 100)
    cork.active = True
    corked.write(b"x" * 200)
    assert reported == []
    wire.waiting_bytes = 200
    cork.release()
    assert reported == ["overflow"]


def test_data_that_a_slow_peer_does_not_take_waits_in_one_buffer() -> None:
    wire = Wire()
    corked, reported = bounded(wire, 5_000)
    wire.waiting_bytes = 1_000
    corked.stall()
    for _ in range(2_000):
        corked.write(b"\x8a\x00")
    assert (wire.writes, corked.unsent_bytes, corked.get_write_buffer_size(), reported) == ([], 5_000, 5_000, [])
    corked.write(b"\x8a\x00")
    assert reported == ["overflow"]
    wire.waiting_bytes = 0
    corked.unstall()
    assert wire.writes == [b"\x8a\x00" * 2_001]
    corked.write(b"at once again")
    assert wire.writes[1:] == [b"at once again"]


def test_data_that_waited_for_a_slow_peer_is_sent_before_corked_data(cork: Cork) -> None:
    wire = Wire()
    corked = corked_on(wire)
    corked.stall()
    corked.write(b"one ")
    cork.active = True
    corked.write(b"two ")
    corked.unstall()
    corked.write(b"three")
    assert wire.writes == []
    cork.release()
    assert wire.writes == [b"one two three"]
    cork.active = True
    corked.stall()
    corked.write(b"four ")
    cork.release()
    assert wire.writes[1:] == []
    corked.write(b"five")
    corked.unstall()
    assert wire.writes[1:] == [b"four five"]


def test_data_that_waits_for_a_slow_peer_is_sent_before_an_end() -> None:
    wire = Wire()

    def ends() -> None:
        corked = corked_on(wire)
        corked.stall()
        corked.write(b"goodbye")
        corked.close()

    in_a_loop(ends)
    assert (wire.writes, wire.ended) == ([b"goodbye"], ["closed"])


class PausableWire(Wire):
    """A wire that notes when reading is paused and resumed."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    def pause_reading(self) -> None:
        self.steps.append("paused")

    def resume_reading(self) -> None:
        self.steps.append("resumed")


def test_a_paused_transport_that_closes_reads_up_to_the_peers_end() -> None:
    wire = PausableWire()

    async def main() -> None:
        corked = corked_on(wire)
        corked.reading.pause_for_a_turn()
        corked.close()
        await turn()
        assert (wire.steps, wire.ended) == (["paused", "resumed"], ["closed"])
        corked.ended()

    asyncio.run(main())
