"""The stall watch: what a stall is attributed to, and that a function which holds the loop is found by its name."""

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
        (Used(0.030, 0.030, 0.0, 0.0), "gateway.calls.running:take"),
        (Used(0.030, 0.030, 0.020, 0.0), GC_NAME),
        (Used(0.005, 0.028, 0.0, 0.024), "thread recorder: gateway.recording.writer:write"),
        (Used(0.005, 0.006, 0.0, 0.025), CORE_TAKEN),
        (Used(0.001, 0.001, 0.0, 0.001), "gateway.calls.running:take (waiting)"),
    ],
)
def test_a_stall_is_attributed_to_what_used_the_time(used: Used, expected: str) -> None:
    writes = "thread recorder: gateway.recording.writer:write"
    stall = a_stall(
        "gateway.calls.running:take", "gateway.calls.running:take", "sessions.call:on_event", others_at=(writes,)
    )
    assert blame(stall, 0.030, used) == expected


def test_a_stall_of_a_thread_that_was_not_sampled_has_no_name() -> None:
    assert blame(a_stall(), 0.030, Used(0.001, 0.029, 0.0, 0.0)) == "another thread"


def test_a_stall_without_python_code_is_attributed_to_the_loop() -> None:
    assert blame(a_stall(), 0.030, Used(0.030, 0.030, 0.0, 0.0)) == LOOP_ITSELF


def test_usage_between_two_moments_is_their_difference() -> None:
    assert Used(5.0, 8.0, 1.0, 0.5).since(Used(4.0, 6.0, 1.0, 0.25)) == Used(1.0, 2.0, 0.0, 0.25)


def test_a_place_names_the_projects_function_and_what_it_called() -> None:
    seen: list[str] = []

    class Probe:
        """Notes the place of the calling frame when it is compared."""

        def __lt__(self, other: object) -> bool:
            seen.append(place_of(sys._getframe().f_back))
            return False

    sorted([Probe(), Probe()])
    assert seen == [f"{__name__}:test_a_place_names_the_projects_function_and_what_it_called"]
    assert place_of(None) == LOOP_ITSELF
    here = sys._getframe()
    assert place_of(here, here) == LOOP_ITSELF


def test_frames_below_the_loop_are_ignored() -> None:
    """The function that started the loop is on the stack, but does not run while the loop runs."""
    namespace: dict[str, object] = {"__name__": "gateway.cli.serve", "get": sys._getframe}
    exec("def serve(step):\n    return step(get())\n", namespace)
    serve = namespace["serve"]
    assert callable(serve)

    def step(base: FrameType) -> tuple[str, str]:
        frame = sys._getframe()
        return place_of(frame), place_of(frame, base)

    without, with_base = serve(step)
    assert without == f"gateway.cli.serve:serve > {with_base}"


def test_a_function_that_holds_the_loop_is_found_by_its_name() -> None:
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
        for held in found.held:  # another process may have used this core meanwhile
            assert held.name in (f"{__name__}:{holds_the_loop.__qualname__}", CORE_TAKEN)

    asyncio.run(main())
