"""Tests for gateway/yielding.py."""

from __future__ import annotations

import threading

from gateway.agent_yaml import read_yaml
from gateway.yielding import EVERY, let_others_run


def test_a_thread_that_waits_runs_at_the_first_pause() -> None:
    ready, ran = threading.Event(), threading.Event()

    def other() -> None:
        ready.set()
        ran.set()

    thread = threading.Thread(target=other)
    thread.start()
    step = 0
    while not ran.is_set() and step < 1_000_000:
        let_others_run(step)
        step += 1
    assert ran.is_set()
    thread.join()


def test_only_some_steps_pause() -> None:
    assert EVERY > 1
    let_others_run(0)
    assert read_yaml("[" + "a, " * (3 * EVERY) + "]").value == ["a"] * (3 * EVERY)
