"""How late the loop's timers ring."""

from __future__ import annotations

import asyncio

import pytest
from support.calls.call_rig import later
from support.shown_figures import shown
from support.virtual import run

from gateway.telemetry.figures import Figures
from gateway.telemetry.lag import LoopLag


def test_each_timer_counts_by_how_much_it_was_late() -> None:
    figures, held_ns = Figures(), 0

    def now_ns() -> int:
        return round(asyncio.get_running_loop().time() * 1e9) + held_ns

    async def main() -> None:
        nonlocal held_ns
        with LoopLag(figures, now_ns).measured():
            await later(1.05)
            held_ns += 30_000_000  # the loop did something else before it looked at its timers
            await later(0.1)
        await later(10)

    run(main())
    count, lag_s = shown(figures)["patchbay_loop_lag_seconds"]  # type: ignore[misc]
    assert count == 11
    assert lag_s == pytest.approx(0.03, abs=1e-3)


def test_a_timer_that_rings_early_is_not_late() -> None:
    figures = Figures()

    async def main() -> None:
        with LoopLag(figures, lambda: 0).measured():
            await later(0.15)

    run(main())
    assert shown(figures)["patchbay_loop_lag_seconds"] == (1, 0.0)
