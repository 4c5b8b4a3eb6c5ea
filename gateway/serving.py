"""`patchbay serve`: the settings, the gateway, the server, and what is printed when it is up."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import sys
from collections.abc import Callable
from typing import NoReturn

from gateway.announcing import own_program, ready_at, tell_fault, tell_ready, welcome
from gateway.app import Gateway
from gateway.binding import MAX_PORT, bound
from gateway.clock import SystemClock
from gateway.ids import RandomIds
from gateway.logs import set_up_logging
from gateway.runner import run_to_end
from gateway.server import PatchbayServer
from gateway.settings import Settings, load_settings
from sessions.errors import VoiceError

UVICORN_LOG = logging.getLogger("uvicorn.error")
FORCED = 3  # the exit code where calls were cut
# The youngest 2,500 objects take 2 to 5 ms, ten thousand take 10. A collection of the next age, which takes 20 ms once
# 150 calls have begun, comes after 200,000.
GC_THRESHOLDS = (2_500, 80, 50)


def serve(arguments: list[str]) -> int:
    """Serve until told to stop. 0 after a drain, 1 where it cannot start, 3 where a second signal cut it short."""
    as_json = "--json" in arguments
    parser = _Parser(as_json)
    parser.add_argument("--host", help="the address to listen on (PATCHBAY_HOST)")
    parser.add_argument("--port", type=_port, help="the port to listen on (PATCHBAY_PORT)")
    parser.add_argument("--quiet", action="store_true", help="print nothing when the server is up")
    parser.add_argument("--json", action="store_true", help="print one JSON object when the server is up")
    options = parser.parse_args(arguments)
    given = {name: value for name in ("host", "port") if (value := getattr(options, name)) is not None}
    try:
        settings = load_settings(**given)
        set_up_logging(settings.log_level)
        return run_to_end(_serve(settings, quiet=options.quiet, as_json=as_json), _loop_factory())
    except (ValueError, VoiceError, OSError) as problem:
        tell_fault(str(problem), as_json=as_json)
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
    """Tells faults as the rest does."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(prog="patchbay serve", description="Run the gateway.", allow_abbrev=False)
        self._as_json = as_json

    def error(self, message: str) -> NoReturn:
        """Exit with 2, used wrongly."""
        if self._as_json:
            tell_fault(message, as_json=True)
            self.exit(2)
        super().error(message)


async def _serve(settings: Settings, *, quiet: bool, as_json: bool) -> int:
    gateway = Gateway(settings, SystemClock(), RandomIds())
    sockets = bound(
        settings.host, settings.port, "PATCHBAY_HOST, PATCHBAY_PORT"
    )  # before anything is opened, and before tool servers are started

    def up(server: PatchbayServer) -> None:
        UVICORN_LOG.disabled = False
        _spare_calls_from_gc()
        if not quiet:
            _tell(gateway, server, settings, as_json=as_json)

    UVICORN_LOG.disabled = True  # what keeps the server from starting is said once, and not as a traceback
    served = gateway.server(up)
    try:
        await served.serve(sockets)
    except SystemExit:  # uvicorn's word for a start that failed
        if gateway.fault is not None:
            raise gateway.fault from None
        raise
    finally:
        UVICORN_LOG.disabled = True  # nor is what a second signal cuts off
        for listening in sockets:
            listening.close()
    if served.force_exit:
        return FORCED
    return 0 if gateway.fault is None else 1


def _spare_calls_from_gc() -> None:
    """Keep collections short: each one stops all calls.

    What start-up made is never garbage, but for some hundred objects in 100,000 (10 to 30 ms for each full collection).
    Sound makes no cycles, so the counters can be coarse: calls that end leave theirs, a few hundred objects each.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


def _tell(gateway: Gateway, server: PatchbayServer, settings: Settings, *, as_json: bool) -> None:
    agents = tuple(agent.name for agent in gateway.shown())
    ready = ready_at(settings.host, server.bound_port, agents, tls=settings.tls_cert is not None)
    keys = bool(settings.api_key_entries)
    tell_ready(ready.line() if as_json else welcome(ready, own_program(), keys=keys))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import aiofastnet
    import uvloop

    # picows' own transports, on both sides of a call: cheaper for small messages than the loop's.
    return aiofastnet.loop_factory(uvloop.new_event_loop)
