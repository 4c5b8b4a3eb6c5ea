"""The whole gateway served in this process, where tasks can be counted and pings made frequent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from peers.server_files import write_server_files

from gateway.app import Gateway
from gateway.clock import SystemClock
from gateway.config.settings import Settings
from gateway.ids import RandomIds
from gateway.net.media_routes import MediaRoute
from gateway.net.server import DrainHooks, PatchbayServer, ServerOptions
from gateway.net.sockets import SocketLimits

QUICK = SocketLimits(ping_idle_s=0.5, ping_reply_s=0.5, goodbye_s=1.0)


@asynccontextmanager
async def gateway_within(folder: Path, limits: SocketLimits = QUICK) -> AsyncIterator[tuple[Gateway, PatchbayServer]]:
    """A running gateway on a free port. On exit, all of it has ended."""
    write_server_files(folder)
    settings = Settings(
        data_dir=folder / "data",
        agents_dir=folder / "agents",
        plugins_dir=folder / "plugins",
        mcp_config=folder / "mcp.json",
    )
    gateway = Gateway(settings, SystemClock(), RandomIds())
    route = MediaRoute.of(gateway.realtime, limits)
    calls = DrainHooks(done=gateway.live_calls.wait_empty, records=gateway.live_calls.wait_empty)
    options = ServerOptions(port=0, drain_s=2.0)
    server = PatchbayServer(gateway.app, [route], drain=gateway.drain, calls=calls, options=options)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield gateway, server
        finally:
            server.stop()
            await task


async def nothing_left(gateway: Gateway, tasks: int, within_s: float) -> float:
    """Wait until no call is running and no more tasks run than before. Returns the time that took, in seconds."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while len(gateway.live_calls) or len(asyncio.all_tasks()) > tasks:
        assert loop.time() - begun < within_s, (len(gateway.live_calls), asyncio.all_tasks())
        await asyncio.sleep(0.02)
    return loop.time() - begun
