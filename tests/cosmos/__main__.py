"""`python -m tests.cosmos --port 8081`: the stand-in in a process of its own, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cosmos.auth import KEY
from cosmos.server import StandIn


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.cosmos", description="A stand-in for Azure Cosmos DB.")
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; 0 takes a free one")
    parser.add_argument("--key", default=KEY, help="the account key, base64")
    parser.add_argument("--ranges", type=int, default=1, help="physical partitions")
    parser.add_argument("--broken", nargs="*", default=[], help="promises that it does not keep")
    parser.add_argument("--write-regions", type=int, default=1)
    parser.add_argument("--tls", action="store_true", help="https, with a certificate of its own")
    return parser.parse_args()


async def serve(told: argparse.Namespace) -> None:
    """Listen until a signal comes."""
    server = StandIn(
        port=told.port,
        key=told.key,
        ranges=told.ranges,
        broken=told.broken,
        write_regions=told.write_regions,
        tls=told.tls,
    )
    ended = asyncio.Event()

    def end() -> None:
        ended.set()
        server.woken.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    async with server:
        print(f"cosmos stand-in listens on {server.url}", flush=True)
        while not ended.is_set():
            await server.woken.wait()
            server.woken.clear()
            await leave(server, ended)


async def leave(server: StandIn, ended: asyncio.Event) -> None:
    """Refuse connections for as long as a control request asked for."""
    if server.away_s is None:
        return
    await server.stop()
    with suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), server.away_s)
    server.away_s = None
    await server.start()


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
