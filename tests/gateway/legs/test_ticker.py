"""One timer for many calls: when they tick, that they do not drift, and that one call's fault is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest
from support.calls.call_rig import later
from support.virtual import VirtualLoop, run

from gateway.clock import LoopClock
from gateway.legs.ticker import PHASES, SLOT_MS, TICK_MS, Beat, Ticker


class Calls:
    """A ticker, and calls that note when they tick."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.clock = LoopClock(loop, 0.0)
        self.ticker = Ticker(self.clock)
        self.begin_ms = self.clock.now_ms()
        self.faults: list[tuple[str, BaseException]] = []

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms() - self.begin_ms

    def join(self, name: str, again_ms: Callable[[], float | None] = lambda: TICK_MS) -> tuple[Beat, list[int]]:
        ticks: list[int] = []

        def tick(now_ms: int) -> float | None:
            ticks.append(now_ms - self.begin_ms)
            return again_ms()

        return self.ticker.join(tick, lambda error: self.faults.append((name, error))), ticks

    def stall(self, ms: int) -> None:
        """The loop does nothing for so long."""
        self.loop.jump(ms / 1000)


def steps(ticks: list[int]) -> list[int]:
    return [after - before for before, after in pairwise(ticks)]


def test_calls_tick_every_20_ms_and_are_spread_over_the_phases() -> None:
    async def main() -> None:
        calls = Calls()
        joined = [calls.join(str(n)) for n in range(2 * PHASES)]
        for beat, _ in joined:
            beat.wake(0)
        await later(1)
        for _, ticks in joined:
            assert steps(ticks) == [TICK_MS] * (len(ticks) - 1)
            assert len(ticks) in (50, 51)
        first = sorted(ticks[0] % TICK_MS for _, ticks in joined)
        assert first == [n * SLOT_MS for n in range(PHASES) for _ in range(2)]

    run(main())


def test_a_place_that_is_free_again_is_taken() -> None:
    async def main() -> None:
        calls = Calls()
        beats = [calls.join(str(n))[0] for n in range(PHASES)]
        beats[2].leave()
        assert calls.join("new")[0].phase == beats[2].phase
        beats[2].leave()  # harmless
        beats[2].wake(0)

    run(main())


def test_a_late_tick_moves_no_other_and_a_stall_is_one_tick() -> None:
    async def main() -> None:
        calls = Calls()
        beat, ticks = calls.join("a")
        beat.wake(0)
        await later(0.05)
        calls.stall(7)
        await later(0.05)
        calls.stall(500)
        await later(0.1)
        grid = ticks[0] % TICK_MS
        late = [ms for ms in ticks if ms % TICK_MS != grid]
        assert len(late) <= 2
        assert max(steps(ticks)) >= 480
        assert min(steps(ticks)) > 0
        assert steps(ticks)[-3:] == [TICK_MS] * 3
        assert ticks[-1] % TICK_MS == grid

    run(main())


def test_a_call_ticks_when_it_wants_to_to_the_nearest_tick() -> None:
    async def main() -> None:
        calls = Calls()
        waits: list[float | None] = [200, 195, 204, 1, None]
        beat, ticks = calls.join("a", lambda: waits.pop(0))
        beat.wake(0)
        await later(2)
        assert steps(ticks) == [200, 200, 200, 20]
        assert calls.ticker.idle
        beat.wake(100)
        beat.wake(300)  # the earlier one is kept
        beat.wake(40)
        waits += [None]
        woken_ms = calls.now_ms
        await later(1)
        assert abs(ticks[-1] - woken_ms - 40) <= TICK_MS / 2
        assert len(ticks) == 6
        assert calls.ticker.idle

    run(main())


def test_there_is_no_timer_when_nobody_is_there() -> None:
    async def main() -> None:
        calls = Calls()
        assert calls.ticker.idle
        beats = [calls.join(str(n))[0] for n in range(3)]
        assert calls.ticker.idle
        for beat in beats:
            beat.wake(0)
        await later(0.1)
        assert not calls.ticker.idle
        for beat in beats:
            beat.leave()
        assert calls.ticker.idle

    run(main())


class Odd(BaseException):
    """As foreign code may raise it."""


@pytest.mark.parametrize("error", [ValueError("no"), Odd(), asyncio.CancelledError()])
def test_a_tick_that_raises_costs_its_own_call_only(error: BaseException) -> None:
    async def main() -> None:
        calls = Calls()

        def breaks() -> float:
            raise error

        one, ticks = calls.join("one", breaks)
        other, others = calls.join("other")
        for beat in (one, other):
            beat.wake(0)
        await later(0.2)
        assert len(ticks) == 1
        assert calls.faults == [("one", error)]
        assert len(others) >= 9
        other.leave()
        assert calls.ticker.idle

    run(main())


def test_a_fault_that_cannot_be_handed_over_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        calls = Calls()

        def breaks(now_ms: int) -> None:
            raise ValueError("words of a caller")

        def refuses(error: BaseException) -> None:
            raise RuntimeError("words of a caller")

        calls.ticker.join(breaks, refuses).wake(0)
        beat, ticks = calls.join("other")
        beat.wake(0)
        await later(0.1)
        assert len(ticks) >= 4
        beat.leave()

    run(main())
    assert "could not be handed" in caplog.text
    assert "words of a caller" not in caplog.text


def test_calls_may_come_and_go_within_a_tick() -> None:
    async def main() -> None:
        calls = Calls()
        new: list[tuple[Beat, list[int]]] = []

        def changes() -> float | None:
            gone.leave()
            new.append(calls.join("new"))
            new[0][0].wake(0)
            own.leave()
            return TICK_MS  # of a call that has left, this means nothing

        own, own_ticks = calls.join("own", changes)
        for _ in range(PHASES - 1):
            calls.join("filler")
        gone, gone_ticks = calls.join("gone")  # in the same slot
        assert gone.phase == own.phase
        own.wake(0)
        gone.wake(0)
        await later(0.1)
        ((beat, ticks),) = new
        assert (len(own_ticks), gone_ticks) == (1, [])
        assert len(ticks) >= 4
        beat.leave()
        assert calls.ticker.idle

    run(main())
