"""kill -9 of the server during calls: everything said until a quarter of a second before is in the record."""

from __future__ import annotations

import asyncio
import io
import signal
import time
from pathlib import Path

import pytest
import soundfile
from peers.server_callers import Caller, all_of, calling, run, soon
from peers.server_process import Server, serving, start, stop
from websockets.exceptions import ConnectionClosed

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

KEPT_S = 0.25
CALLS = 6


class Talker:
    """Takes one quick turn after another until the server has ended, and notes when each turn ended."""

    def __init__(self) -> None:
        self.session_id = ""
        # What the caller typed, and when its answer had ended.
        self.over: list[tuple[str, float]] = []

    async def talk(self, server: Server, number: int) -> None:
        try:
            async with calling(server) as caller:
                self.session_id = caller.session_id
                for turn in range(1000):
                    typed = f"ping {number} {turn}"
                    await caller.turn(typed)
                    self.over.append((typed, time.monotonic()))
                    await asyncio.sleep(0.03 + 0.01 * number)
        except (ConnectionClosed, OSError, EOFError):
            pass


def test_every_turn_that_ended_250_ms_before_is_in_the_record(tmp_path: Path) -> None:
    talkers = [Talker() for _ in range(CALLS)]
    killed: list[float] = []

    async def main(server: Server) -> None:
        async def kill() -> None:
            await asyncio.sleep(2)
            server.signal(signal.SIGKILL)
            killed.append(time.monotonic())

        await all_of(kill(), *(talker.talk(server, number) for number, talker in enumerate(talkers)))

    with serving(tmp_path) as server:
        run(lambda: main(server))
        assert server.wait() == -signal.SIGKILL
    again = start(tmp_path)
    try:
        for talker in talkers:
            owed = [typed for typed, over in talker.over if over <= killed[0] - KEPT_S]
            turns = again.turns(talker.session_id)
            kept = [turn["entries"][0]["text"] for turn in turns]
            assert len(owed) > 5
            assert kept[: len(owed)] == owed
            assert all(turn["entries"][1]["text"] == "Marmalade for you." for turn in turns[: len(owed)])
            session = again.session(talker.session_id)
            assert (session["state"], session["end_reason"]) == ("ended", "server_lost")
            assert session["summary"]["turns"] == len(kept)
        assert again.ask("/api/v1/calls") == (200, {"calls": []})
    finally:
        stop(again)


def test_the_recording_of_the_spooled_sound_is_finished_and_readable(tmp_path: Path) -> None:
    session_id = ""

    async def main(server: Server) -> str:
        async with calling(server) as caller:
            await caller.say("story")
            started = asyncio.get_running_loop().time()
            reading = asyncio.get_running_loop().create_task(_read_on(caller))
            for frame in range(175):  # three and a half seconds of both sides
                await caller.sound()
                await asyncio.sleep(max(0.0, started + 0.02 * (frame + 1) - asyncio.get_running_loop().time()))
            server.signal(signal.SIGKILL)
            await reading
            return caller.session_id

    with serving(tmp_path) as server:
        session_id = run(lambda: main(server))
        server.wait()
    again = start(tmp_path)
    try:
        run(lambda: soon(lambda: again.session(session_id)["recording"]["state"] == "ready", "not finished", 15))
        session = again.session(session_id)
        assert session["end_reason"] == "server_lost"
        assert session["recording"]["complete"] is False
        status, _ = again.ask(f"/api/v1/sessions/{session_id}/events")
        assert status == 200
        sound, rate_hz = soundfile.read(io.BytesIO(_bytes(again, f"/api/v1/sessions/{session_id}/recording")))
        assert sound.shape[1] == 2
        assert sound.shape[0] / rate_hz >= 1.9  # a block is written to disk every two seconds
        assert float(abs(sound[:, 1]).max()) > 0.01  # the agent can be heard
        deleted, _ = again.ask(f"/api/v1/sessions/{session_id}", method="DELETE")
        assert deleted == 200
    finally:
        stop(again)


async def _read_on(caller: Caller) -> None:
    await caller.close_code()


def _bytes(server: Server, path: str) -> bytes:
    import urllib.request

    with urllib.request.urlopen(server.url + path, timeout=5) as answer:
        found: bytes = answer.read()
        return found
