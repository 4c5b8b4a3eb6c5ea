"""The stall watch: who is blamed for which stall, and that a step which holds the loop is found by its name."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from types import FrameType

import pytest

from bench.stalls import CORE_TAKEN, GC_NAME, LOOP_ITSELF, STALL_S, Stall, StallWatch, Used, blame, place_of

NONE = Used(0.0, 0.0, 0.0, 0.0)


def a_stall(*loop_at: str, others_at: tuple[str, ...] = ()) -> Stall:
    return Stall(0.0, NONE, Counter(loop_at), Counter(others_at))


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (Used(0.030, 0.030, 0.0, 0.0), "gateway.calls:take"),
        (Used(0.030, 0.030, 0.020, 0.0), GC_NAME),
        (Used(0.005, 0.028, 0.0, 0.024), "thread recorder: gateway.recording.writer:write"),
        (Used(0.005, 0.006, 0.0, 0.025), CORE_TAKEN),
        (Used(0.001, 0.001, 0.0, 0.001), "gateway.calls:take (waiting)"),
    ],
)
def test_who_used_the_time_is_blamed(used: Used, expected: str) -> None:
    writes = "thread recorder: gateway.recording.writer:write"
    stall = a_stall("gateway.calls:take", "gateway.calls:take", "sessions.call:on_event", others_at=(writes,))
    assert blame(stall, 0.030, used) == expected


def test_a_thread_that_was_not_seen_is_blamed_without_its_name() -> None:
    assert blame(a_stall(), 0.030, Used(0.001, 0.029, 0.0, 0.0)) == "another thread"


def test_a_stall_in_which_no_python_ran_is_the_loops_own() -> None:
    assert blame(a_stall(), 0.030, Used(0.030, 0.030, 0.0, 0.0)) == LOOP_ITSELF


def test_what_was_used_is_told_from_what_had_been_used_before() -> None:
    assert Used(5.0, 8.0, 1.0, 0.5).since(Used(4.0, 6.0, 1.0, 0.25)) == Used(1.0, 2.0, 0.0, 0.25)


def test_a_place_names_the_projects_own_function_and_what_it_called() -> None:
    seen: list[str] = []

    class Lookout:
        """Takes the place of a caller's frame when it is compared."""

        def __lt__(self, other: object) -> bool:
            seen.append(place_of(sys._getframe().f_back))
            return False

    sorted([Lookout(), Lookout()])
    assert seen == [f"{__name__}:test_a_place_names_the_projects_own_function_and_what_it_called"]
    assert place_of(None) == LOOP_ITSELF
    here = sys._getframe()
    assert place_of(here, here) == LOOP_ITSELF


def test_frames_below_the_loop_are_no_place() -> None:
    """A server's own function has started the loop, and does not run while the loop does."""
    namespace: dict[str, object] = {"__name__": "gateway.serving", "get": sys._getframe}
    exec("def serve(step):\n    return step(get())\n", namespace)
    serve = namespace["serve"]
    assert callable(serve)

    def step(base: FrameType) -> tuple[str, str]:
        frame = sys._getframe()
        return place_of(frame), place_of(frame, base)

    without, with_base = serve(step)
    assert without == f"gateway.serving:serve > {with_base}"


def test_a_step_that_holds_the_loop_is_found_by_its_name() -> None:
    def holds_the_loop() -> None:
        until_s = time.perf_counter() + 6 * STALL_S
        while time.perf_counter() < until_s:
            pass

    async def main() -> None:
        watch = StallWatch(asyncio.get_running_loop(), None)
        holds_the_loop()
        async with asyncio.timeout(5):
            while watch.ticks < 2:
                await asyncio.sleep(0)
        found = watch.end()
        assert found.late_ms.max >= 5 * STALL_S * 1000
        assert found.held
        for held in found.held:  # or somebody else's work was on this core just then
            assert held.name in (f"{__name__}:{holds_the_loop.__qualname__}", CORE_TAKEN)

    asyncio.run(main())
