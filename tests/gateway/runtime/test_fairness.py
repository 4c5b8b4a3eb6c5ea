"""Tests for gateway/runtime/fairness.py."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from support.calls.call_rig import turn

from gateway.config.yaml_lines import read_yaml
from gateway.runtime.fairness import LONG_WORK, STEPS_PER_PAUSE, let_other_threads_run


def test_a_waiting_thread_runs_at_the_first_pause() -> None:
    ready, ran = threading.Event(), threading.Event()

    def other() -> None:
        ready.set()
        ran.set()

    thread = threading.Thread(target=other)
    thread.start()
    step = 0
    while not ran.is_set() and step < 1_000_000:
        let_other_threads_run(step)
        step += 1
    assert ran.is_set()
    thread.join()


def test_only_some_steps_pause() -> None:
    assert STEPS_PER_PAUSE > 1
    let_other_threads_run(0)
    assert read_yaml("[" + "a, " * (3 * STEPS_PER_PAUSE) + "]").value == ["a"] * (3 * STEPS_PER_PAUSE)


def test_long_work_is_done_one_piece_a_turn_also_after_one_that_failed() -> None:
    done: list[str] = []

    def fails() -> None:
        done.append("fails")
        raise ZeroDivisionError

    async def main() -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        LONG_WORK.add(lambda: done.append("first"))
        LONG_WORK.add(fails)
        LONG_WORK.add(lambda: done.append("third"))
        assert done == []
        for number in (1, 2, 3):
            await turn()
            assert len(done) == number
        assert done == ["first", "fails", "third"]
        assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]

    asyncio.run(main())


def test_work_that_a_loop_left_undone_does_not_hold_up_the_next_loop() -> None:
    done: list[str] = []

    async def works() -> None:
        LONG_WORK.add(lambda: done.append("mine"))
        await turn()

    loop = asyncio.new_event_loop()
    loop.call_soon(loop.stop)
    loop.call_soon(LONG_WORK.add, lambda: done.append("left"))
    loop.run_forever()
    loop.close()
    asyncio.run(works())
    assert done == ["mine"]
