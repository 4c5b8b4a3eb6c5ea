"""Bodies at the ASGI seam: bounded in bytes and time, and the connection closed behind an answer that came early."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from call_rig import later
from virtual import run

from gateway.api.bodies import BODY_S, LINGER_S, SECONDS_WORTH_BYTES, BodyMiddleware
from gateway.auth.http import EntranceRefused, Receive, Scope, Send, refusal_response

BOUND = 100
LARGE_BOUND = 4 * SECONDS_WORTH_BYTES


class Client:
    """A far end that sends pieces of a body, then (unless it has hung up) nothing more; and keeps what it is told."""

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
        self.told: list[Any] = []
        self.pieces_taken = 0
        self.ended_s = 0.0

    async def ask(self, app: Any) -> None:
        headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        await BodyMiddleware(app, self._bound)({"type": "http", "headers": headers}, self.receive, self.send)

    async def receive(self) -> dict[str, Any]:
        if self.pieces_taken == len(self._pieces):
            await asyncio.Event().wait()  # an idle line
        if self._every_s:
            await later(self._every_s)
        piece = self._pieces[self.pieces_taken]
        self.pieces_taken += 1
        more = self.pieces_taken < len(self._pieces) or not self._whole
        return {"type": "http.request", "body": piece, "more_body": more}

    async def send(self, message: Any) -> None:
        self.told.append(message)
        self.ended_s = asyncio.get_running_loop().time()

    @property
    def status(self) -> int:
        status: int = self.told[0]["status"]
        return status

    @property
    def closed(self) -> bool:
        return (b"connection", b"close") in self.told[0]["headers"]


async def reader(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that reads the whole body and says how long it was."""
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
    """An app that answers without a look at the body."""
    await send({"type": "http.response.start", "status": 401})
    await send({"type": "http.response.body", "body": b"no", "more_body": False})


def asked(client: Client, app: Any = reader) -> Client:
    run(client.ask(app))
    return client


CHUNKED = {"transfer-encoding": "chunked"}


def test_a_body_within_the_bound_is_read_and_the_connection_stays() -> None:
    client = asked(Client([b"x" * 60, b"x" * 40], headers={"content-length": "100"}))
    assert (client.status, client.closed, client.told[1]["body"]) == (200, False, b"100")


def test_no_body_is_no_matter() -> None:
    client = asked(Client([b""]))
    assert (client.status, client.closed) == (200, False)


def test_a_length_out_of_bounds_is_refused_before_a_byte_is_asked_for() -> None:
    client = Client([b"x"] * 3, headers={"content-length": "101"})
    taken: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(EntranceRefused) as refused:
            await receive()
        taken.append(client.pieces_taken)
        await refusal_response(refused.value.refusal)(scope, receive, send)

    asked(client, app)
    assert (taken, client.status, client.closed) == ([0], 413, True)


def test_a_body_of_no_known_length_is_refused_where_it_passes_the_bound() -> None:
    client = asked(Client([b"x" * 60, b"x" * 41, b"x" * 5000], headers=CHUNKED))
    assert (client.status, client.closed) == (413, True)
    assert client.pieces_taken == 3  # the last was thrown away, so that the client hears why
    assert [message.get("more_body", False) for message in client.told[1:]] == [True, False]


def test_a_body_that_does_not_come_is_refused_in_time() -> None:
    client = Client([b"x"], whole=False, headers={"content-length": "50"})

    async def main() -> None:
        start_s = asyncio.get_running_loop().time()
        await client.ask(reader)
        assert client.ended_s - start_s == pytest.approx(BODY_S + LINGER_S)

    run(main())
    assert (client.status, client.closed) == (408, True)


def test_a_body_that_trickles_in_gains_no_time_by_it() -> None:
    client = Client([b"x"] * 100, headers={"content-length": "100"}, every_s=0.4)

    async def main() -> None:
        start_s = asyncio.get_running_loop().time()
        await client.ask(reader)
        assert client.ended_s - start_s == pytest.approx(BODY_S + LINGER_S)

    run(main())
    assert (client.status, client.closed) == (408, True)


@pytest.mark.parametrize(("every_s", "status"), [(0.95, 200), (2.5, 408)])
def test_a_large_body_has_more_time_as_it_grows(every_s: float, status: int) -> None:
    pieces = [b"x" * (SECONDS_WORTH_BYTES // 2)] * 8
    headers = {"content-length": str(LARGE_BOUND)}
    assert asked(Client(pieces, headers=headers, every_s=every_s, bound=LARGE_BOUND)).status == status


def test_an_answer_before_the_body_lingers_for_the_rest_of_it() -> None:
    client = asked(Client([b"x" * 500] * 20, headers=CHUNKED), refuser)
    assert (client.status, client.closed, client.pieces_taken) == (401, True, 20)
    assert client.told[1]["body"] == b"no"


def test_a_client_that_never_stops_sending_is_cut_off() -> None:
    client = Client([b"x"], whole=False, headers=CHUNKED)

    async def main() -> None:
        start_s = asyncio.get_running_loop().time()
        await client.ask(refuser)
        assert client.ended_s - start_s == pytest.approx(LINGER_S)

    run(main())
    assert client.told[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_a_body_behind_an_answer_that_has_begun_is_nobodys() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["more_body"]:  # as a streamed answer does, to see its client go
            pass
        await send({"type": "http.response.body", "body": b"all"})

    client = Client([b"x" * 500, b"x" * 500, b""], headers={"content-length": "1000"})
    # The line is idle behind the body, so the answer lingers its full time.
    assert asked(client, app).told[1]["body"] == b"all"


def test_what_is_not_http_is_left_alone() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def main() -> None:
        client = Client([])
        await BodyMiddleware(app, BOUND)({"type": "lifespan"}, client.receive, client.send)

    run(main())
    assert seen == ["lifespan"]
