"""`patchbay serve`: loads the settings, starts the gateway and the server, and prints where the server is."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from gateway.app import Gateway
from gateway.cli.announce import metrics_at, own_program, print_error, print_ready, ready_at, welcome
from gateway.clock import SystemClock
from gateway.config.settings import Settings, load_settings
from gateway.ids import RandomIds
from gateway.logs import set_up_logging
from gateway.net.bind import MAX_PORT, bound
from gateway.net.server import PatchbayServer
from gateway.runtime.runner import run_to_end
from sessions.errors import VoiceError

UVICORN_LOG = logging.getLogger("uvicorn.error")
FORCED = 3  # the exit code where running calls were cut off
# A collection of the youngest 2,500 objects takes 2 to 5 ms, of ten thousand 10 ms. A collection of the next generation
# takes 20 ms with 150 calls, and comes after 200,000 objects.
GC_THRESHOLDS = (2_500, 80, 50)


def serve(arguments: list[str]) -> int:
    """Serve until stopped. Returns 0 after a drain, 1 where it cannot start, 3 where a second signal ended it."""
    as_json = "--json" in arguments
    parser = _Parser(as_json)
    parser.add_argument("--host", help="the address to listen on (PATCHBAY_HOST)")
    parser.add_argument("--port", type=_port, help="the port to listen on (PATCHBAY_PORT)")
    parser.add_argument("--quiet", action="store_true", help="print nothing when the server is ready")
    parser.add_argument("--json", action="store_true", help="print one JSON object when the server is ready")
    options = parser.parse_args(arguments)
    given = {name: value for name in ("host", "port") if (value := getattr(options, name)) is not None}
    try:
        settings = load_settings(**given)
        set_up_logging(settings.log_level, settings.telemetry.trace)
        return run_to_end(_serve(settings, quiet=options.quiet, as_json=as_json), _loop_factory())
    except (ValueError, VoiceError, OSError) as problem:
        print_error(str(problem), as_json=as_json)
        return 1
    finally:
        UVICORN_LOG.disabled = False


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= MAX_PORT:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


class _Parser(argparse.ArgumentParser):
    """Reports usage errors like the other commands."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(prog="patchbay serve", description="Run the gateway.", allow_abbrev=False)
        self._as_json = as_json

    def error(self, message: str) -> NoReturn:
        """Report a usage error and exit with code 2."""
        if self._as_json:
            print_error(message, as_json=True)
            self.exit(2)
        super().error(message)


async def _serve(settings: Settings, *, quiet: bool, as_json: bool) -> int:
    gateway = Gateway(settings, SystemClock(), RandomIds())
    sockets = bound(
        settings.host,
        settings.port,
        "PATCHBAY_HOST, PATCHBAY_PORT",
        # Bind first: before anything is opened, and before tool servers are started.
    )

    def up(server: PatchbayServer) -> None:
        UVICORN_LOG.disabled = False
        _shorten_gc()
        if not quiet:
            _print_ready(gateway, server, settings, as_json=as_json)

    # A failed start is reported once, without uvicorn's traceback.
    UVICORN_LOG.disabled = True
    served = gateway.server(up)
    try:
        await served.serve(sockets)
    except SystemExit:  # uvicorn raises this for a failed start
        if gateway.fault is not None:
            raise gateway.fault from None
        raise
    finally:
        UVICORN_LOG.disabled = True  # nor is what a second signal cuts off logged
        for listening in sockets:
            listening.close()
    if served.force_exit:
        return FORCED
    return 0 if gateway.fault is None else 1


def _shorten_gc() -> None:
    """Keep garbage collections short, because each one stops all calls.

    Objects made at start are almost never garbage: some hundred in 100,000 (a full collection takes 10 to 30 ms). Sound
    makes no reference cycles, so collections may be rare: a call that ends leaves a few hundred objects in cycles.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


def _print_ready(gateway: Gateway, server: PatchbayServer, settings: Settings, *, as_json: bool) -> None:
    agents = tuple(agent.name for agent in gateway.shown())
    ready = ready_at(settings.host, server.bound_port, agents, tls=settings.tls_cert is not None)
    if settings.metrics_listen is not None and gateway.metrics.port is not None:
        ready = replace(ready, metrics_url=metrics_at(settings.metrics_listen.host, gateway.metrics.port))
    keys = bool(settings.api_key_entries)
    print_ready(ready.line() if as_json else welcome(ready, own_program(), keys=keys))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import aiofastnet
    import uvloop

    # picows' own transports on both sides of a call: for small messages they cost less than the loop's.
    return aiofastnet.loop_factory(uvloop.new_event_loop)
