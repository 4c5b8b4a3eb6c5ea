"""The stand-in model as a server: `python -m bench model --port P`, at ws://127.0.0.1:P/v1/realtime.

The turns of the connections end evenly spread in time; with `--unison` all end in the same 20 ms, every two seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import time

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, WSUpgradeResponse, ws_create_server
from picows import WSUpgradeResponseWithListener as Upgraded

from bench.model_events import ANSWER_FRAMES, ModelSession, first_frames
from bench.serving import raise_file_limit, run_on_uvloop, until_stopped
from bench.stamp import FRAME_MS

SESSION_S = 3600
UNISON_S = ANSWER_FRAMES * FRAME_MS / 1000


class ModelSocket(WSListener):
    """Passes the messages of one connection to its session and writes the answers at once."""

    def __init__(self, session: ModelSession) -> None:
        self._session = session

    def on_ws_connected(self, transport: WSTransport) -> None:
        for message in self._session.opened():
            transport.send(WSMsgType.TEXT, message)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT and frame.fin:
            for message in self._session.receive(frame.get_payload_as_bytes()):
                transport.send(WSMsgType.TEXT, message)
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type in (WSMsgType.CONTINUATION, WSMsgType.TEXT, WSMsgType.BINARY):
            transport.disconnect()  # fragmented and binary messages are not supported


def _period() -> int:
    return int(time.monotonic() / UNISON_S)


async def serve(port: int, answer_frames: int = ANSWER_FRAMES, *, unison: bool = False) -> asyncio.Server:
    """Listen on loopback; port 0 means any free port."""
    numbers = itertools.count(1)

    def session(model: str) -> ModelSession:
        number, until = next(numbers), int(time.time()) + SESSION_S
        if unison:
            return ModelSession(number, model, until, 2 * answer_frames, period=_period)
        return ModelSession(number, model, until, answer_frames, first_frames(number, answer_frames))

    def listener(request: WSUpgradeRequest) -> WSListener | Upgraded | None:
        if request.path == b"/readyz":
            return Upgraded(WSUpgradeResponse.create_ok_response(b"ready"), None)
        if not request.path.startswith(b"/v1/realtime"):
            return None
        model = request.path.partition(b"model=")[2].partition(b"&")[0].decode() or "gpt-realtime"
        return ModelSocket(session(model))

    return await ws_create_server(listener, "127.0.0.1", port, max_frame_size=16 << 20, backlog=1024)


async def _main(port: int, unison: bool) -> None:
    async with await serve(port, unison=unison):
        await until_stopped()


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m bench model", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--unison", action="store_true", help="let the turns of all connections end together")
    options = parser.parse_args(arguments)
    raise_file_limit()
    gc.disable()  # its pauses would look like pauses of the server
    run_on_uvloop(_main(options.port, options.unison))
    return 0
