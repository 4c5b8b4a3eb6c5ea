"""`patchbay sessions follow` beside a running server: each session once, none missed after a kill, and a clean end."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from peers.server_callers import all_of, calling, run, soon
from peers.server_files import SECRETS
from peers.server_process import Server, environment, serving
from peers.server_stores import STORES, shared_store

pytestmark = pytest.mark.sockets

LINE_S = 15.0


class Follower:
    """A running `patchbay sessions follow`, whose lines a thread reads."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "sessions", "follow", *arguments],
            cwd=folder,
            env=environment(folder, settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def line(self) -> str:
        """The next line, once it is printed."""
        return self._lines.get(timeout=LINE_S)

    def session(self) -> Any:
        """The next line of a follower that prints JSON."""
        return json.loads(self.line())

    def ended(self, number: int) -> int:
        """End it by a signal; its exit code, after a check that it printed nothing more, not even an error."""
        assert self.process.stderr is not None
        self.process.send_signal(number)
        code = self.process.wait(LINE_S)
        self._reading.join(LINE_S)
        assert self._lines.empty()
        assert self.process.stderr.read() == ""
        return code


@contextmanager
def following(folder: Path, *arguments: str, **settings: str) -> Iterator[Follower]:
    """A follower in the server's folder."""
    follower = Follower(folder, *arguments, **settings)
    try:
        yield follower
    finally:
        follower.process.kill()
        follower.process.wait()
        for pipe in (follower.process.stdout, follower.process.stderr):
            assert pipe is not None
            pipe.close()


def three_calls(server: Server) -> list[str]:
    """Make three calls at once; their ids, once their recordings are made, which changes their sessions once more."""

    async def one(number: int) -> str:
        async with calling(server) as caller:
            for _ in range(number):
                await caller.turn("number")
        return caller.session_id

    def is_recorded(session_id: str) -> bool:
        return bool(server.ended(session_id)["recording"]["state"] == "ready")

    async def main() -> list[str]:
        ids = await all_of(*(one(number) for number in (1, 2, 3)))
        for session_id in ids:
            await soon(partial(is_recorded, session_id), "the recording is not made", 15)
        return ids

    return run(main)


@pytest.mark.parametrize("kind", STORES)
def test_a_follower_prints_each_of_three_calls_once_and_ends_at_ctrl_c(tmp_path: Path, kind: str) -> None:
    with (
        shared_store(kind, tmp_path) as store,
        serving(tmp_path, **store) as server,
        following(tmp_path, "--json", **store) as follower,
    ):
        first = three_calls(server)
        lines = [follower.session() for _ in first]
        second = three_calls(server)  # whatever was printed twice would come before these
        lines += [follower.session() for _ in second]
        ids = [line["session_id"] for line in lines]
        assert sorted(ids[:3]) == sorted(first)
        assert sorted(ids[3:]) == sorted(second)
        for line in lines:
            shown = server.session(line["session_id"])
            assert (line["state"], line["tenant"]) == ("ended", "default")
            assert line["summary"] == shown["summary"]
            assert not any(secret in json.dumps(line) for secret in SECRETS)
        assert follower.ended(signal.SIGINT) == 0
        assert server.figure("store_healthy") == 1


@pytest.mark.parametrize("kind", STORES)
def test_a_follower_that_was_killed_misses_no_session_from_its_position_on(tmp_path: Path, kind: str) -> None:
    with shared_store(kind, tmp_path) as store, serving(tmp_path, **store) as server:
        with following(tmp_path, "--json", **store) as follower:
            first = three_calls(server)
            line = follower.session()
            follower.process.kill()
            follower.process.wait()
        printed = {line["session_id"]}
        second = three_calls(server)
        third: list[str] = []
        with following(tmp_path, "--json", "--since", line["position"], **store) as follower:
            while printed < {*first, *second}:
                printed.add(follower.session()["session_id"])
            third = three_calls(server)
            while printed < {*first, *second, *third}:
                printed.add(follower.session()["session_id"])
            assert follower.ended(signal.SIGINT) == 0
        assert printed == {*first, *second, *third}


@pytest.mark.parametrize("json_lines", [(), ("--json",)])
def test_a_follower_ends_when_its_output_is_closed_also_while_no_session_ends(
    tmp_path: Path, json_lines: tuple[str, ...]
) -> None:
    with serving(tmp_path) as server:
        ids = three_calls(server)
        with following(tmp_path, *json_lines) as follower:
            for _ in ids:
                follower.line()
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert follower.process.poll() is None  # it goes on without the server
        # `head` ends after the last line that there is.
        piped = '("$@"; echo "code $?" >&2) | head -n 3'
        command = [sys.executable, "-m", "gateway.cli", "sessions", "follow", *json_lines]
        done = subprocess.run(
            ["/bin/sh", "-c", piped, "sh", *command],
            cwd=tmp_path,
            env=environment(tmp_path, {}),
            capture_output=True,
            text=True,
            timeout=LINE_S,
            check=True,
        )
        assert (done.stdout.count("\n"), done.stderr) == (3, "code 0\n")
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                command,
                cwd=tmp_path,
                env=environment(tmp_path, {}),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=LINE_S,
                check=False,
            )
        lost = "patchbay: a line could not be printed: No space left on device\n"
        assert (done.returncode, done.stderr) == (1, lost)
