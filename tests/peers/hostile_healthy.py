"""The healthy call of the sweep, run as a program: how long the agent's speech was silent, and for what reason.

    python hostile_healthy.py echo                    # the control: a server that sends back what it gets
    python hostile_healthy.py PORT ECHO_PORT PID OUT  # makes the call until SIGTERM, then writes OUT as JSON

The agent speaks in pieces of 20 ms at the pace of speech. The call observes a series of gaps: the times between two
pieces. A gap counts against the server only as far as nothing else explains it. Three controls run beside it:

- a ticker of 5 ms in this process: how late this process itself was;
- the echo: how long a byte took to a process that does nothing else, and back;
- how long the server's threads were ready to run but had no processor, as the kernel counts it, without the time
  in which its main thread did run.

A gap counts with its length minus the greatest of the three in the same time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
import time
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

TICK_S = 0.005
FRAME_S = 0.02
# Gaps from this length on are written to the report.
TOLD_MS = 60
SILENCE = b64encode(bytes(960)).decode()


class Lateness:
    """What a control saw: lateness in milliseconds at a time."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, float]] = []  # when it was over, and how late it was
        self.pending_since: float | None = None

    def add(self, at: float, late_ms: float) -> None:
        """Record one."""
        if late_ms > 5:
            self._seen.append((at, late_ms))

    def most(self, begin: float, end: float) -> float:
        """The greatest part of one lateness between these times, in ms."""
        found = [min(at, end) - max(at - late_ms / 1000, begin) for at, late_ms in self._seen]
        if self.pending_since is not None:
            found.append(end - max(self.pending_since, begin))
        return max([0.0, *(1000 * part for part in found)])


class Controls:
    """The three controls."""

    def __init__(self, pid: int) -> None:
        self.ticker = Lateness()
        self.echo = Lateness()
        self._main = pid
        self._threads = Path(f"/proc/{pid}/task")

    def server_ms(self) -> tuple[float, float]:
        """How long the server's main thread has run, and its threads have waited for a processor, in total.

        All threads count: one without a processor may hold the interpreter that the main thread waits for. 0 where the
        kernel gives no figures.
        """
        ran_ns = waited_ns = 0
        with suppress(OSError, ValueError):
            for thread in self._threads.iterdir():
                with suppress(OSError):
                    ran, waited, _ = (thread / "schedstat").read_text().split()
                    waited_ns += int(waited)
                    ran_ns = int(ran) if thread.name == str(self._main) else ran_ns
        return ran_ns / 1e6, waited_ns / 1e6

    async def tick(self) -> None:
        """Wake up every 5 ms."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self.ticker.add(now, 1000 * (now - before - TICK_S))

    async def ask_echo(self, port: int) -> None:
        """Send a byte every 20 ms and wait for its echo."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            self.echo.pending_since = before = time.monotonic()
            writer.write(b".")
            await reader.readexactly(1)
            self.echo.pending_since = None
            self.echo.add(time.monotonic(), 1000 * (time.monotonic() - before))
            await asyncio.sleep(FRAME_S)


class HealthyCall:
    """Listens to one long answer, and sends silence."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self.pieces = 0
        self.gaps: list[dict[str, float]] = []
        self.longest_ms = 0.0  # the longest that counts
        self.end = ""
        self._last = 0.0  # when the newest piece arrived
        self._server_ms = (0.0, 0.0)  # the main thread's run and wait times at that moment

    async def hold(self, port: int) -> None:
        """Make the call, until it is cancelled."""
        address = f"ws://127.0.0.1:{port}/v1/realtime?model=steady"
        async with connect(address, compression=None, max_size=None, ping_interval=None, close_timeout=2) as socket:
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "speak"}]}
            await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
            await socket.send(json.dumps({"type": "response.create"}))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._speak(socket))
                await self._listen(socket)

    async def _speak(self, socket: ClientConnection) -> None:
        message = json.dumps({"type": "input_audio_buffer.append", "audio": SILENCE})
        while True:
            await socket.send(message)
            await asyncio.sleep(FRAME_S)

    async def _listen(self, socket: ClientConnection) -> None:
        try:
            async for message in socket:
                if "response.output_audio.delta" not in str(message)[:120]:
                    self._look_at(str(message))
                    continue
                now, server_ms = time.monotonic(), self._controls.server_ms()
                if self.pieces:
                    self._gap(now, server_ms)
                self.pieces += 1
                self._last, self._server_ms = now, server_ms
        except ConnectionClosed as closed:
            self.end = str(closed)
            raise

    def hung_up(self) -> None:
        """Count the silence at the end as a gap too."""
        if self.pieces:
            self._gap(time.monotonic(), self._controls.server_ms())

    def _look_at(self, message: str) -> None:
        event: dict[str, Any] = json.loads(message)
        if event["type"] in ("error", "response.done"):
            self.end = message[:300]

    def _gap(self, now: float, server_ms: tuple[float, float]) -> None:
        last = self._last
        gap_ms = 1000 * (now - last)
        if gap_ms < TOLD_MS:
            return
        ran_ms = server_ms[0] - self._server_ms[0]
        parts = {
            "ticker_ms": self._controls.ticker.most(last, now),
            "echo_ms": self._controls.echo.most(last, now),
            "starved_ms": max(0.0, min(server_ms[1] - self._server_ms[1], gap_ms - ran_ms)),
        }
        counts_ms = gap_ms - max(parts.values())
        self.longest_ms = max(self.longest_ms, counts_ms)
        self.gaps.append({"at": time.time(), "gap_ms": gap_ms, "counts_ms": counts_ms, "ran_ms": ran_ms, **parts})


async def measure(port: int, echo_port: int, pid: int, out: Path) -> None:
    """Make the call until SIGTERM, and write down what was observed."""
    controls = Controls(pid)
    call = HealthyCall(controls)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    jobs = [
        asyncio.ensure_future(controls.tick()),
        asyncio.ensure_future(controls.ask_echo(echo_port)),
        asyncio.ensure_future(call.hold(port)),
    ]
    stopping = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait([*jobs, stopping], return_when=asyncio.FIRST_COMPLETED)
    call.hung_up()
    broke = [repr(job.exception()) for job in done if job is not stopping and job.exception() is not None]
    for job in [*jobs, stopping]:
        job.cancel()
    await asyncio.wait(jobs)
    found = {"pieces": call.pieces, "longest_ms": call.longest_ms, "gaps": call.gaps, "end": call.end, "broke": broke}
    out.write_text(json.dumps(found))


async def serve_echo() -> None:
    """Send back what arrives. Prints the port first."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while received := await reader.read(100):
                writer.write(received)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    gc.disable()  # no garbage-collection pause in this process
    if sys.argv[1] == "echo":
        asyncio.run(serve_echo())
    else:
        asyncio.run(measure(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
