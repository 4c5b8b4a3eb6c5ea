"""What stands behind or instead of a gateway in the telephone rows: the far sides of the load without a gateway.

`python -m bench phone_floor --port P KIND`. `twilio-echo` is a WebSocket server that sends each frame's sound back in a
message as a gateway sends it: the load speaks to it directly, or through `python -m bench relay`, which is the floor.
`audiosocket-echo` sends each frame back. `audiosocket-silence` is AudioSocket's floor: a timer of 5 ms that writes
20 ms of silence to a quarter of the calls, and passes over what it receives; no gateway can do with less.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from functools import partial
from typing import cast

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, WSUpgradeResponse, ws_create_server
from picows import WSUpgradeResponseWithListener as Upgraded

from bench.phone_callers import echo_of
from bench.serving import raise_file_limit, run_on_uvloop, until_stopped

TWILIO_ECHO, ECHO, SILENCE = "twilio-echo", "audiosocket-echo", "audiosocket-silence"
TICK_S = 0.005
EARLY_S = 0.0005  # the loop's timers are in whole milliseconds, and one that rings too early counts as on time
PHASES = 4  # 20 ms
ID_BYTES = 19
SILENT_FRAME = b"\x10\x01\x40" + bytes(320)


class TwilioEcho(WSListener):
    """One stream whose sound goes back."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            answer = echo_of(frame.get_payload_as_bytes())
            if answer is not None:
                transport.send(WSMsgType.TEXT, answer)
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()


class AudioSocketEcho(asyncio.Protocol):
    """One connection whose frames go back, all but the first, which holds the call's id."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._id_bytes = ID_BYTES

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        passed = min(self._id_bytes, len(data))
        self._id_bytes -= passed
        self._transport.write(data[passed:] if passed else data)


class SilentTicker:
    """Writes silence to all connections, each in its quarter of 20 ms."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._phases: list[list[asyncio.Transport]] = [[] for _ in range(PHASES)]
        self._due_s = self._loop.time()
        self._number = 0
        self._ring()

    def enter(self, transport: asyncio.Transport) -> None:
        min(self._phases, key=len).append(transport)

    def leave(self, transport: asyncio.Transport) -> None:
        for phase in self._phases:
            if transport in phase:
                phase.remove(transport)

    def _ring(self) -> None:
        while self._due_s <= self._loop.time() + EARLY_S:
            for transport in self._phases[self._number % PHASES]:
                transport.write(SILENT_FRAME)
            self._number += 1
            self._due_s += TICK_S
        self._loop.call_at(self._due_s, self._ring)


class Silent(asyncio.Protocol):
    """One connection of the silent ticker."""

    def __init__(self, ticker: SilentTicker) -> None:
        self._ticker = ticker
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ticker.enter(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._ticker.leave(self._transport)


async def serve(kind: str, port: int) -> asyncio.Server:
    """Listen on loopback; port 0 means any free port."""
    loop = asyncio.get_running_loop()
    if kind == ECHO:
        return await loop.create_server(AudioSocketEcho, "127.0.0.1", port, backlog=1024)
    if kind == SILENCE:
        return await loop.create_server(partial(Silent, SilentTicker()), "127.0.0.1", port, backlog=1024)

    def listener(request: WSUpgradeRequest) -> WSListener | Upgraded:
        if request.path == b"/readyz":
            return Upgraded(WSUpgradeResponse.create_ok_response(b"ready"), None)
        return TwilioEcho()

    return await ws_create_server(listener, "127.0.0.1", port, max_frame_size=1 << 20, backlog=1024)


async def _main(kind: str, port: int) -> None:
    async with await serve(kind, port):
        await until_stopped()


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m bench phone_floor", description=__doc__)
    parser.add_argument("kind", choices=(TWILIO_ECHO, ECHO, SILENCE))
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    raise_file_limit()
    gc.disable()  # its pauses would look like pauses of the server
    run_on_uvloop(_main(options.kind, options.port))
    return 0
