"""The sockets of Asterisk's WebSocket channel on a whole server; the `websockets` library stands in for Asterisk."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import pytest
from peers.asterisk.house import ECHO_AGENT, ECHO_SCRIPT, KEY
from peers.asterisk.pbx import free_port
from peers.server_process import Server, start, stop
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

MEDIA = Subprotocol("media")
START = {"event": "MEDIA_START", "channel_id": "C", "format": "ulaw", "optimal_frame_size": 160, "ptime": 20}
QUIET = b"\xff" * 160


@dataclass(frozen=True, slots=True)
class Desk:
    """A gateway with one agent, and the port where it expects Asterisk's HTTP server."""

    server: Server
    asterisk_port: int
    known: set[str] = field(default_factory=set)  # the sessions of former calls

    def register(self, **more: str) -> str:
        """Announce a call, as a dialplan does; returns its id."""
        form = urlencode({"caller": "+4930111", "called": "222", "channel": "17.1", **more}).encode()
        request = urllib.request.Request(self.server.url + "/telephony/asterisk/calls", data=form)
        request.add_header("Authorization", f"Bearer {KEY}")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.read().decode())

    def dial(self, call_id: str, login: str = "asterisk:pass") -> connect:
        """A socket as Asterisk opens it."""
        url = f"{self.server.url.replace('http', 'ws')}/telephony/asterisk/media?call={call_id}"
        headers = {"Authorization": "Basic " + b64encode(login.encode()).decode()}
        return connect(
            url, subprotocols=[MEDIA], additional_headers=headers, compression=None, ping_interval=None, max_size=None
        )

    def sessions(self) -> list[Any]:
        """The sessions, the newest first."""
        found: list[Any] = self.server.ask("/api/v1/sessions")[1]["sessions"]
        return found

    def know_sessions(self) -> None:
        """Wait until no call is live; from now on only the sessions of later calls count as new."""
        until = time.monotonic() + 10
        found = self.sessions()
        while any(session["state"] != "ended" for session in found):
            assert time.monotonic() < until, found
            time.sleep(0.05)
            found = self.sessions()
        self.known.update(session["session_id"] for session in found)

    def last_end(self) -> str:
        """The end reason of the newest new session, once it is over."""
        until = time.monotonic() + 5
        while True:
            sessions = [session for session in self.sessions() if session["session_id"] not in self.known]
            if sessions and sessions[0]["state"] == "ended":
                return str(sessions[0]["end_reason"])
            assert time.monotonic() < until, sessions[:1]
            time.sleep(0.05)


@pytest.fixture(autouse=True)
def _new_sessions(desk: Desk) -> None:
    desk.know_sessions()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("sockets")
    (folder / "agents" / "scripts").mkdir(parents=True)
    (folder / "agents" / "echo.yaml").write_text(ECHO_AGENT)
    (folder / "agents" / "scripts" / "echo.yaml").write_text(ECHO_SCRIPT)
    asterisk_port = free_port()
    settings = {
        "PATCHBAY_API_KEYS": KEY,
        "PATCHBAY_NUMBERS": "*=echo",
        "PATCHBAY_CARRIERS__ASTERISK__USER": "asterisk",
        "PATCHBAY_CARRIERS__ASTERISK__PASSWORD": "pass",
        "PATCHBAY_CARRIERS__ASTERISK__MEDIA_URL": f"ws://127.0.0.1:{asterisk_port}",
        "PATCHBAY_AUDIOSOCKET_PORT": str(free_port()),
    }
    server = start(folder, **settings)
    try:
        yield Desk(server, asterisk_port)
    finally:
        stop(server)


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(15):
            await main()

    asyncio.run(bounded())


async def greeting(socket: ClientConnection | ServerConnection) -> tuple[int, list[Any]]:
    """The bytes of sound and the commands up to the first mark."""
    size, commands = 0, []
    async for message in socket:
        if isinstance(message, bytes):
            size += len(message)
        else:
            commands.append(json.loads(message))
            if commands[-1]["command"] == "MARK_MEDIA":
                break
    return size, commands


def test_a_call_is_greeted_in_whole_frames_and_its_end_is_kept(desk: Desk) -> None:
    async def main() -> None:
        async with desk.dial(desk.register()) as socket:
            assert socket.subprotocol == "media"
            await socket.send(json.dumps(START))
            size, commands = await greeting(socket)
            assert size > 0
            assert size % 160 == 0
            assert commands[-1] == {"command": "MARK_MEDIA", "correlation_id": "0-1"}

    run(main)
    assert desk.last_end() == "caller_hung_up"


@pytest.mark.parametrize(
    ("login", "known", "status"), [("asterisk:wrong", True, 401), ("asterisk:pass", False, 404), ("", True, 401)]
)
def test_a_wrong_login_or_call_is_refused_before_the_socket_opens(
    desk: Desk, login: str, known: bool, status: int
) -> None:
    legs = desk.server.figure("model_legs_opened_total")

    async def main() -> None:
        call_id = desk.register() if known else "12345678-1234-1234-1234-123456789abc"
        with pytest.raises(InvalidStatus) as refused:
            await desk.dial(call_id, login)
        assert refused.value.response.status_code == status

    run(main)
    assert desk.server.figure("model_legs_opened_total") == legs


@pytest.mark.parametrize(
    ("messages", "code"),
    [([b"x" * 33_000], 1009), ([b"x" * 10, *["{"] * 10], 1008), (["DTMF_END digit:seven"] * 10, 1008)],
)
def test_what_breaks_the_protocol_costs_that_call_only(desk: Desk, messages: list[str | bytes], code: int) -> None:
    async def main() -> None:
        async with desk.dial(desk.register()) as healthy, desk.dial(desk.register()) as broken:
            for socket in (healthy, broken):
                await socket.send(json.dumps(START))
                await greeting(socket)
            for message in messages:
                await broken.send(message)
            await broken.wait_closed()
            assert broken.close_code == code
            assert await asyncio.to_thread(desk.last_end) == "bad_input"
            await healthy.send(QUIET)
            assert healthy.close_code is None

    run(main)


def test_a_call_that_asterisk_waits_with_is_dialled(desk: Desk) -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def main() -> None:
        async def call(socket: ServerConnection) -> None:
            assert socket.request is not None
            seen.append(socket.request.path)
            await socket.send(json.dumps(START))
            size, _ = await greeting(socket)
            assert size > 0
            done.set()

        async with serve(call, "127.0.0.1", desk.asterisk_port, subprotocols=[MEDIA]):
            await asyncio.to_thread(desk.register, media_id="a1-B_2")
            await done.wait()

    run(main)
    assert seen == ["/media/a1-B_2"]
    assert desk.last_end() == "caller_hung_up"


def test_a_call_that_asterisk_no_longer_has_leaves_nothing_behind(desk: Desk) -> None:
    async def main() -> None:
        async def refuse(connection: ServerConnection, request: Request) -> Response:
            asked.set()
            return connection.respond(HTTPStatus.NOT_FOUND, "no such call")

        async def never(socket: ServerConnection) -> None:
            raise AssertionError

        async with serve(never, "127.0.0.1", desk.asterisk_port, process_request=refuse):
            await asyncio.to_thread(desk.register, media_id="quokka-17")
            await asked.wait()

    asked = asyncio.Event()
    run(main)
    until = time.monotonic() + 3
    while "Asterisk's media socket could not be opened" not in desk.server.log():
        assert time.monotonic() < until, desk.server.log()
        time.sleep(0.05)
    assert "quokka" not in desk.server.log()
    assert "4930111" not in desk.server.log()
