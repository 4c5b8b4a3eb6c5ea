"""SIGTERM to a real process with a live call: HTTP continues, new calls are refused, and the call gets its time."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from peers.socket_harness import Raw, Wire, certificate, frame, run, upgrade_head

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

SERVER = """
import asyncio, sys
import aiofastnet, uvloop
from contextlib import asynccontextmanager
from fastapi import FastAPI, Response
from gateway.net.server import Drain, DrainHooks, PatchbayServer, ServerOptions
from gateway.net.media_routes import Accepted, MediaRoute

drain, live, idle = Drain(), set(), asyncio.Event()

class Call:
    def opened(self, socket): self.socket = socket; live.add(self); idle.clear()
    def text(self, message): self.socket.send_text(message)
    def binary(self, message): pass
    def lost(self, code, reason):
        live.discard(self); print("lost", code, flush=True)
        if not live: idle.set()

async def admit(request): return "yes"
async def done():
    while live: await idle.wait()
async def goodbye():
    for call in tuple(live): call.socket.close(1001, "going away")
    while live: await idle.wait()
async def records(): print("records", flush=True)

@asynccontextmanager
async def lifespan(app):
    yield
    print("lifespan over", flush=True)

app = FastAPI(lifespan=lifespan)

@app.get("/healthz")
async def healthz(): return {"ok": True}

@app.get("/readyz")
async def readyz(): return Response(status_code=503 if drain.draining else 200)

@app.get("/port")
async def port(): return server.bound_port

route = MediaRoute("/media", admit, lambda a, r: Accepted(Call()), lambda a: None)
drain_s, loop, *tls = sys.argv[1:]
cert, key = tls or (None, None)
options = ServerOptions(port=0, drain_s=float(drain_s), goodbye_s=1, loop=loop, tls_cert=cert, tls_key=key)
server = PatchbayServer(app, [route], drain=drain, calls=DrainHooks(done, goodbye, records), options=options)

async def main():
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.serve())
        while not server.started: await asyncio.sleep(0.01)
        print("port", server.bound_port, flush=True)
        await task

new_loop = asyncio.new_event_loop if loop == "asyncio" else aiofastnet.loop_factory(uvloop.new_event_loop)
with asyncio.Runner(loop_factory=new_loop) as runner:
    runner.run(main())
print("end", flush=True)
"""


class Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().strip()

    async def rest(self) -> list[str]:
        assert self.process.stdout is not None
        return (await self.process.stdout.read()).decode().split("\n")[:-1]


@asynccontextmanager
async def serving(drain_s: float, wire: Wire) -> AsyncIterator[tuple[Process, int]]:
    pipe = asyncio.subprocess.PIPE
    tls = map(str, certificate()) if wire.tls else ()
    program = (sys.executable, "-c", SERVER, str(drain_s), wire.loop, *tls)
    process = await asyncio.create_subprocess_exec(*program, stdout=pipe)
    try:
        running = Process(process)
        yield running, int((await running.line()).removeprefix("port "))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def gone(raw: Raw) -> None:
    raw.writer.close()


def test_a_signal_lets_the_call_finish_while_http_goes_on(wire: Wire) -> None:
    async def main() -> None:
        async with (
            serving(20, wire) as (server, port),
            httpx.AsyncClient(base_url=wire.url(port, "", http=True), verify=wire.client_tls or True) as http,
        ):
            call = await Raw.upgraded(port)
            assert (await http.get("/readyz")).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            while (await http.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)
            assert (await http.get("/healthz")).json() == {"ok": True}
            late = await Raw.connect(port)
            status, head = await late.ask(upgrade_head())
            assert (status, "retry-after: 1" in head) == (503, True)
            call.send(frame(1, b"still here"))
            assert await call.next_frame() == (1, b"still here")
            call.send(frame(8, b"\x03\xe8"))
            assert await server.rest() == ["lost 1000", "records", "lifespan over", "end"]
            assert await server.process.wait() == 0
            call.writer.close()
            late.writer.close()

    run(main, Wire("asyncio", wire.tls))


def test_a_call_that_does_not_end_gets_a_close_frame(wire: Wire) -> None:
    async def main() -> None:
        async with serving(0.2, wire) as (server, port):
            call = await Raw.upgraded(port)
            server.process.send_signal(signal.SIGTERM)
            assert await call.close_code() == 1001
            call.send(frame(8, b"\x03\xe9"))
            assert await server.rest() == ["lost 1001", "records", "lifespan over", "end"]
            assert await server.process.wait() == 0
            call.writer.close()

    run(main, Wire("asyncio", wire.tls))


def test_a_second_signal_stops_at_once(wire: Wire) -> None:
    async def main() -> None:
        async with serving(60, wire) as (server, port):
            call = await Raw.upgraded(port)
            server.process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.2)
            server.process.send_signal(signal.SIGINT)
            async with asyncio.timeout(2):
                assert await server.rest() == ["lost 1001", "end"]
            assert await call.eof()
            call.writer.close()

    run(main, Wire("asyncio", wire.tls))
