"""Clients that fall silent, stop reading, or connect and leave in crowds are noticed and bounded, and leave nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from peers.server_callers import all_of, calling, run
from peers.server_files import SECRETS
from peers.server_process import Server, serving
from peers.server_within import QUICK, gateway_within, nothing_left
from peers.socket_harness import LOOPS, Raw, frame, upgrade_head
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.app import Gateway
from gateway.net.sockets import SocketLimits
from sessions.stores.documents import SESSION_ID

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

MIB = 1 << 20
NOTICED_S = QUICK.ping_idle_s + QUICK.ping_reply_s + QUICK.goodbye_s + 1.0


def within(main: Callable[[], Coroutine[Any, Any, None]], seconds: float = 20.0) -> None:
    """Run on the loop that the server uses."""

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await main()

    with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
        runner.run(bounded())


def typed(text: str) -> bytes:
    """A typed message and a request for a response, as frames."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    created = frame(1, json.dumps({"type": "conversation.item.create", "item": item}).encode())
    return created + frame(1, b'{"type":"response.create"}')


async def raw_call(port: int, agent: str = "desk") -> tuple[Raw, str]:
    """A client that writes raw bytes and answers no ping, and its session."""
    raw = await Raw.connect(port)
    status, _ = await raw.ask(upgrade_head(f"/v1/realtime?model={agent}", host=f"127.0.0.1:{port}"))
    assert status == 101
    _, created = await raw.next_frame()
    return raw, json.loads(created)["session"]["id"]


async def record(gateway: Gateway, session_id: str) -> Any:
    """The session's document, once it is written."""
    await gateway.write_behind.flush("default", session_id)
    return await gateway.store.get("default", session_id, SESSION_ID)


async def next_event(raw: Raw, kind: str) -> Any:
    """Read until the next event of this type."""
    while True:
        opcode, payload = await raw.next_frame()
        if opcode == 1 and (event := json.loads(payload))["type"] == kind:
            return event


def test_a_client_that_stops_answering_is_noticed(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway_within(tmp_path) as (gateway, server):
            await asyncio.sleep(0.3)
            tasks = len(asyncio.all_tasks())
            silent, first = await raw_call(server.bound_port)  # between turns
            speaking, second = await raw_call(server.bound_port)  # while the agent speaks, and without reading
            speaking.send(typed("epic"))
            speaking.reader._transport.pause_reading()  # type: ignore[attr-defined]
            assert len(gateway.live_calls) == 2
            assert await nothing_left(gateway, tasks, NOTICED_S) > QUICK.ping_idle_s
            for session_id in (first, second):
                ended = await record(gateway, session_id)
                assert (ended["state"], ended["end_reason"]) == ("ended", "caller_hung_up")
            for raw in (silent, speaking):
                raw.writer.transport.abort()

    within(main)


CLIENT = """
import asyncio, sys
from websockets.asyncio.client import connect

async def main():
    async with connect(sys.argv[1], compression=None, ping_interval=None) as socket:
        print(await socket.recv(), flush=True)
        while True:
            await socket.send('{"type":"input_audio_buffer.append","audio":"AAAAAAAA"}')
            await asyncio.sleep(0.05)

asyncio.run(main())
"""


def test_a_stopped_process_is_noticed_and_a_live_one_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway_within(tmp_path) as (gateway, server):
            tasks = len(asyncio.all_tasks())
            url = f"ws://127.0.0.1:{server.bound_port}/v1/realtime?model=desk"
            client = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CLIENT, url, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
            )
            assert client.stdout is not None
            session_id = json.loads(await client.stdout.readline())["session"]["id"]
            await asyncio.sleep(2 * (QUICK.ping_idle_s + QUICK.ping_reply_s))
            assert len(gateway.live_calls) == 1  # it answers pings, so it counts as alive
            client.send_signal(signal.SIGSTOP)
            await nothing_left(gateway, tasks, NOTICED_S)
            assert (await record(gateway, session_id))["end_reason"] == "caller_hung_up"
            client.kill()
            await client.wait()

    within(main)


def test_a_client_that_does_not_read_loses_the_response_and_then_continues(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway_within(tmp_path, SocketLimits()) as (gateway, server):
            raw, session_id = await raw_call(server.bound_port, "bulk")
            raw.send(typed("flood"))
            raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
            live = gateway.live_calls.find("default", session_id)
            assert live is not None
            while not live.running.call.turns or live.running.call.turns[0].outcome is None:
                await asyncio.sleep(0.05)
            assert live.running.call.turns[0].outcome == "cancelled"
            sent = live.running.call.summary(0).agent_audio_ms * 48 * 4 // 3
            assert 8 * MIB < sent < 24 * MIB  # the kernel's buffers come on top
            raw.reader._transport.resume_reading()  # type: ignore[attr-defined]
            assert (await next_event(raw, "response.done"))["response"]["status"] == "cancelled"
            raw.send(typed("ping"))
            assert (await next_event(raw, "response.done"))["response"]["status"] == "completed"
            raw.writer.transport.abort()

    within(main)


def test_past_16_mib_the_socket_is_closed(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway_within(tmp_path, SocketLimits(goodbye_s=0.5)) as (gateway, server):
            tasks = len(asyncio.all_tasks())
            raw, session_id = await raw_call(server.bound_port, "bulk")
            raw.send(typed("flood"))
            raw.send(typed("x" * 250_000) * 40)  # each one is sent back twice
            raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
            while len(gateway.live_calls):
                await asyncio.sleep(0.02)
            await nothing_left(gateway, tasks, 5)
            ended = await record(gateway, session_id)
            assert ended["end_reason"] == "too_slow"
            raw.writer.transport.abort()

    within(main)


def test_a_call_that_has_ended_is_freed_without_garbage_collection(tmp_path: Path) -> None:
    # Collections are rare, because each one stops every call, and a call holds megabytes.
    kinds = ("RunningCall", "Call", "RealtimeServer", "Conversation", "PicowsSocket", "PicowsProtocol", "CallRecord")

    async def main() -> None:
        async with gateway_within(tmp_path, SocketLimits()) as (gateway, server):
            for ending in ("close", "abort", "bad"):
                raw, _ = await raw_call(server.bound_port)
                raw.send(typed("ping"))
                await next_event(raw, "response.done")
                raw.send(typed("number"))
                await next_event(raw, "response.done")
                if ending == "abort":
                    raw.writer.transport.abort()
                else:
                    raw.send(frame(8, b"\x03\xe8") if ending == "close" else frame(1, b"\xff"))
                    await raw.close_code()
                    raw.writer.transport.abort()
            while len(gateway.live_calls):
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
            left = [type(thing).__name__ for thing in gc.get_objects()]
            assert not [name for name in left if name in kinds]

    gc.collect()
    gc.disable()
    try:
        within(main)
    finally:
        gc.enable()


# ---- crowds


async def _visit(port: int, dice: random.Random) -> str:
    """Connect, do a little, and leave in one of many ways at some moment. Returns what happened."""
    server = Server(Path(), None, f"http://127.0.0.1:{port}")  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(dice.uniform(0.001, 0.8)):
            async with calling(server) as caller:
                try:
                    while True:
                        match dice.randrange(4):
                            case 0:
                                await caller.turn("ping")
                            case 1:
                                await caller.say("story")
                            case 2:
                                await caller.sound()
                            case _:
                                await asyncio.sleep(dice.uniform(0, 0.1))
                finally:
                    if dice.random() < 0.5:
                        caller.socket.transport.abort()  # no close frame
    except TimeoutError:
        return "left"
    except (ConnectionClosed, InvalidStatus, OSError, EOFError) as gone:
        return type(gone).__name__
    return "over"


def test_sixty_clients_that_connect_at_once_and_leave_leave_no_task(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway_within(tmp_path, SocketLimits()) as (gateway, server):
            await asyncio.sleep(0.5)
            tasks = len(asyncio.all_tasks())
            dice = random.Random(7)
            await all_of(*(_visit(server.bound_port, random.Random(dice.random())) for _ in range(60)))
            await nothing_left(gateway, tasks, 10)
            assert gateway.live_calls.served >= 20
            assert gateway.live_calls.broken == 0
            assert gateway.live_calls.count_of("default") == 0
            assert gateway.write_behind.counts.lost == gateway.write_behind.counts.spooled == 0

    within(main, 30)


def test_crowd_after_crowd_leaves_no_file_and_no_memory(tmp_path: Path) -> None:
    with serving(tmp_path) as server:

        async def crowd(number: int) -> tuple[int, int]:
            dice = random.Random(number)
            await all_of(*(_visit(server.port, random.Random(dice.random())) for _ in range(60)))
            while server.figure("live_calls"):
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
            return server.open_files(), server.rss_bytes()

        files_before = server.open_files()
        after = [run(lambda number=number: crowd(number), 60) for number in range(4)]  # type: ignore[misc]
        print(files_before, [(files, rss // MIB) for files, rss in after])
        assert after[-1][0] <= files_before + 4  # a store's connection, a recording being finished
        assert after[-1][1] - after[1][1] < 12 * MIB
        assert server.figure("calls_broken_total") == 0
        assert server.figure("documents_lost_total") == 0
        _, page = server.ask("/api/v1/sessions?state=live")
        assert page["sessions"] == []
        log = server.log()
        assert "Traceback" not in log
        assert not [word for word in SECRETS if word in log]
