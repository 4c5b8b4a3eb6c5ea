"""The floor: a transparent relay that joins each caller's socket to a socket of the model and passes bytes on.

It parses, stores and checks nothing, so no gateway that does any work can use less CPU: `python -m bench relay --port P
--upstream ws://127.0.0.1:M/v1/realtime?model=NAME`.
"""

from __future__ import annotations

import argparse
import asyncio
from functools import partial

from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    ws_connect,
    ws_create_server,
)
from picows import WSUpgradeResponseWithListener as Upgraded

from bench.serving import raise_file_limit, run_on_uvloop, until_stopped

MAX_FRAME_BYTES = 16 << 20


class RelaySide(WSListener):
    """One of the two sockets of a call; `other` is the other socket once it is open."""

    def __init__(self) -> None:
        self.own: WSTransport | None = None
        self.other: WSTransport | None = None
        self._early: list[tuple[WSMsgType, bytes, bool]] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.own = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif self.other is None:
            self._early.append((frame.msg_type, frame.get_payload_as_bytes(), frame.fin))
        else:
            self.other.send(frame.msg_type, frame.get_payload_as_memoryview(), frame.fin)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.other is not None and not self.other.is_disconnected:
            self.other.send_close()
            self.other.disconnect()
        self.own, self.other = None, None

    def join(self, other: WSTransport) -> None:
        """Set the other socket, which is open now, and pass on what came before."""
        self.other = other
        for kind, payload, fin in self._early:
            other.send(kind, payload, fin)
        self._early.clear()


class CallerSide(RelaySide):
    """The caller's socket; once open, it puts itself into the queue of callers to be connected to the model."""

    def __init__(self, waiting: asyncio.Queue[CallerSide]) -> None:
        super().__init__()
        self._waiting = waiting

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        self._waiting.put_nowait(self)


async def _dial(caller: CallerSide, upstream: str) -> None:
    def model_side() -> RelaySide:
        model = RelaySide()
        model.other = caller.own  # set before the first frame, which may come with the answer to the handshake
        return model

    try:
        transport, _ = await ws_connect(model_side, upstream, max_frame_size=MAX_FRAME_BYTES)
    except OSError:
        if caller.own is not None:
            caller.own.disconnect()
        return
    if caller.own is None:
        transport.disconnect()
    else:
        caller.join(transport)


async def serve(port: int, upstream: str) -> None:
    """Relay until cancelled."""
    waiting: asyncio.Queue[CallerSide] = asyncio.Queue()

    def listener(request: WSUpgradeRequest) -> WSListener | Upgraded | None:
        if request.path == b"/readyz":
            return Upgraded(WSUpgradeResponse.create_ok_response(b"ready"), None)
        return CallerSide(waiting)

    server = await ws_create_server(listener, "127.0.0.1", port, max_frame_size=MAX_FRAME_BYTES, backlog=1024)
    async with server, asyncio.TaskGroup() as dials:
        while True:
            dials.create_task(_dial(await waiting.get(), upstream))


async def _main(port: int, upstream: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        relaying = tasks.create_task(serve(port, upstream))
        await until_stopped()
        relaying.cancel()


def main(arguments: list[str]) -> int:
    """Relay until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m bench relay", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args(arguments)
    raise_file_limit()
    run_on_uvloop(partial(_main, options.port, options.upstream)())
    return 0
