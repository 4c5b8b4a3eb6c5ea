"""The whole gateway served in this process, where its tasks can be counted and its pings made quick."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from peers.server_files import furnish

from gateway.app import Gateway
from gateway.clock import SystemClock
from gateway.ids import RandomIds
from gateway.server import LiveCalls, PatchbayServer, ServerOptions
from gateway.settings import Settings
from gateway.sockets import SocketLimits
from gateway.upgrade import MediaRoute

QUICK = SocketLimits(ping_idle_s=0.5, ping_reply_s=0.5, goodbye_s=1.0)


@asynccontextmanager
async def gateway_within(folder: Path, limits: SocketLimits = QUICK) -> AsyncIterator[tuple[Gateway, PatchbayServer]]:
    """A running gateway on a port of its own; when this ends, so has all of it."""
    furnish(folder)
    settings = Settings(
        data_dir=folder / "data",
        agents_dir=folder / "agents",
        plugins_dir=folder / "plugins",
        mcp_config=folder / "mcp.json",
    )
    gateway = Gateway(settings, SystemClock(), RandomIds())
    board = gateway.switchboard
    route = MediaRoute("/v1/realtime", board.admit, board.accept, board.abandon, limits=limits)
    calls = LiveCalls(done=gateway.board.wait_empty, records=gateway.board.wait_empty)
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
    """Wait until no call is live and no more tasks run than before; how long that took, in seconds."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while len(gateway.board) or len(asyncio.all_tasks()) > tasks:
        assert loop.time() - begun < within_s, (len(gateway.board), asyncio.all_tasks())
        await asyncio.sleep(0.02)
    return loop.time() - begun
