"""A small load, the model and watched processes, on real sockets of loopback."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bench import model
from bench.load import Load, Options, churn
from bench.processes import BenchFailed, Children, clean_environment, cpu_s, free_port, rss_mb

pytestmark = pytest.mark.sockets


def url_of(server: asyncio.Server) -> str:
    return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime?model=bench"


def test_every_frame_of_a_small_load_comes_back() -> None:
    async def main() -> None:
        async with asyncio.timeout(5), await model.serve(0, answer_frames=3) as server:
            options = Options(url_of(server), calls=(2, 4), seconds=0.2, warm_s=0.05, watch=(("server", os.getpid()),))
            steps = await Load(options).run()
        assert [step.calls for step in steps] == [2, 4]
        for step in steps:
            assert step.whole()
            assert step.sent > 0
            assert step.round_trip_ms.count == step.sent
            assert step.answers > 0
            assert step.errors == 0
            assert step.created_ms.count == 2
            assert set(step.cpu_s) == {"load", "server", "serving"}
            assert step.rss_mb["server"] > 1

    asyncio.run(main())


def test_a_load_without_a_server_reports_failed_set_ups() -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            options = Options(
                f"ws://127.0.0.1:{free_port()}/", calls=(2, 4), seconds=0.05, warm_s=0.0, stop_p99_ms=20.0
            )
            steps = await Load(options).run()
        assert len(steps) == 1
        assert not steps[0].whole()
        assert steps[0].failed[0].startswith("2 x set-up: ")

    asyncio.run(main())


def test_churn_counts_completed_set_ups() -> None:
    async def main() -> None:
        async with asyncio.timeout(5), await model.serve(0) as server:
            seen = await churn(Options(url_of(server), seconds=0.2), workers=2)
        assert seen.set_ups > 0
        assert seen.failed == ()
        assert seen.updated_ms.count == seen.set_ups

    asyncio.run(main())


def test_child_processes_end_with_their_block(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.pause()"]
    with Children(tmp_path) as children:
        child = children.start("waiter", command, min(os.sched_getaffinity(0)), clean_environment({}))
        assert rss_mb(child.pid) > 0
    assert child.process.returncode is not None
    assert cpu_s(child.pid) == 0
    assert rss_mb(child.pid) == 0


def test_a_child_process_that_ends_early_is_reported_with_its_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    with Children(tmp_path) as children:
        child = children.start("server", command, min(os.sched_getaffinity(0)), clean_environment({}))
        with pytest.raises(BenchFailed, match=r"server ended with code 1 before it was ready\nno such thing"):
            child.wait_ready(free_port(), 5.0)


def test_the_environment_of_a_measured_process_holds_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("PATCHBAY_STORE", "elsewhere")
    seen = clean_environment({"PATCHBAY_PORT": "1"})
    assert "OPENAI_API_KEY" not in seen
    assert "PATCHBAY_STORE" not in seen
    assert seen["PATCHBAY_PORT"] == "1"
