"""The pool with real child processes: killed, frozen, slow to start, writing garbage."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.tools.config import StdioServer, load_mcp_config
from gateway.tools.link import LinkTimes
from gateway.tools.pool import McpPool
from sessions.errors import ToolFailed
from sessions.ports import JsonObject

pytestmark = [pytest.mark.sockets, pytest.mark.timed]
ROOT = Path(__file__).parents[2]
TIMES = LinkTimes(connect_ms=8000, wait_ms=5000, first_retry_ms=50, settle_ms=20)

# A misbehaving server. Its first argument is the folder where it writes down its process id and its calls.
RUDE = """
import asyncio, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / "pid").write_text(str(os.getpid()))
for manner in sys.argv[2:]:
    if manner == "slow": time.sleep(3.5)
    if manner == "garbage": print("Welcome! {", flush=True)
    if manner == "words": print("starting up", file=sys.stderr, flush=True)
    if manner == "silent": time.sleep(60)
    if manner == "ends": sys.exit(3)
    if manner == "child":
        import subprocess
        subprocess.Popen(["sleep", "60"])  # it keeps the pipes open
    if manner == "flood":
        while True: sys.stdout.write("x" * 65536)
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
server = MCPServer("rude", log_level="CRITICAL")

def note(name):
    with open(folder / "calls", "a") as calls: calls.write(name + "\\n")
    return (folder / "calls").read_text().split().count(name)

async def pid() -> str:
    return str(os.getpid())

async def die() -> str:
    note("die"); os._exit(1)

async def die_once() -> str:
    if note("die_once") == 1: os._exit(1)
    return "alive"

async def hang() -> str:
    note("hang"); await asyncio.sleep(60); return ""

async def block() -> str:
    note("block"); time.sleep(60); return ""

async def babble() -> str:
    print("not json at all", flush=True); return "after babble"

async def tell(secret: str) -> str:
    print("the caller said " + secret, file=sys.stderr, flush=True); return "told"

for tool in (pid, die_once, babble, tell):
    server.add_tool(tool, annotations=ToolAnnotations(read_only_hint=True))
for tool in (die, hang, block):
    server.add_tool(tool)
server.run("stdio")
"""


class Rude:
    """A misbehaving server, and the folder with its notes."""

    def __init__(self, folder: Path, *manners: str) -> None:
        self._folder = folder
        script = folder / "rude.py"
        script.write_text(RUDE)
        self.config = StdioServer("rude", sys.executable, (str(script), str(folder), *manners), {}, folder)

    @property
    def pid(self) -> int:
        return int((self._folder / "pid").read_text())

    def calls(self) -> list[str]:
        notes = self._folder / "calls"
        return notes.read_text().split() if notes.exists() else []


def with_pool(rude: Rude, body: Callable[[McpPool], Coroutine[Any, Any, None]], times: LinkTimes = TIMES) -> None:
    async def main() -> None:
        pool = McpPool({"rude": rude.config}, times=times)
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            await pool.start()
            tasks.create_task(pool.run())
            try:
                await body(pool)
            finally:
                pool.close()

    asyncio.run(main())
    assert not alive(rude.pid)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def failure(pool: McpPool, tool: str, deadline_ms: int = 5000) -> tuple[str, float]:
    begin = time.monotonic()
    with pytest.raises(ToolFailed) as failed:
        await pool.call("rude", tool, {}, deadline_ms)
    return failed.value.kind, time.monotonic() - begin


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


def test_a_booking_is_made_by_the_demonstration_configuration(tmp_path: Path) -> None:
    environ = {"BOOKINGS_DB": str(tmp_path / "bookings.db")}
    servers = load_mcp_config(ROOT / "mcp.json", environ)

    async def main() -> str:
        pool = McpPool(servers, times=TIMES)
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(pool.run())
            assert await pool.settled(15_000) == {}
            wanted: JsonObject = {"date": "tomorrow", "time": "7 pm", "party_size": 2, "name": "Ada"}
            result = await pool.call("bookings", "book_table", wanted, 5000)
            pool.close()
        return result.text

    facts = json.loads(asyncio.run(main()))
    assert (facts["booking_id"], facts["name"], facts["time"]) == (1, "Ada", "19:00")
    assert (tmp_path / "bookings.db").exists()


def test_a_server_killed_during_a_call_fails_that_call_and_is_started_again(tmp_path: Path) -> None:
    rude = Rude(tmp_path)

    async def body(pool: McpPool) -> None:
        assert await pool.settled(10_000) == {}
        first = rude.pid
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(failure(pool, "hang", 10_000))
            await until(lambda: rude.calls() == ["hang"])
            os.kill(first, signal.SIGKILL)
            kind, took_s = await call
        assert kind == "protocol_error"
        assert took_s < 5
        second = (await pool.call("rude", "pid", {}, 10_000)).text
        assert int(second) == rude.pid != first
        assert rude.calls() == ["hang"]

    with_pool(rude, body)


def test_a_server_whose_child_keeps_its_pipes_open_ends_with_its_own_process(tmp_path: Path) -> None:
    rude = Rude(tmp_path, "child")

    async def body(pool: McpPool) -> None:
        assert await pool.settled(10_000) == {}
        kind, took_s = await failure(pool, "die", 20_000)
        assert kind == "protocol_error"
        assert took_s < 10

    with_pool(rude, body)


def test_a_read_only_call_that_kills_its_server_is_repeated_once(tmp_path: Path) -> None:
    rude = Rude(tmp_path)

    async def body(pool: McpPool) -> None:
        assert (await pool.call("rude", "die_once", {}, 10_000)).text == "alive"
        assert rude.calls() == ["die_once", "die_once"]
        assert (await failure(pool, "die", 10_000))[0] == "protocol_error"
        assert rude.calls().count("die") == 1

    with_pool(rude, body)


def test_an_idle_server_that_dies_is_started_again_without_a_call(tmp_path: Path) -> None:
    rude = Rude(tmp_path)

    async def body(pool: McpPool) -> None:
        assert await pool.settled(10_000) == {}
        first = rude.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: pool.problem("rude") is not None)
        await until(lambda: pool.problem("rude") is None)
        assert rude.pid != first

    with_pool(rude, body)


@pytest.mark.parametrize("tool", ["hang", "block"])
def test_a_call_that_hangs_is_abandoned_at_its_deadline(tmp_path: Path, tool: str) -> None:
    rude = Rude(tmp_path)

    async def body(pool: McpPool) -> None:
        assert await pool.settled(10_000) == {}
        kind, took_s = await failure(pool, tool, 300)
        assert kind == "timeout"
        assert 0.29 < took_s < 4

    with_pool(rude, body)


def test_a_frozen_server_delays_each_call_to_its_deadline_and_no_longer(tmp_path: Path) -> None:
    rude = Rude(tmp_path)

    async def body(pool: McpPool) -> None:
        assert await pool.settled(10_000) == {}
        os.kill(rude.pid, signal.SIGSTOP)
        for _ in range(2):
            kind, took_s = await failure(pool, "pid", 300)
            assert kind == "timeout"
            assert took_s < 4
        os.kill(rude.pid, signal.SIGCONT)
        assert int((await pool.call("rude", "pid", {}, 10_000)).text) == rude.pid

    with_pool(rude, body)


def test_a_call_waits_for_a_slow_start(tmp_path: Path) -> None:
    rude = Rude(tmp_path, "slow")

    async def body(pool: McpPool) -> None:
        assert pool.tools("rude") == ()
        kind, took_s = await failure(pool, "pid", 500)
        assert kind == "timeout"
        assert took_s < 3  # the start takes longer
        assert int((await pool.call("rude", "pid", {}, 15_000)).text) == rude.pid

    with_pool(rude, body, LinkTimes(connect_ms=15_000, wait_ms=15_000, first_retry_ms=50, settle_ms=20))


def test_a_servers_own_start_timeout_is_used(tmp_path: Path) -> None:
    rude = Rude(tmp_path, "slow")
    rude.config = replace(rude.config, startup_ms=20_000)

    async def body(pool: McpPool) -> None:
        async with asyncio.timeout(0.5):
            with pytest.raises(ToolFailed, match=r"is still starting\. It was not done"):
                await pool.call("rude", "pid", {}, 300)
        assert int((await pool.call("rude", "pid", {}, 15_000)).text) == rude.pid

    with_pool(rude, body, LinkTimes(connect_ms=1000))


def test_a_server_that_dies_at_once_is_named_with_its_exit_code(tmp_path: Path) -> None:
    rude = Rude(tmp_path, "ends")

    async def body(pool: McpPool) -> None:
        assert await pool.settled(10_000) == {"rude": "its program ended with code 3"}
        with pytest.raises(ToolFailed, match="It was not done"):
            await pool.call("rude", "pid", {}, 1000)

    with_pool(rude, body, LinkTimes(connect_ms=5000))


@pytest.mark.parametrize(
    ("manner", "problem"), [("silent", "it did not answer in time"), ("flood", "it writes a line that does not end")]
)
def test_a_server_that_never_completes_the_handshake_is_stopped_and_named(
    tmp_path: Path, manner: str, problem: str
) -> None:
    rude = Rude(tmp_path, manner)

    async def body(pool: McpPool) -> None:
        assert await pool.settled(10_000) == {"rude": problem}

    with_pool(rude, body, LinkTimes(connect_ms=2000, last_retry_ms=60_000, first_retry_ms=60_000))


def test_garbage_on_stdout_affects_no_call(tmp_path: Path) -> None:
    rude = Rude(tmp_path, "garbage")

    async def body(pool: McpPool) -> None:
        assert int((await pool.call("rude", "pid", {}, 10_000)).text) == rude.pid
        assert (await pool.call("rude", "babble", {}, 5000)).text == "after babble"

    with_pool(rude, body)


def test_stderr_is_logged_until_callers_words_may_be_in_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rude = Rude(tmp_path, "words")

    async def body(pool: McpPool) -> None:
        await pool.call("rude", "tell", {"secret": "swordfish"}, 10_000)

    with caplog.at_level(logging.DEBUG, logger="gateway"):
        with_pool(rude, body)
    logged = [record.__dict__ for record in caplog.records]
    assert "starting up" in [fields.get("line") for fields in logged]
    assert "swordfish" not in str(logged)


def test_a_program_that_does_not_exist_is_named() -> None:
    async def main() -> dict[str, str]:
        pool = McpPool({"none": StdioServer("none", "/no/such/program", (), {}, ROOT)}, times=TIMES)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(pool.run())
            problems = await pool.settled(5000)
            pool.close()
        return problems

    assert asyncio.run(main())["none"].startswith("FileNotFoundError")
