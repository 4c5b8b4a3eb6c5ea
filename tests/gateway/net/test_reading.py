"""Tests for gateway/net/reading.py."""

from __future__ import annotations

import asyncio

from support.calls.call_rig import turn

from gateway.net.reading import PausableReading, Portions


class Source(asyncio.Transport):
    """A transport that notes when it is paused and resumed, and whose TLS delivers what it holds only on request."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    def pause_reading(self) -> None:
        self.steps.append("paused")

    def resume_reading(self) -> None:
        self.steps.append("resumed")

    def is_reading(self) -> bool:
        return self.steps[-1:] != ["paused"]

    def _retry_ssl_read(self) -> None:
        self.steps.append("delivered")


def test_reading_continues_in_the_next_turn_with_what_tls_holds() -> None:
    source = Source()

    async def main() -> None:
        PausableReading(source).pause_for_a_turn()
        assert source.steps == ["paused"]
        await turn()
        assert source.steps == ["paused", "resumed", "delivered"]

    asyncio.run(main())


def test_held_reading_continues_only_after_the_release() -> None:
    source = Source()

    async def main() -> None:
        reading = PausableReading(source)
        reading.pause_for_a_turn()
        reading.hold()
        await turn()
        assert source.steps == ["paused"]
        reading.release()
        assert source.steps == ["paused", "resumed", "delivered"]

    asyncio.run(main())


def test_a_reset_is_read_again_unless_reading_is_paused_or_has_ended() -> None:
    source = Source()
    reading = PausableReading(source)
    reading.read_again()
    assert source.steps == ["paused", "resumed", "delivered"]
    reading.hold()
    reading.read_again()
    reading.end()
    reading.release()
    assert source.steps == ["paused", "resumed", "delivered", "paused"]


def test_data_is_handed_on_in_portions_and_none_of_it_is_lost() -> None:
    source = Source()
    taken: list[bytes] = []

    async def main() -> None:
        portions = Portions(source, taken.append, 4)
        portions.buffer[:10] = b"0123456789"
        portions.received(10)
        assert (taken, source.steps) == ([b"0123"], ["paused"])
        portions.buffer[:2] = b"ab"
        portions.received(2)  # data that the transport already had when it was paused
        await turn()
        assert taken == [b"0123", b"4567"]
        await turn()
        assert (taken[2:], source.steps) == ([b"89ab"], ["paused", "resumed"])
        portions.buffer[:9] = b"cdefghijk"
        portions.received(9)
        portions.finish()
        assert taken[3:] == [b"cdef", b"ghij", b"k"]
        await turn()
        assert len(taken) == 6

    asyncio.run(main())
