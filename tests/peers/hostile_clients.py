"""Hostile callers: garbage before and after the handshake, floods, and sockets that are left half open."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from peers.hostile_calls import converse, finish_any, look_up, note
from peers.hostile_table import HUNG_UP, Case, Provoke, Says, Seen, World
from peers.server_callers import Caller, calling
from peers.socket_harness import Raw, upgrade_head
from websockets.exceptions import ConnectionClosed

PART = "caller"
MIB = 1 << 20
BAD = Says(end=("bad_input",), close=(1002, 1007, 1008, 1009))
LIVES = Says(said="Pong.")
# A masked frame whose mask is zeros, so that the payload is unchanged.
MASK = bytes(4)


def frame(first: int, payload: bytes) -> bytes:
    """A client's frame."""
    if len(payload) < 126:
        return bytes((first, 0x80 | len(payload))) + MASK + payload
    if len(payload) < 65536:
        return bytes((first, 0xFE)) + len(payload).to_bytes(2, "big") + MASK + payload
    return bytes((first, 0xFF)) + len(payload).to_bytes(8, "big") + MASK + payload


def _sends(*messages: str | bytes) -> Provoke:
    """Send these messages, then two ordinary turns."""

    async def provoke(world: World, case: Case) -> Seen:
        seen = Seen()
        async with calling(world.server, "plain") as caller:
            seen.session_id = caller.session_id
            with suppress(ConnectionClosed, AttributeError):  # asyncio raises the latter when closed while writing
                for message in messages:
                    await caller.socket.send(message)
                seen.answered_again = await converse(caller, "ping", case.wait_s)
                await caller.socket.close()
            note(seen, caller)
        if seen.answered_again:
            seen.close_code = 0
        return await look_up(world, seen)

    return provoke


async def _raw_call(world: World) -> tuple[Raw, str]:
    """A caller that writes raw bytes, and its session."""
    raw = await Raw.connect(world.server.port)
    status, _ = await raw.ask(upgrade_head("/v1/realtime?model=plain"))
    assert status == 101
    _, created = await raw.next_frame()
    return raw, json.loads(created)["session"]["id"]


def _bytes(*pieces: bytes, reads: bool = True, wait_s: float = 0.0) -> Provoke:
    """Send raw bytes after the handshake, then cut the connection unless the server has closed it."""

    async def provoke(world: World, case: Case) -> Seen:
        raw, session_id = await _raw_call(world)
        seen = Seen(session_id)
        reading = asyncio.ensure_future(raw.close_code()) if reads else None
        if not reads:
            raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(10):
                for piece in pieces:
                    raw.writer.write(piece)
                    await raw.writer.drain()
        if reading is not None:
            with suppress(TimeoutError, EOFError, OSError):
                seen.close_code = await asyncio.wait_for(reading, wait_s or 3)
        else:
            await asyncio.sleep(wait_s)
        raw.writer.transport.abort()
        return await look_up(world, seen)

    return provoke


def _before(payload: bytes, *, hold_s: float = 0.5) -> Provoke:
    """Send bytes instead of a handshake, on many sockets that stay open for a while."""

    async def provoke(world: World, case: Case) -> None:
        raws = [await Raw.connect(world.server.port) for _ in range(20)]
        for raw in raws:
            raw.writer.write(payload)
        async with calling(world.server, "plain") as caller:
            assert await converse(caller, "ping", 10), "no call beside it"
        await asyncio.sleep(hold_s)
        for raw in raws:
            raw.writer.transport.abort()

    return provoke


def _asks(method: str, path: str, body: bytes = b"", *heads: str) -> Provoke:
    """A request to the HTTP API. It must get an answer, and not one that reports a fault of the server."""

    async def provoke(world: World, case: Case) -> None:
        raw = await Raw.connect(world.server.port)
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *heads, "", ""]
        raw.writer.write("\r\n".join(lines).encode("latin-1") + body)
        async with asyncio.timeout(10):
            answered = await raw.reader.readline()
        raw.writer.transport.abort()
        status = int(answered.split(b" ")[1])
        assert 200 <= status < 500, f"answered {answered!r}"

    return provoke


def _with(act: Callable[[Caller], Awaitable[None]]) -> Provoke:
    """An ordinary call in which the caller does something odd, then two ordinary turns."""

    async def provoke(world: World, case: Case) -> Seen:
        seen = Seen()
        async with calling(world.server, "plain") as caller:
            seen.session_id = caller.session_id
            with suppress(ConnectionClosed):
                await act(caller)
                await caller.say("ping")
                async with asyncio.timeout(case.wait_s):
                    while "Pong." not in json.dumps(caller.events[-1]):
                        await finish_any(caller, case.wait_s)
                seen.answered_again = True
            note(seen, caller)
        return await look_up(world, seen)

    return provoke


def _many(count: int, kind: str, **fields: Any) -> Provoke:
    async def act(caller: Caller) -> None:
        message = json.dumps({"type": kind, **fields})
        sending = asyncio.ensure_future(_send_all(caller, message, count))
        while not sending.done():  # it reads meanwhile: a client that does not read is another case
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await caller.next()
        await sending
        with suppress(TimeoutError):  # what follows would be refused while a response of the flood is in progress
            while True:
                async with asyncio.timeout(1.0):
                    await caller.next()

    return _with(act)


async def _send_all(caller: Caller, message: str, count: int) -> None:
    for _ in range(count):
        await caller.socket.send(message)


async def _comes_and_goes(world: World, case: Case) -> None:
    """A hundred callers that leave before they have said anything."""
    for _ in range(10):
        raws = [await Raw.connect(world.server.port) for _ in range(10)]
        for raw in raws:
            raw.writer.write(upgrade_head("/v1/realtime?model=plain"))
        await asyncio.sleep(0.05)
        for raw in raws:
            raw.writer.transport.abort()


async def _flood_of_pings(world: World, case: Case) -> Seen:
    """Millions of pings from a client that reads nothing: it is closed, and uses no memory meanwhile."""
    before = world.server.rss_bytes()
    pings = (b"\x89\x80" + MASK) * 100_000
    seen = await _bytes(*[pings] * 30, reads=False, wait_s=1.0)(world, case)
    grown = (world.server.rss_bytes() - before) // MIB
    assert grown < 200, f"the server has grown by {grown} MiB"
    assert seen is not None
    return seen


APPEND = b64encode(bytes(960)).decode()
EMOJI = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "\ud83d"}]}
ODD = ("null", "[]", "7", '"x"', "{}", "{{{", '{"type":null}', '{"type":7}', '{"type":[]}')
SECRETS, JSON = "/v1/realtime/client_secrets", "Content-Type: application/json"
POST = f"POST {SECRETS} HTTP/1.1\r\nHost: x\r\n".encode()
SOUND = json.dumps({"type": "input_audio_buffer.append", "audio": "A" * (4 * MIB - 1024)})
NESTED = '{"type":"conversation.item.create","item":' + "[" * 100_000 + "]" * 100_000 + "}"
PARTS = '{"type":"conversation.item.create","item":[' + ",".join(['{"a":"aaaaaaaaaaaaaa"}'] * 150_000) + "]}"
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "words"}]}

CASES = [
    Case(PART, "nine odd messages", _sends(*ODD), LIVES),
    Case(PART, "ten odd messages", _sends(*ODD, "null"), BAD),
    Case(PART, "a binary message", _sends(b"\x00\xff"), LIVES),
    Case(PART, "deep JSON", _sends(NESTED), LIVES),
    Case(PART, "JSON in 150000 parts", _sends(PARTS), Says(end=("bad_input", *HUNG_UP))),
    Case(PART, "4 MB of sound", _sends(SOUND), LIVES),
    Case(PART, "4 MB of words", _sends(json.dumps({"type": "x", "words": "w" * (4 * MIB - 100)})), LIVES),
    Case(PART, "4 MB of brackets", _sends("[" * (4 * MIB - 100)), LIVES),
    Case(PART, "4 MB of backslashes", _sends('{"type":"' + "\\\\" * (2 * MIB - 100) + '"}'), LIVES),
    Case(PART, "4 MB of half emojis", _sends('{"type":"' + "\\ud83d" * (2 * MIB // 3 - 100) + '"}'), LIVES),
    Case(PART, "17 MB", _bytes(frame(0x81, b"x" * 17 * MIB)), BAD),
    Case(PART, "half an emoji", _sends(json.dumps({"type": "conversation.item.create", "item": EMOJI})), LIVES),
    Case(PART, "a number of 100000 digits", _sends('{"type":"x","a":' + "9" * 100_000 + "}"), LIVES),
    Case(PART, "no UTF-8", _bytes(frame(0x81, b'{"type":"\xff"}')), BAD),
    Case(PART, "a broken frame", _bytes(b"\xff\xff\xff\xff"), BAD),
    Case(PART, "half a frame, and gone", _bytes(frame(0x81, bytes(1000))[:500], wait_s=1.0), Says(goes_on=False)),
    Case(PART, "two close frames", _bytes(frame(0x88, b"\x03\xe8") * 2), Says(close=(1000,), goes_on=False)),
    Case(PART, "words after the close", _bytes(frame(0x88, b"\x03\xe8") + frame(0x81, b"{}")), Says(goes_on=False)),
    Case(
        PART,
        "100000 empty fragments",
        _bytes(frame(0x01, b"") + frame(0x00, b"") * 100_000),
        Says(("bad_input", *HUNG_UP), goes_on=False),
    ),
    Case(PART, "a flood of pings, unread", _flood_of_pings, Says(("too_slow", *HUNG_UP), goes_on=False)),
    Case(PART, "a flood of pongs", _bytes(*[(b"\x8a\x80" + MASK) * 100_000] * 5), Says(goes_on=False)),
    Case(PART, "3000 requests for an answer", _many(3000, "response.create"), LIVES, wait_s=40),
    Case(
        PART,
        "3000 changes of the session",
        _many(3000, "session.update", session={"type": "realtime"}),
        LIVES,
        wait_s=40,
    ),
    Case(PART, "3000 items", _many(3000, "conversation.item.create", item=ITEM), LIVES, wait_s=40),
    Case(PART, "10000 frames at once", _many(10_000, "input_audio_buffer.append", audio=APPEND), LIVES, wait_s=40),
    Case(PART, "a hundred that come and go", _comes_and_goes),
    Case("half-open socket", "nothing", _before(b"")),
    Case("half-open socket", "half a head", _before(b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\n")),
    Case("half-open socket", "a long head", _before(b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 100_000)),
    Case("half-open socket", "a TLS hello", _before(bytes.fromhex("1603010200010001fc0303") + bytes(200))),
    Case("half-open socket", "random bytes", _before(bytes(range(256)))),
    Case("half-open socket", "a body that does not come", _before(POST + b"Content-Length: 50\r\n\r\n{")),
    Case("half-open socket", "an endless chunk", _before(POST + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n")),
    *(
        Case("HTTP API", kind, _asks(*request))
        for kind, request in {
            "a body of null": ("POST", SECRETS, b"null", JSON),
            "a body of brackets": ("POST", SECRETS, b"[" * 60_000, JSON),
            "a body that is no UTF-8": ("POST", SECRETS, b"\xff\xfe", JSON),
            "a body of half an emoji": ("POST", SECRETS, b'{"session":{"model":"\\ud83d"}}', JSON),
            "a number of 5000 digits": ("POST", SECRETS, b'{"expires_after":{"seconds":' + b"9" * 5000 + b"}}", JSON),
            "a NUL in the path": ("GET", "/api/v1/sessions/%00"),
            "half an emoji in the path": ("GET", "/api/v1/sessions/%ed%a0%bd"),
            "dots in the path": ("GET", "/api/v1/sessions/..%2f..%2fetc/recording"),
            "a long path": ("GET", "/api/v1/sessions/" + "x" * 6000),
            "an odd cursor": ("GET", "/api/v1/sessions?after=%ff%00&limit=99999999999999999999999"),
            "an odd limit": ("GET", "/api/v1/sessions?limit=-1"),
            "an agent that is none": ("GET", "/v1/realtime?model=%00%ff"),
            "an odd range": ("GET", "/api/v1/agents", b"", "Range: bytes=99999999999999999999-1"),
        }.items()
    ),
]
