"""The client's side of a socket, against the `websockets` library, Patchbay's own server, and bare TCP."""

from __future__ import annotations

import asyncio
import gc
import http

import pytest
from peers.socket_harness import CapturingReceiver, Wire, frame, route_to, run, serving
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.net.dial import DialFailed, dial
from gateway.net.sockets import SocketLimits
from sessions.errors import LegLost

pytestmark = pytest.mark.sockets


def port_of(server: Server | asyncio.Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def test_a_dialled_socket_carries_messages_both_ways(wire: Wire) -> None:
    async def main() -> None:
        seen: list[Request] = []

        async def look(connection: ServerConnection, request: Request) -> Response | None:
            seen.append(request)
            return None

        async with serve(
            echo,
            "127.0.0.1",
            0,
            process_request=look,
            subprotocols=[Subprotocol("realtime")],
            compression=None,
            ssl=wire.server_tls,
        ) as server:
            port = port_of(server)
            receiver = CapturingReceiver()
            socket = await dial(
                wire.url(port, "/v1/realtime?model=a b", http=True),
                receiver,
                headers={"Authorization": "Bearer key"},
                subprotocols=["realtime"],
                ssl_context=wire.client_tls,
            )
            assert receiver.socket is socket
            assert (socket.subprotocol, socket.peer, socket.closed) == ("realtime", "127.0.0.1", False)
            socket.send_text("ü".encode())
            socket.send_binary(b"\x00" * 100_000)
            await receiver.until(lambda: len(receiver.received) == 2)
            assert receiver.received == [("text", "ü".encode()), ("binary", b"\x00" * 100_000)]
            assert socket.unsent_bytes == 0
            socket.close(1000, "done")
            assert await receiver.end() == (1000, "done")
        assert seen[0].path == "/v1/realtime?model=a%20b"
        assert seen[0].headers["Authorization"] == "Bearer key"
        assert seen[0].headers["Host"] == f"127.0.0.1:{port}"

    run(main, wire)


@pytest.mark.parametrize(
    ("status", "retryable"), [(401, False), (403, False), (404, False), (429, True), (503, True), (301, False)]
)
def test_a_refusal_carries_its_status_and_no_secret(status: int, retryable: bool, wire: Wire) -> None:
    async def main() -> None:
        async def refuse(connection: ServerConnection, request: Request) -> Response:
            return Response(status, http.HTTPStatus(status).phrase, Headers({"Location": "http://evil.example"}), b"x")

        async with serve(echo, "127.0.0.1", 0, process_request=refuse, ssl=wire.server_tls) as server:
            port = port_of(server)
            receiver = CapturingReceiver()
            url = wire.url(port, "/p?api-key=hush")
            with pytest.raises(LegLost) as caught:
                await dial(url, receiver, headers={"api-key": "hush"}, ssl_context=wire.client_tls)
        assert isinstance(caught.value, DialFailed)
        assert (caught.value.status, caught.value.retryable) == (status, retryable)
        assert "hush" not in str(caught.value) + caught.value.message + caught.value.public
        assert (receiver.ends, receiver.socket) == ([], None)

    run(main, wire)


def test_refusals_by_our_own_server_are_read(wire: Wire) -> None:
    async def main() -> None:
        async def admit(request: UpgradeRequest) -> str | Refusal:
            return Refusal(403, "no", "No.")

        async with serving([route_to(CapturingReceiver(), admit=admit)]) as server:
            with pytest.raises(DialFailed) as caught:
                await dial(wire.url(server.bound_port), CapturingReceiver(), ssl_context=wire.client_tls)
        assert caught.value.status == 403

    run(main, wire)


async def _answer(answer: bytes, wire: Wire) -> asyncio.Server:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    return await asyncio.start_server(talk, "127.0.0.1", 0, ssl=wire.server_tls)


@pytest.mark.parametrize(
    ("answer", "retryable"), [(b"", True), (b"SSH-2.0-x\r\n\r\n", False), (b"HTTP/1.1 101 Hi\r\n\r\n", False)]
)
def test_a_server_without_websockets_fails_the_dial(answer: bytes, retryable: bool, wire: Wire) -> None:
    async def main() -> None:
        async with await _answer(answer, wire) as server:
            with pytest.raises(DialFailed) as caught:
                await dial(wire.url(port_of(server)), CapturingReceiver(), ssl_context=wire.client_tls)
        assert (caught.value.retryable, caught.value.status) == (retryable, None)

    run(main, wire)


def test_a_missing_or_silent_server_may_be_dialled_again(wire: Wire) -> None:
    async def main() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(silent, "127.0.0.1", 0, ssl=wire.server_tls) as server:
            port = port_of(server)
            with pytest.raises(DialFailed, match="in time") as caught:
                await dial(wire.url(port), CapturingReceiver(), ssl_context=wire.client_tls, timeout_s=0.3)
            assert caught.value.retryable
        with pytest.raises(DialFailed, match="cannot connect") as caught:
            await dial(wire.url(port), CapturingReceiver(), ssl_context=wire.client_tls)
        assert caught.value.retryable

    run(main, wire)


@pytest.mark.parametrize("url", ["ftp://x", "ws://", "ws://user:hush@x/", "ws://[hush", "nonsense hush"])
def test_an_unusable_address_is_a_mistake_and_is_not_repeated(url: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError) as caught:
            await dial(url, CapturingReceiver())
        assert "hush" not in str(caught.value)

    run(main)


def test_a_header_cannot_smuggle_another() -> None:
    async def main() -> None:
        with pytest.raises(ValueError):
            await dial("ws://127.0.0.1:1", CapturingReceiver(), headers={"a": "b\r\nhost: evil"})

    run(main)


def test_servers_that_violate_the_protocol_are_told(wire: Wire) -> None:
    # Exceptions of futures that were never awaited.
    complaints: list[dict[str, object]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        for sent, code in (
            (frame(1, b"\xff", masked=False), 1007),
            (frame(1, b"masked"), 1002),
            (frame(5, b"no such opcode", masked=False), 1002),
            (frame(2, b"x" * 2000, masked=False), 1009),
        ):

            async def talk(connection: ServerConnection, sent: bytes = sent) -> None:
                connection.transport.write(sent)
                await connection.wait_closed()

            async with serve(talk, "127.0.0.1", 0, ssl=wire.server_tls) as server:
                receiver = CapturingReceiver()
                limits = SocketLimits(max_message_bytes=1000)
                await dial(wire.url(port_of(server)), receiver, limits=limits, ssl_context=wire.client_tls)
                assert (await receiver.end())[0] == code
                assert receiver.received == []

    run(main, wire)
    gc.collect()
    assert complaints == []


def test_a_server_that_goes_away_is_reported_with_its_code(wire: Wire) -> None:
    async def main() -> None:
        async def talk(connection: ServerConnection) -> None:
            await connection.close(4001, "session over")

        async with serve(talk, "127.0.0.1", 0, ssl=wire.server_tls) as server:
            receiver = CapturingReceiver()
            await dial(wire.url(port_of(server)), receiver, ssl_context=wire.client_tls)
            assert await receiver.end() == (4001, "session over")
            assert len(receiver.ends) == 1

    run(main, wire)


def test_large_messages_cross_both_ways(wire: Wire) -> None:
    async def main() -> None:
        far = CapturingReceiver(echo=True)
        requests: list[UpgradeRequest] = []

        async def admit(request: UpgradeRequest) -> str | Refusal:
            requests.append(request)
            return "admitted"

        limits = SocketLimits(max_message_bytes=2_000_000)
        async with serving([route_to(far, admit=admit, limits=limits)]) as server:
            near = CapturingReceiver()
            socket = await dial(wire.url(server.bound_port), near, ssl_context=wire.client_tls)
            socket.send_binary(b"\x01" * 1_000_000)
            socket.send_text(b"short")
            await near.until(lambda: len(near.received) == 2)
            assert near.received == [("binary", b"\x01" * 1_000_000), ("text", b"short")]
            socket.send_binary(b"x" * 2_000_001)
            assert (await near.end())[0] == 1009
            assert (await far.end())[0] == 1009
            assert requests[0].secure == wire.tls

    run(main, wire)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_an_untrusted_certificate_fails_the_dial_for_good(loop: str) -> None:
    wire = Wire(loop, tls=True)

    async def main() -> None:
        async with serving([route_to(CapturingReceiver())]) as server:
            with pytest.raises(DialFailed, match="TLS") as caught:
                await dial(wire.url(server.bound_port), CapturingReceiver())
            assert not caught.value.retryable

    run(main, wire)
