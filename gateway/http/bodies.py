"""Bodies of HTTP requests: limited in size and time, parsed as strict JSON, and read only for admitted callers.

FastAPI reads the whole body, without a limit, before it calls a route's dependencies. Source: RFC 9110, 15.5.14 (413).
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

# The time for a whole body to arrive. A limit for each piece would let a slow sender go on for ever. A large body gets
# one second more for each `BYTES_PER_EXTRA_S` that have arrived.
BODY_S = 5.0
BYTES_PER_EXTRA_S = 64 * 1024
# The time for a refused client to stop sending and read the answer: a close with unread bytes resets the connection.
LINGER_S = 2.0

TOO_LARGE = Refusal(413, "body_too_large", "The request's body is larger than this server accepts.")
TOO_SLOW = Refusal(408, "body_timeout", "The request's body did not arrive in time.")


class CallerFirstRoute(APIRoute):
    """A route that checks the caller before the body is read; the body must be a strict JSON object."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, called after the route's `RequireCaller`."""
        inner = super().get_route_handler()
        checks = [known.call for known in self.dependant.dependencies if isinstance(known.call, RequireCaller)]

        async def handle(request: Request) -> Response:
            for check in checks:
                await check(request)
            return await inner(_JsonRequest(request.scope, request.receive))

        return handle


class _JsonRequest(Request):
    async def json(self) -> JsonObject:
        """The body. Raises EntranceRefused if it is not a JSON object, or is nested too deeply to be written again."""
        body = await self.body()
        try:
            parsed = read_object(body)
            check_depth(parsed, body)
        except WireError as error:
            raise EntranceRefused(Refusal(400, error.code, error.message)) from error
        return parsed


class BodyMiddleware:
    """Limits every request's body, and closes the connection if the answer begins before the body has been read."""

    def __init__(self, app: AsgiApp, max_bytes: int, now_s: Callable[[], float]) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._now_s = now_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive, send, self._max_bytes, self._now_s)
        await self._app(scope, body.receive, body.send)


class _Body:
    """Reads the body of one request and sends its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_bytes: int, now_s: Callable[[], float]) -> None:
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
        self._now_s = now_s

    async def receive(self) -> Message:
        """The next piece. Raises EntranceRefused for a body that is too large or too slow."""
        if not self._pending or self._closes:  # once the answer has begun, only the end of the connection matters
            return await self._receive()
        if self._announced_bytes > self._max_bytes:
            raise EntranceRefused(TOO_LARGE)
        if self._begun_s is None:
            self._begun_s = self._now_s()
        deadline_s = self._begun_s + BODY_S + self._bytes // BYTES_PER_EXTRA_S
        try:
            async with asyncio.timeout(deadline_s - self._now_s()):
                message = await self._receive()
        except TimeoutError:
            raise EntranceRefused(TOO_SLOW) from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._max_bytes:
            raise EntranceRefused(TOO_LARGE)
        self._pending = message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on. After it, the rest of the body is read and discarded for at most `LINGER_S`."""
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
