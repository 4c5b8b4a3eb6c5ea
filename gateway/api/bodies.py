"""The bodies of HTTP requests: bounded in bytes and time, read as strict JSON, and only for callers who are let in.

FastAPI reads a body whole before it asks a route's dependencies, and without a bound. Source: RFC 9110, 15.5.14 (413).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from gateway.auth.http import AsgiApp, EntranceRefused, Message, Receive, RequireCaller, Scope, Send
from gateway.auth.requests import Refusal
from gateway.realtime.reading import check_depth, read_object
from sessions.errors import WireError
from sessions.ports import JsonObject

# For a whole body to come: of one that trickles in, progress would never end. But a large one that is allowed has its
# time too: so many bytes of it are worth a second more.
BODY_S = 5.0
SECONDS_WORTH_BYTES = 64 * 1024
LINGER_S = 2.0  # for a refused client to stop sending and read why: bytes that are not read would cut it off

TOO_LARGE = Refusal(413, "body_too_large", "The request's body is larger than this server takes.")
TOO_SLOW = Refusal(408, "body_timeout", "The request's body did not come in time.")


class CallerFirstRoute(APIRoute):
    """A route that asks who calls before a byte of the body is read; the body is an object in strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, behind the route's `RequireCaller`."""
        inner = super().get_route_handler()
        doors = [known.call for known in self.dependant.dependencies if isinstance(known.call, RequireCaller)]

        async def handle(request: Request) -> Response:
            for door in doors:
                await door(request)
            return await inner(_JsonRequest(request.scope, request.receive))

        return handle


class _JsonRequest(Request):
    async def json(self) -> JsonObject:
        """The body. Raises EntranceRefused for what is no JSON object, or nested too deep to be written again."""
        body = await self.body()
        try:
            parsed = read_object(body)
            check_depth(parsed, body)
        except WireError as error:
            raise EntranceRefused(Refusal(400, error.code, error.message)) from error
        return parsed


class BodyMiddleware:
    """Bounds every request's body, and closes the connection where it has not been read when the answer begins."""

    def __init__(self, app: AsgiApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive, send, self._max_bytes)
        await self._app(scope, body.receive, body.send)


class _Body:
    """One request's body on its way in, and the answer on its way out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_bytes: int) -> None:
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        self._announced_bytes = int(announced) if announced.isdigit() else 0
        self._pending = self._announced_bytes > 0 or b"transfer-encoding" in headers
        self._closes = False
        self._bytes = 0
        self._begun_s: float | None = None
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes

    async def receive(self) -> Message:
        """The next piece. Raises EntranceRefused for a body that is too large or too slow."""
        if not self._pending or self._closes:  # once the answer has begun, only the end of the connection counts
            return await self._receive()
        if self._announced_bytes > self._max_bytes:
            raise EntranceRefused(TOO_LARGE)
        if self._begun_s is None:
            self._begun_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(self._begun_s + BODY_S + self._bytes // SECONDS_WORTH_BYTES):
                message = await self._receive()
        except TimeoutError:
            raise EntranceRefused(TOO_SLOW) from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._max_bytes:
            raise EntranceRefused(TOO_LARGE)
        self._pending = message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on; what is left of the body is thrown away behind it, for a while."""
        if message["type"] == "http.response.start" and self._pending:
            self._closes = True
            message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
        if message["type"] != "http.response.body" or message.get("more_body", False) or not self._closes:
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        await self._linger()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _linger(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while (await self._receive()).get("more_body", False):
                    pass
