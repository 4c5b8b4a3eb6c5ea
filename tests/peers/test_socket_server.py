"""The server's side of a media socket, against bare TCP and the `websockets` library."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from peers.socket_harness import CapturingReceiver, Raw, Wire, frame, route_to, run, serving, upgrade_head
from websockets.asyncio.client import connect

from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.net.media_routes import Accepted
from gateway.net.sockets import SocketLimits

pytestmark = pytest.mark.sockets
SMALL = SocketLimits(max_message_bytes=1000, max_unsent_bytes=200_000, goodbye_s=0.2)


def test_one_port_serves_http_and_media(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver(echo=True)
        async with serving([route_to(receiver)]) as server, httpx.AsyncClient(verify=wire.client_tls or True) as http:
            page = wire.url(server.bound_port, "/media", http=True)
            answer = await http.get(wire.url(server.bound_port, "/hello", http=True))
            assert answer.json() == {"hello": "there"}
            address = wire.url(server.bound_port, "/media?a=1")
            offered: Any = ["x", "realtime"]
            async with connect(address, subprotocols=offered, compression=None, ssl=wire.client_tls) as ws:
                assert ws.subprotocol == "realtime"
                await ws.send("grüße")
                assert await ws.recv() == "grüße"
                await ws.send(["fragm", "ented"])
                assert await ws.recv() == "fragmented"
                await ws.send(b"\x00\xff" * 40_000)
                assert await ws.recv() == b"\x00\xff" * 40_000
                await (await ws.ping())
            assert await receiver.end() == (1000, "")
            assert (await http.get(page)).status_code == 426
            assert (await http.post(page)).status_code == 404
        assert receiver.faults == []

    run(main, wire)


def test_no_subprotocol_is_required(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.connect(server.bound_port)
            status, head = await raw.ask(upgrade_head())
            assert status == 101
            assert "protocol" not in head.lower().replace("switching protocols", "")
            assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
            raw.writer.close()
            assert (await receiver.end())[0] == 1006

    run(main, wire)


CASES: dict[str, tuple[int, list[bytes]]] = {
    "not utf-8": (1007, [frame(1, b"\xff")]),
    "a surrogate": (1007, [frame(1, b"\xed\xa0\x80")]),
    "not utf-8 over two fragments": (1007, [frame(1, b"\xc3", fin=False), frame(0, b"(")]),
    "a continuation of nothing": (1002, [frame(0, b"x")]),
    "a text inside a text": (1002, [frame(1, b"a", fin=False), frame(1, b"b")]),
    "a reserved bit": (1002, [frame(1, b"a", reserved=4)]),
    "a reserved opcode": (1002, [frame(3, b"a")]),
    "a reserved control opcode": (1002, [frame(11, b"a")]),
    "no mask": (1002, [frame(1, b"a", masked=False)]),
    "a long ping": (1002, [frame(9, b"a" * 126)]),
    "a fragmented ping": (1002, [frame(9, b"a", fin=False)]),
    "close code 1005": (1002, [frame(8, b"\x03\xed")]),
    "close code 0": (1002, [frame(8, b"\x00\x00")]),
    "close code 5000": (1002, [frame(8, b"\x13\x88")]),
    "a close of one byte": (1002, [frame(8, b"\x03")]),
    "a close reason that is not utf-8": (1007, [frame(8, b"\x03\xe8\xff")]),
    "a frame over the bound": (1009, [frame(2, b"a" * 1001)]),
    "fragments over the bound": (1009, [frame(2, b"a" * 600, fin=False), frame(0, b"a" * 401)]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_violation_is_answered_with_its_code(case: str, wire: Wire) -> None:
    code, frames = CASES[case]

    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver, limits=SMALL)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            raw.send(frame(1, b"before"), *frames, frame(1, b"after"))
            assert await raw.close_code() == code
            raw.writer.close()
            assert (await receiver.end())[0] == code
            assert [message for _, message in receiver.received] in ([b"before"], [])
        assert receiver.faults == []
        assert len(receiver.ends) == 1

    run(main, wire)


def test_a_message_past_16_mib_is_refused_by_its_head_alone(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            raw.send(b"\x82\xff" + (16 * 1024 * 1024 + 1).to_bytes(8, "big") + b"mask")
            assert await raw.close_code() == 1009
            # A peer that continues to send can still read why: no reset overtakes the close frame.
            raw.send(b"x" * 3_000_000)
            await raw.writer.drain()
            raw.writer.close()
            assert (await receiver.end())[0] == 1009

    run(main, wire)


def test_pings_between_fragments_are_answered(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            raw.send(frame(1, b"a", fin=False), frame(9, b"hey"), frame(0, b"", fin=False), frame(0, b"b"))
            assert await raw.next_frame() == (10, b"hey")
            await receiver.until(lambda: receiver.received)
            assert receiver.received == [("text", b"ab")]
            raw.send(frame(8, b"\x0f\xa0bye"))
            assert await raw.close_code() == 4000
            assert await raw.eof()
            assert await receiver.end() == (4000, "bye")

    run(main, wire)


def test_the_servers_close_waits_for_the_answer_and_then_disconnects(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver, limits=SMALL)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            await receiver.until(lambda: receiver.socket)
            assert receiver.socket is not None
            receiver.socket.close(4002, "ö" * 100)
            assert receiver.socket.closed
            receiver.socket.send_text(b"too late")
            opcode, payload = await raw.next_frame()
            assert (opcode, payload[:2], payload[2:].decode()) == (8, b"\x0f\xa2", "ö" * 61)
            raw.send(frame(1, b"not heard any more"))
            assert await receiver.end() == (4002, "ö" * 61)
            assert receiver.received == []

    run(main, wire)


def test_a_fault_is_reported_and_closes_with_1011(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver(fail_on=b"boom")
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            raw.send(frame(1, b"boom"), frame(1, b"next"))
            assert await raw.close_code() == 1011
            raw.send(frame(8, b"\x03\xf3"))
            assert (await receiver.end())[0] == 1011
            assert [str(fault) for fault in receiver.faults] == ["the receiver failed"]
            assert receiver.received == [("text", b"boom")]

    run(main, wire)


def test_a_peer_that_does_not_read_reaches_the_bound(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver, limits=SMALL)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            await receiver.until(lambda: receiver.socket)
            assert receiver.socket is not None
            raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
            sent = 0
            while not receiver.socket.closed and sent < 400:
                receiver.socket.send_binary(b"x" * 50_000)
                sent += 1
            assert 200_000 < receiver.socket.unsent_bytes < 300_000
            assert (await receiver.end())[0] == 1013

    run(main, wire)


@pytest.mark.parametrize("sizes", [(9_000, 20, 70_000, 300), (20_000, 8_000)])
def test_queued_messages_are_sent_unchanged(wire: Wire, sizes: tuple[int, ...]) -> None:
    # Long and short messages by turns, more than the kernel buffers: queued data must not change under later messages.
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            await receiver.until(lambda: receiver.socket)
            assert receiver.socket is not None
            messages = [bytes([97 + number % 26]) * sizes[number % len(sizes)] for number in range(400)]
            straight = receiver.socket.fast_send()
            for number, message in enumerate(messages):
                (straight if number % 3 else receiver.socket.send_text)(message)
            assert receiver.socket.unsent_bytes > 100_000
            for message in messages:
                assert await raw.next_frame() == (1, message)
            receiver.socket.close()
            straight(b"after the goodbye")
            receiver.socket.fast_send()(b"this too")
            assert await raw.close_code() == 1000
            raw.send(frame(8, b"\x03\xe8"))
            assert (await receiver.end())[0] == 1000
            straight(b"and when it is gone")
            receiver.socket.fast_send()(b"this too")

    run(main, wire)


def test_a_vanished_peer_is_noticed_by_pings(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        limits = SocketLimits(ping_idle_s=0.1, ping_reply_s=0.1)
        async with serving([route_to(receiver, limits=limits)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            assert (await raw.next_frame())[0] == 9
            assert await receiver.end() == (1006, "the peer did not answer pings")

    run(main, wire)


def test_a_peer_that_bears_no_pings_gets_none_and_its_own_are_answered(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        limits = SocketLimits(ping_idle_s=None, ping_reply_s=0.05)
        async with serving([route_to(receiver, limits=limits)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await raw.next_frame()
            raw.send(frame(9, b"there?"))
            assert await raw.next_frame() == (10, b"there?")
            assert receiver.ends == []

    run(main, wire)


def test_a_refusal_is_written_as_json_and_nothing_is_opened(wire: Wire) -> None:
    async def main() -> None:
        opened: list[str] = []

        async def admit(request: UpgradeRequest) -> str | Refusal:
            if request.query.get("fail"):
                raise RuntimeError("a secret of the house")
            return Refusal(429, "too_many_calls", "Later.", retry_after_s=7)

        def accept(admission: str, request: UpgradeRequest) -> Accepted:
            opened.append(admission)
            return Accepted(CapturingReceiver())

        async with serving([route_to(CapturingReceiver(), admit=admit, accept=accept)]) as server:
            raw = await Raw.connect(server.bound_port)
            status, head = await raw.ask(upgrade_head())
            assert status == 429
            assert "retry-after: 7" in head
            body = orjson.loads(await raw.reader.read())
            assert body["error"] == {
                "type": "rate_limit_error",
                "code": "too_many_calls",
                "message": "Later.",
                "param": None,
            }
            raw = await Raw.connect(server.bound_port)
            status, _ = await raw.ask(upgrade_head("/media?fail=1"))
            rest = await raw.reader.read()
            assert status == 500
            assert b"secret" not in rest
        assert opened == []

    run(main, wire)


def test_bad_handshakes_are_refused_before_admission(wire: Wire) -> None:
    async def main() -> None:
        asked: list[UpgradeRequest] = []

        async def admit(request: UpgradeRequest) -> str | Refusal:
            asked.append(request)
            return "admitted"

        async with serving([route_to(CapturingReceiver(), admit=admit)]) as server:
            for head, expected in (
                (upgrade_head(sec_websocket_key="short"), 400),
                (upgrade_head(sec_websocket_key=None), 400),
                (upgrade_head(sec_websocket_version="8"), 426),
                (upgrade_head(content_length="5"), 400),
                (upgrade_head().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
                (upgrade_head(upgrade=None), 426),
                (upgrade_head("/elsewhere"), 404),
                (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, 431),
            ):
                raw = await Raw.connect(server.bound_port)
                status, answer = await raw.ask(head)
                assert (status, head[:60]) == (expected, head[:60])
                if expected == 426:
                    assert "sec-websocket-version: 13" in answer
                raw.writer.close()
        assert asked == []

    run(main, wire)


def test_a_slow_head_is_cut_off(wire: Wire) -> None:
    async def main() -> None:
        async with serving([route_to(CapturingReceiver())], head_timeout_s=0.1) as server:
            silent, slow = await Raw.connect(server.bound_port), await Raw.connect(server.bound_port)
            slow.writer.write(b"GET /media HTTP/1.1\r\nHost: x\r\n")
            assert await silent.reader.read() == b""
            assert await slow.reader.read() == b""

    run(main, wire)


def test_a_client_that_vanishes_during_admission_gets_no_receiver(wire: Wire) -> None:
    async def main() -> None:
        events: list[str] = []
        asked, go_on, given_back = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def admit(request: UpgradeRequest) -> str | Refusal:
            asked.set()
            await go_on.wait()
            return "admitted"

        def accept(admission: str, request: UpgradeRequest) -> Accepted:
            events.append("accepted")
            return Accepted(CapturingReceiver())

        def release(admission: str) -> None:
            events.append("released")
            given_back.set()

        async with serving([route_to(CapturingReceiver(), admit=admit, accept=accept, release=release)]) as server:
            raw = await Raw.connect(server.bound_port)
            raw.writer.write(upgrade_head())
            await asked.wait()
            raw.writer.transport.abort()
            with suppress(OSError):
                await raw.writer.wait_closed()
            go_on.set()
            await given_back.wait()
        assert events == ["released"]

    run(main, wire)


def test_admissions_have_a_bound_and_a_deadline(wire: Wire) -> None:
    async def main() -> None:
        async def admit(request: UpgradeRequest) -> str | Refusal:
            await asyncio.Event().wait()
            return "never"

        async with serving([route_to(CapturingReceiver(), admit=admit)], max_upgrades=1, admit_timeout_s=0.3) as server:
            first, second = await Raw.connect(server.bound_port), await Raw.connect(server.bound_port)
            first.writer.write(upgrade_head())
            await asyncio.sleep(0.05)
            status, answer = await second.ask(upgrade_head())
            assert (status, "retry-after: 1" in answer) == (503, True)
            assert b"busy" in await second.reader.read()
            status, _ = await first.ask(b"")
            assert status == 503

    run(main, wire)


def test_early_frames_of_an_impatient_client_are_not_lost(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver()
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(upgrade_head() + frame(1, b"early"))
            raw.send(frame(1, b"later"))
            await receiver.until(lambda: len(receiver.received) == 2)
            assert receiver.received == [("text", b"early"), ("text", b"later")]

    run(main, wire)


def test_a_burst_is_echoed_completely_and_in_order_whatever_its_frames(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver(echo=True)
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            sent = [(1 + n % 2, b"%d:" % n + b"x" * (n * 97 % 12_000)) for n in range(200)]
            raw.send(*(frame(opcode, payload) for opcode, payload in sent), frame(9, b"still there?"))
            came = [await raw.next_frame() for _ in range(201)]
            assert came == [*sent, (10, b"still there?")]

    run(main, wire)


def test_a_peer_that_floods_the_server_does_not_delay_another(wire: Wire) -> None:
    async def main() -> None:
        flooding, quiet = CapturingReceiver(), CapturingReceiver()
        quiet.received = flooding.received  # in the order of reading
        ears = [flooding, quiet]
        accept = replace(route_to(flooding), accept=lambda admission, request: Accepted(ears.pop(0)))
        async with serving([accept]) as server:
            one, other = await Raw.upgraded(server.bound_port), await Raw.upgraded(server.bound_port)
            one.send(frame(1, b"flood") * 10_000)
            other.send(frame(1, b"mine"))
            await flooding.until(lambda: len(flooding.received) == 10_001)
            assert flooding.received.index(("text", b"mine")) < 5_000

    run(main, wire)


def test_answers_to_a_burst_are_sent_before_the_close_frame_that_follows(wire: Wire) -> None:
    async def main() -> None:
        receiver = CapturingReceiver(echo=True)
        async with serving([route_to(receiver)]) as server:
            raw = await Raw.upgraded(server.bound_port)
            raw.send(*(frame(1, b"y" * 900) for _ in range(10)), frame(8, (1000).to_bytes(2, "big")))
            came = [await raw.next_frame() for _ in range(11)]
            assert came[:10] == [(1, b"y" * 900)] * 10
            assert came[10][0] == 8
            assert await raw.eof()
            assert await receiver.end() == (1000, "")

    run(main, wire)


def test_an_accept_that_fails_revokes_the_admission(wire: Wire) -> None:
    async def main() -> None:
        back: list[str] = []

        def accept(admission: str, request: UpgradeRequest) -> Accepted:
            raise RuntimeError("no receiver")

        async with serving([replace(route_to(CapturingReceiver()), accept=accept, release=back.append)]) as server:
            raw = await Raw.connect(server.bound_port)
            status, _ = await raw.ask(upgrade_head())
        assert (status, back) == (500, ["admitted"])

    run(main, wire)


def test_a_request_is_passed_on_unchanged(wire: Wire) -> None:
    async def main() -> None:
        seen: list[Any] = []

        async def admit(request: UpgradeRequest) -> str | Refusal:
            seen.append(request)
            return Refusal(403, "no", "No.")

        async with serving([route_to(CapturingReceiver(), admit=admit)]) as server:
            raw = await Raw.connect(server.bound_port)
            await raw.ask(
                upgrade_head("/me%64ia?model=a%20b&x=1&x=2", X_Thing="1", sec_websocket_protocol="realtime, k.secret")
            )
        request = seen[0]
        assert (request.path, request.query.get("model"), request.query.all("x")) == ("/media", "a b", ("1", "2"))
        assert (request.peer, request.secure, request.headers.get("x-THING")) == ("127.0.0.1", wire.tls, "1")
        assert request.subprotocols == ("realtime", "k.secret")
        assert "secret" not in repr(request)

    run(main, wire)
