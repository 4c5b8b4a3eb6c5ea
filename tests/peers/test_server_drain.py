"""SIGTERM to a server with calls in the middle of a turn: they finish, new calls are refused, and health answers."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from peers.server_callers import Caller, all_of, calling, refused, run, soon
from peers.server_process import Server, serving

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

STORY = "Once upon a time a xylophone lived by the sea and played all day."


async def _is_draining(server: Server) -> None:
    await soon(lambda: server.ask("/readyz")[1]["status"] == "draining", "not draining")


def await_recording(server: Server, session_id: str) -> None:
    """A recording that was waiting when the server stopped is finished by the next server."""
    run(lambda: soon(lambda: server.session(session_id)["recording"]["state"] == "ready", "not made", 10))


def test_three_calls_finish_their_turn_and_their_record(tmp_path: Path) -> None:
    calls: list[str] = []
    began: list[float] = []

    async def live(server: Server, ready: asyncio.Barrier) -> None:
        async with calling(server) as caller:
            calls.append(caller.session_id)
            await caller.turn("ping")
            await caller.say("story")
            await caller.until("response.output_audio.delta")
            await ready.wait()
            done = await caller.until("response.done")
            assert done["response"]["status"] == "completed"
            assert await caller.close_code() == 1001
            assert caller.socket.close_reason == "the server is going down"

    async def watch(server: Server, ready: asyncio.Barrier) -> None:
        await ready.wait()
        began.append(time.monotonic())
        server.signal(signal.SIGTERM)
        await _is_draining(server)
        while time.monotonic() - began[0] < 3.5:
            assert (await asyncio.to_thread(server.ask, "/healthz"))[0] == 200
            assert (await asyncio.to_thread(server.ask, "/readyz"))[0] == 503
            status, problem = await refused(server)
            assert (status, problem["code"]) == (503, "draining")
            assert len((await asyncio.to_thread(server.ask, "/api/v1/calls"))[1]["calls"]) == 3
            await asyncio.sleep(0.3)

    async def main(server: Server) -> None:
        ready = asyncio.Barrier(4)
        await all_of(watch(server, ready), *(live(server, ready) for _ in range(3)))

    with serving(tmp_path, PATCHBAY_DRAIN_S="4") as server:
        run(lambda: main(server))
        assert server.wait() == 0
        assert 3.9 < time.monotonic() - began[0] < 8
    with serving(tmp_path) as again:
        for session_id in calls:
            session, turns = again.session(session_id), again.turns(session_id)
            assert (session["state"], session["end_reason"]) == ("ended", "shutting_down")
            assert [turn["entries"][1]["text"] for turn in turns] == ["Marmalade for you.", STORY]
            assert turns[1]["outcome"] == "completed"
            assert turns[1]["entries"][1]["heard_text"] == STORY
            await_recording(again, session_id)
            assert again.ask(f"/api/v1/sessions/{session_id}/events")[0] == 200
        assert "Traceback" not in again.log()


def test_a_server_whose_calls_have_ended_waits_no_longer(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        async with calling(server) as caller:
            await caller.say("story")
            await caller.until("response.created")
            server.signal(signal.SIGTERM)
            await _is_draining(server)
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
            assert server.process.poll() is None

    with serving(tmp_path, PATCHBAY_DRAIN_S="60") as server:
        run(lambda: main(server))
        assert server.wait(5) == 0


def test_a_second_signal_ends_at_once_and_keeps_the_record(tmp_path: Path) -> None:
    async def main(server: Server) -> Caller:
        async with calling(server) as caller:
            await caller.turn("ping")
            await caller.say("story")
            await caller.until("response.created")
            server.signal(signal.SIGTERM)
            await _is_draining(server)
            begun = time.monotonic()
            server.signal(signal.SIGTERM)
            assert await caller.close_code() == 1001
            await asyncio.to_thread(server.wait, 5)
            assert time.monotonic() - begun < 3
            return caller

    with serving(tmp_path, PATCHBAY_DRAIN_S="60") as server:
        caller = run(lambda: main(server))
        assert server.wait() == 3  # calls were cut off, so the code is not that of a drain
    with serving(tmp_path) as again:
        session = again.session(caller.session_id)
        assert (session["state"], session["end_reason"]) == ("ended", "shutting_down")
        assert again.turns(caller.session_id)[0]["entries"][1]["text"] == "Marmalade for you."
        assert "Traceback" not in again.log()
