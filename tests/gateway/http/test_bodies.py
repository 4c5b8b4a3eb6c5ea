"""Tests for request bodies over ASGI: limits in size and time, and the close after an answer that came early."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from support.calls.call_rig import later
from support.virtual import run

from gateway.auth.http import EntranceRefused, Receive, Scope, Send, refusal_response
from gateway.clock import loop_s
from gateway.http.bodies import BODY_S, BYTES_PER_EXTRA_S, LINGER_S, BodyMiddleware

BOUND = 100
LARGE_BOUND = 4 * BYTES_PER_EXTRA_S


class Client:
    """A client that sends pieces of a body, then nothing more or a disconnect, and records the answer."""

    def __init__(
        self,
        pieces: Iterable[bytes],
        *,
        whole: bool = True,
        headers: Mapping[str, str] | None = None,
        every_s: float = 0.0,
        bound: int = BOUND,
    ) -> None:
        self._pieces = list(pieces)
        self._every_s = every_s
        self._bound = bound
        self._whole = whole
        self._headers = headers or {}
        self.sent: list[Any] = []
        self.pieces_taken = 0
        self.ended_s = 0.0

    async def ask(self, app: Any) -> None:
        headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        await BodyMiddleware(app, self._bound, loop_s)({"type": "http", "headers": headers}, self.receive, self.send)

    async def receive(self) -> dict[str, Any]:
        if self.pieces_taken == len(self._pieces):
            await asyncio.Event().wait()  # an idle connection
        if self._every_s:
            await later(self._every_s)
        piece = self._pieces[self.pieces_taken]
        self.pieces_taken += 1
        more = self.pieces_taken < len(self._pieces) or not self._whole
        return {"type": "http.request", "body": piece, "more_body": more}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        self.ended_s = asyncio.get_running_loop().time()

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def closed(self) -> bool:
        return (b"connection", b"close") in self.sent[0]["headers"]


async def reader(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that reads the whole body and answers with its length."""
    length, more = 0, True
    try:
        while more:
            message = await receive()
            length, more = length + len(message["body"]), message["more_body"]
    except EntranceRefused as refused:
        await refusal_response(refused.refusal)(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


async def refuser(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers without reading the body."""
    await send({"type": "http.response.start", "status": 401})
    await send({"type": "http.response.body", "body": b"no", "more_body": False})


def serve(client: Client, app: Any = reader) -> Client:
    run(client.ask(app))
    return client


CHUNKED = {"transfer-encoding": "chunked"}


def test_a_body_within_the_limit_is_read_and_the_connection_stays_open() -> None:
    client = serve(Client([b"x" * 60, b"x" * 40], headers={"content-length": "100"}))
    assert (client.status, client.closed, client.sent[1]["body"]) == (200, False, b"100")


def test_a_request_without_a_body_is_answered() -> None:
    client = serve(Client([b""]))
    assert (client.status, client.closed) == (200, False)


def test_an_announced_length_above_the_limit_is_refused_before_anything_is_read() -> None:
    client = Client([b"x"] * 3, headers={"content-length": "101"})
    taken: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(EntranceRefused) as refused:
            await receive()
        taken.append(client.pieces_taken)
        await refusal_response(refused.value.refusal)(scope, receive, send)

    serve(client, app)
    assert (taken, client.status, client.closed) == ([0], 413, True)


def test_a_body_of_unknown_length_is_refused_when_it_exceeds_the_limit() -> None:
    client = serve(Client([b"x" * 60, b"x" * 41, b"x" * 5000], headers=CHUNKED))
    assert (client.status, client.closed) == (413, True)
    assert client.pieces_taken == 3  # the last one was discarded, so that the client receives the answer
    assert [message.get("more_body", False) for message in client.sent[1:]] == [True, False]


def test_a_body_that_does_not_arrive_is_refused_in_time() -> None:
    client = Client([b"x"], whole=False, headers={"content-length": "50"})

    async def main() -> None:
        start_s = asyncio.get_running_loop().time()
        await client.ask(reader)
        assert client.ended_s - start_s == pytest.approx(BODY_S + LINGER_S)

    run(main())
    assert (client.status, client.closed) == (408, True)


def test_a_body_in_small_pieces_gets_no_extra_time() -> None:
    client = Client([b"x"] * 100, headers={"content-length": "100"}, every_s=0.4)

    async def main() -> None:
        start_s = asyncio.get_running_loop().time()
        await client.ask(reader)
        assert client.ended_s - start_s == pytest.approx(BODY_S + LINGER_S)

    run(main())
    assert (client.status, client.closed) == (408, True)


@pytest.mark.parametrize(("every_s", "status"), [(0.95, 200), (2.5, 408)])
def test_a_large_body_gets_more_time_as_it_arrives(every_s: float, status: int) -> None:
    pieces = [b"x" * (BYTES_PER_EXTRA_S // 2)] * 8
    headers = {"content-length": str(LARGE_BOUND)}
    assert serve(Client(pieces, headers=headers, every_s=every_s, bound=LARGE_BOUND)).status == status


def test_after_an_early_answer_the_rest_of_the_body_is_discarded() -> None:
    client = serve(Client([b"x" * 500] * 20, headers=CHUNKED), refuser)
    assert (client.status, client.closed, client.pieces_taken) == (401, True, 20)
    assert client.sent[1]["body"] == b"no"


def test_a_client_that_never_stops_sending_is_disconnected() -> None:
    client = Client([b"x"], whole=False, headers=CHUNKED)

    async def main() -> None:
        start_s = asyncio.get_running_loop().time()
        await client.ask(refuser)
        assert client.ended_s - start_s == pytest.approx(LINGER_S)

    run(main())
    assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_after_the_start_of_the_answer_the_app_gets_no_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["more_body"]:  # like a streamed answer, which waits for the client's disconnect
            pass
        await send({"type": "http.response.body", "body": b"all"})

    client = Client([b"x" * 500, b"x" * 500, b""], headers={"content-length": "1000"})
    # The connection is idle after the body, so the close comes only after the full time.
    assert serve(client, app).sent[1]["body"] == b"all"


def test_other_connections_than_http_are_unchanged() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def main() -> None:
        client = Client([])
        await BodyMiddleware(app, BOUND, loop_s)({"type": "lifespan"}, client.receive, client.send)

    run(main())
    assert seen == ["lifespan"]
