"""A server that cannot have its port, and one whose parts break: both end, and say so."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from peers.server_files import furnish
from peers.server_house import environment

from gateway.app import Gateway, Overrides
from gateway.binding import bound
from gateway.clock import SystemClock
from gateway.ids import CountingIds
from gateway.settings import Settings

pytestmark = pytest.mark.sockets


def test_a_port_that_is_taken_stops_the_start_before_anything_is_opened(tmp_path: Path) -> None:
    furnish(tmp_path)
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
        "another program has it, so choose another port\n"
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


def test_a_part_that_breaks_takes_the_server_with_it(tmp_path: Path) -> None:
    furnish(tmp_path)
    settings = Settings(
        data_dir=tmp_path / "data",
        agents_dir=tmp_path / "agents",
        plugins_dir=tmp_path / "plugins",
        mcp_config=tmp_path / "none",
    )

    class Broken:
        """A recorder's queue that fails as nothing of ours should."""

        async def run(self) -> None:
            await asyncio.sleep(0.3)
            raise RuntimeError("ours")

    async def main() -> Gateway:
        gateway = Gateway(settings, SystemClock(), CountingIds(), Overrides(inline=True))
        gateway.finisher.run = Broken().run  # type: ignore[method-assign]
        server = gateway.server()
        async with asyncio.timeout(10):
            await server.serve(bound("127.0.0.1", 0, "HERE"))
        return gateway

    assert asyncio.run(main()).fault is not None
