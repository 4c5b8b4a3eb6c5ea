from __future__ import annotations

import asyncio
import re

from gateway.clock import LoopClock, SystemClock
from gateway.ids import CountingIds, RandomIds


class ArrangedLoop(asyncio.SelectorEventLoop):
    """A loop whose time is set by the test."""

    now_s = 100.0

    def time(self) -> float:
        return self.now_s


def test_the_system_clock_does_not_go_back() -> None:
    clock = SystemClock()
    first = clock.now_ms()
    assert isinstance(first, int)
    assert clock.now_ms() >= first
    assert clock.wall_s() > 1_700_000_000


def test_the_loop_clock_moves_with_its_loop() -> None:
    loop = ArrangedLoop()
    try:
        clock = LoopClock(loop, wall_start=1_000.0)
        assert (clock.now_ms(), clock.wall_s()) == (100_000, 1_000.0)
        loop.now_s = 100.29
        assert clock.now_ms() == 100_290
        assert abs(clock.wall_s() - 1_000.29) < 1e-6
    finally:
        loop.close()


def test_random_ids_are_long_and_differ() -> None:
    ids = RandomIds()
    found = {ids.new("sess") for _ in range(100)}
    assert len(found) == 100
    assert all(re.fullmatch(r"sess_[A-Za-z0-9_-]{24}", made) for made in found)


def test_counting_ids_count_each_prefix() -> None:
    ids = CountingIds()
    assert [ids.new("sess"), ids.new("item"), ids.new("sess")] == ["sess_1", "item_1", "sess_2"]
