"""A server without its port ends and says so; a server of which a part fails continues and says so."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from peers.server_files import write_server_files
from peers.server_process import environment

from gateway.app import Gateway, Overrides
from gateway.clock import SystemClock
from gateway.config.settings import Settings
from gateway.guard import AGAIN_S
from gateway.ids import CountingIds
from gateway.net.bind import bound

pytestmark = pytest.mark.sockets


def test_a_port_in_use_stops_the_start_before_anything_is_opened(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "serve", "--port", str(port)],
            cwd=tmp_path,
            env=environment(tmp_path, {}),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"patchbay: PATCHBAY_HOST, PATCHBAY_PORT: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "another program uses this port, so choose another\n"
    )
    assert not (tmp_path / "data").exists()


def test_a_port_is_held_from_the_moment_it_is_bound() -> None:
    (first,) = bound("127.0.0.1", 0, "HERE")
    with first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=r"HERE: cannot listen on 127\.0\.0\.1"):
            bound("127.0.0.1", port, "HERE")
    with pytest.raises(OSError, match=r"HERE: cannot listen on 203\.0\.113\.7"):
        bound("203.0.113.7", 0, "HERE")
    for one in bound("localhost", 0, "HERE"):
        one.close()


def test_a_part_that_fails_is_restarted_and_the_server_continues(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_server_files(tmp_path)
    settings = Settings(
        data_dir=tmp_path / "data",
        agents_dir=tmp_path / "agents",
        plugins_dir=tmp_path / "plugins",
        mcp_config=tmp_path / "none",
    )
    began: list[float] = []

    async def broken() -> None:
        began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.1)
        raise SystemExit(4)

    async def main() -> Gateway:
        gateway = Gateway(settings, SystemClock(), CountingIds(), Overrides(inline=True))
        gateway.finisher.run = broken  # type: ignore[method-assign]
        server = gateway.server()

        async def stop_later() -> None:
            while len(began) < 3:
                await asyncio.sleep(0.05)
            server.stop()

        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(stop_later())
            await server.serve(bound("127.0.0.1", 0, "HERE"))
        return gateway

    assert asyncio.run(main()).fault is None
    assert all(later - earlier >= AGAIN_S for earlier, later in pairwise(began))
    logged = [line for line in caplog.records if line.message == "a background job broke and is started again"]
    assert [(line.__dict__["job"], line.__dict__["kind"]) for line in logged][:2] == [("recordings", "SystemExit")] * 2
