"""Programs are started in a thread, and followed on the loop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import uvloop

from gateway.recording.making import make_in_program
from gateway.runtime.programs import Running, start

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
ECHO = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)\nsys.exit(3)"
ENV = {"PATH": os.defpath}


def run(loop: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[Any, Any, None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(20):
            await main

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(within())


async def ended(program: Running) -> int | None:
    await program.ended.wait()
    return program.returncode


def children_of_this_thread() -> list[int]:
    """The processes that this thread itself has forked."""
    return [int(pid) for pid in Path("/proc/thread-self/children").read_text().split()]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_program_exchanges_data_and_its_exit_code_is_known(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        program = await start(sys.executable, "-c", ECHO, stdin=PIPE, stdout=PIPE, env=ENV)
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is None
        for word in (b"stressed", b"live"):
            program.stdin.write(word + b"\n")
            await program.stdin.drain()
            assert await program.stdout.readline() == word[::-1] + b"\n"
        assert program.returncode is None
        program.stdin.close()
        assert await program.stdout.read() == b""
        assert await ended(program) == 3
        program.kill()  # has no effect any more
        program.close()

    run(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_no_program_is_forked_in_the_thread_of_the_loop(
    loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/thread-self/children").exists():
        pytest.skip("this system does not tell of a thread's children")

    async def main() -> None:
        before = children_of_this_thread()
        program = await start("sleep", "60", env=ENV)
        os.kill(program.pid, 0)
        assert children_of_this_thread() == before
        program.kill()
        assert await ended(program) == -signal.SIGKILL
        program.close()
        making = asyncio.get_running_loop().create_task(make_in_program(["none.json"], 20.0))
        while not making.done():
            assert children_of_this_thread() == before
            await asyncio.sleep(0.005)
        assert len(making.result()) == 1

    run(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_program_that_cannot_be_started_is_reported(
    loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await start(str(tmp_path / "nothing"), env=ENV)
        with pytest.raises(OSError):
            await start("sleep", "1", env=ENV, cwd=tmp_path / "nothing")

    run(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancelled_start_leaves_no_program_behind(
    loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    seconds = f"6{os.getpid()}"

    def left() -> list[Path]:
        found = []
        for one in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if one.read_bytes().split(b"\0")[:2] == [b"sleep", seconds.encode()]:
                    found.append(one)
            except OSError:
                continue
        return found

    async def main() -> None:
        starting = [asyncio.get_running_loop().create_task(start("sleep", seconds, env=ENV)) for _ in range(5)]
        await asyncio.sleep(0)
        for one in starting:
            one.cancel()
        await asyncio.wait(starting)
        assert all(one.cancelled() for one in starting)
        until = time.monotonic() + 10
        await asyncio.sleep(0.2)
        while left():
            assert time.monotonic() < until
            await asyncio.sleep(0.02)

    run(loop, main())
