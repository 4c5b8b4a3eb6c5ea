"""A fake Realtime model over WebSockets and TLS. It behaves well until a caller says `go`, then acts as its kind says.

The first connection of a kind is hostile. A later one (the gateway has dialled again) behaves well, unless the kind is
always hostile. `kind-7` is the seventh of the table in hostile_model_cases.py.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from peers.hostile_endpoint_kinds import tone
from peers.hostile_table import Says
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

SOUND = b64encode(tone(24_000, 100)).decode()


@dataclass(frozen=True)
class Refused:
    """An HTTP answer instead of a connection."""

    status: int
    body: bytes = b""


@dataclass(frozen=True)
class ModelKind:
    """One hostile model. `go` runs when a caller says so; `opens` runs instead of opening a session."""

    says: Says
    go: Callable[[Session], Awaitable[None]] | None = None
    opens: Callable[[Session], Awaitable[None]] | None = None
    refuses: Refused | None = None
    slow: bool = False
    always: bool = False  # every connection is hostile
    wait_s: float = 30.0


class Session:
    """One connection from the gateway."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.words = ""  # the caller's latest words
        self.made = 0  # the number of responses so far
        self.cancelled = asyncio.Event()

    async def send(self, kind: str, **fields: Any) -> None:
        """Send one event."""
        await self.raw(json.dumps({"type": kind, "event_id": "event_1", **fields}))

    async def raw(self, message: str | bytes, *, text: bool = True) -> None:
        """Send a message unchanged. Bytes are sent as text too, valid UTF-8 or not."""
        await self.socket.send(message, text=text)

    async def all(self, messages: list[dict[str, Any]]) -> None:
        """Send messages one after the other."""
        for message in messages:
            await self.raw(json.dumps(message))

    def response(self, text: str = "Fine.", deltas: int = 3) -> list[dict[str, Any]]:
        """The events of a whole answer."""
        self.made += 1
        return answer(f"resp_{id(self)}_{self.made}", text, deltas)

    async def good(self, text: str = "Fine.") -> None:
        """Answer as a model should."""
        await self.all(self.response(text))


def answer(response_id: str, text: str, deltas: int, sound: str = SOUND) -> list[dict[str, Any]]:
    """The events of a response that says this."""
    item_id = f"item_{response_id}"
    place = {"response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0}
    of_item = {"response_id": response_id, "output_index": 0}
    item = {"id": item_id, "object": "realtime.item", "type": "message", "role": "assistant"}
    part = {"type": "output_audio", "transcript": text}
    done = {**item, "status": "completed", "content": [part]}
    head = {"id": response_id, "object": "realtime.response", "conversation_id": "conv_1", "metadata": None}
    usage = {"total_tokens": 1, "input_tokens": 1, "output_tokens": 0}
    return [
        {"type": "response.created", "response": {**head, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", **of_item, "item": {**item, "status": "in_progress", "content": []}},
        {"type": "conversation.item.added", "previous_item_id": None, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **place, "part": {"type": "audio", "transcript": ""}},
        {"type": "response.output_audio_transcript.delta", **place, "delta": text},
        *[{"type": "response.output_audio.delta", **place, "delta": sound}] * deltas,
        {"type": "response.output_audio.done", **place},
        {"type": "response.output_audio_transcript.done", **place, "transcript": text},
        {"type": "response.content_part.done", **place, "part": {"type": "audio", "transcript": text}},
        {"type": "response.output_item.done", **of_item, "item": done},
        {"type": "conversation.item.done", "previous_item_id": None, "item": done},
        {"type": "response.done", "response": {**head, "status": "completed", "output": [done], "usage": usage}},
    ]


class ModelFake:
    """All hostile models behind one address."""

    def __init__(self, kinds: Sequence[ModelKind], cert: Path, key: Path) -> None:
        self._kinds = kinds
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(cert, key)
        self._server: Server | None = None
        self._dials: Counter[str] = Counter()
        self.port = 0

    async def start(self) -> None:
        """Start to listen."""
        self._server = await serve(
            self._talk,
            "127.0.0.1",
            0,
            ssl=self._tls,
            process_request=self._admit,
            compression=None,
            ping_interval=None,
            max_size=None,
            close_timeout=1,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._server.wait_closed()

    def _kind(self, path: str) -> tuple[str, ModelKind]:
        name = parse_qs(urlsplit(path).query)["model"][0]
        return name, self._kinds[int(name.rpartition("-")[2])]

    async def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        name, kind = self._kind(request.path)
        hostile = kind.always or not self._dials[name]
        if kind.refuses is None or not hostile:
            return None
        self._dials[name] += 1
        heads = Headers({"Content-Length": str(len(kind.refuses.body)), "Connection": "close"})
        known = {status.value: status.phrase for status in HTTPStatus}
        return Response(kind.refuses.status, known.get(kind.refuses.status, "What"), heads, kind.refuses.body)

    async def _talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        name, kind = self._kind(socket.request.path)
        hostile = kind.always or not self._dials[name]
        self._dials[name] += 1
        session = Session(socket)
        with suppress(ConnectionClosed, OSError):
            if hostile and kind.opens is not None:
                await kind.opens(session)
                return
            await session.send("session.created", session={"id": "sess_1", "type": "realtime", "model": name})
            await serve_well(session, kind.go if hostile else None)


async def serve_well(session: Session, go: Callable[[Session], Awaitable[None]] | None) -> None:
    """Follow the protocol, except for `go`."""
    async with asyncio.TaskGroup() as tasks:
        async for message in session.socket:
            event = json.loads(message)
            match event["type"]:
                case "session.update":
                    await session.send("session.updated", session=event["session"])
                case "conversation.item.create":
                    item = {"id": "item_0", **event["item"]}
                    session.words = json.dumps(item) if item.get("role") == "user" else session.words
                    await session.send("conversation.item.added", previous_item_id=None, item=item)
                    await session.send("conversation.item.done", previous_item_id=None, item=item)
                case "response.create" if "go now" in session.words and go is not None:
                    tasks.create_task(_guarded(go, session))
                case "response.create":
                    await session.good("Pong." if "ping" in session.words else "Fine.")
                case "response.cancel":
                    session.cancelled.set()


async def _guarded(go: Callable[[Session], Awaitable[None]], session: Session) -> None:
    with suppress(ConnectionClosed, OSError):
        await go(session)
