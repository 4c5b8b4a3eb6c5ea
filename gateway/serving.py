"""`patchbay serve`: the settings, the gateway, the server, and what is printed when it is up."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import sys
from collections.abc import Callable

from gateway.app import Gateway
from gateway.binding import bound
from gateway.clock import SystemClock
from gateway.ids import RandomIds
from gateway.logs import set_up_logging
from gateway.server import PatchbayServer
from gateway.settings import Settings, load_settings
from sessions.errors import VoiceError

UVICORN_LOG = logging.getLogger("uvicorn.error")
GC_THRESHOLDS = (10_000, 20, 50)


def serve(arguments: list[str]) -> int:
    """Serve until told to stop. 0 after a drain, 1 where it cannot start."""
    parser = argparse.ArgumentParser(prog="patchbay serve", description="Run the gateway.")
    parser.add_argument("--host", help="the address to listen on (PATCHBAY_HOST)")
    parser.add_argument("--port", type=int, help="the port to listen on (PATCHBAY_PORT)")
    parser.add_argument("--quiet", action="store_true", help="print nothing when the server is up")
    options = parser.parse_args(arguments)
    given = {name: value for name in ("host", "port") if (value := getattr(options, name)) is not None}
    try:
        settings = load_settings(**given)
        set_up_logging(settings.log_level)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(settings, quiet=options.quiet))
    except (ValueError, VoiceError, OSError) as problem:
        sys.stderr.write(f"patchbay: {problem}\n")
        return 1
    finally:
        UVICORN_LOG.disabled = False


async def _serve(settings: Settings, *, quiet: bool) -> int:
    gateway = Gateway(settings, SystemClock(), RandomIds())
    sockets = bound(
        settings.host, settings.port, "PATCHBAY_HOST, PATCHBAY_PORT"
    )  # before anything is opened, and before tool servers are started

    def up(server: PatchbayServer) -> None:
        UVICORN_LOG.disabled = False
        _spare_calls_from_gc()
        if not quiet:
            _tell(gateway, server, settings)

    UVICORN_LOG.disabled = True  # what keeps the server from starting is said once, and not as a traceback
    try:
        await gateway.server(up).serve(sockets)
    except SystemExit:  # uvicorn's word for a start that failed
        if gateway.fault is not None:
            raise gateway.fault from None
        raise
    finally:
        UVICORN_LOG.disabled = True  # nor is what a second signal cuts off
        for listening in sockets:
            listening.close()
    return 0 if gateway.fault is None else 1


def _spare_calls_from_gc() -> None:
    """Keep collections short: each one stops all calls.

    What start-up made is never garbage (some 100,000 objects: 10 to 30 ms for each full collection). Sound makes no
    cycles, so the counters can be coarse: calls that end leave theirs, a few hundred objects each.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _tell(gateway: Gateway, server: PatchbayServer, settings: Settings) -> None:
    scheme = "https" if settings.tls_cert else "http"
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - shown, not bound
    agents = gateway.shown()
    first = next((agent.name for agent in agents if agent.name == "front-desk"), agents[0].name)
    names = ", ".join(agent.name for agent in agents)
    address = f"{scheme}://{host}:{server.bound_port}"
    at = "" if address == "http://127.0.0.1:8080" else f" --url {address}"
    turns = ("I want to book a table", "two people", "tomorrow at seven pm", "Robinson", "yes please")
    said = " ".join(f"--text '{turn}'" for turn in turns)
    sys.stdout.write(
        f"Patchbay is up at {address}  (agents: {names})\n"
        f"  talk in a browser:   {address}/\n"
        f"  Realtime clients:    {address.replace('http', 'ws', 1)}/v1/realtime?model={first}\n"
        f"  try, in another terminal:\n"
        f"    .venv/bin/patchbay call {first}{at} {said}\n"
    )
    sys.stdout.flush()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import aiofastnet
    import uvloop

    # picows' own transports, on both sides of a call: cheaper for small messages than the loop's.
    return aiofastnet.loop_factory(uvloop.new_event_loop)
