"""The entrance for FastAPI's routes: a middleware for host and origin, a dependency for credentials, one error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from fastapi import Request, Response

from gateway.auth.entrance import Caller, Entrance
from gateway.auth.origins import OriginRules, check_origin
from gateway.auth.requests import Refusal, UpgradeRequest, read_scope

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_UNREADABLE = Refusal(400, "unreadable_query", "The query of the address cannot be read.")


class EntranceRefused(Exception):
    """Raised by the dependency; `answer_refusal` turns it into the HTTP answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def refusal_response(refusal: Refusal) -> Response:
    """The HTTP answer, in the OpenAI API's error shape."""
    return Response(refusal.body(), refusal.status, dict(refusal.headers()))


async def answer_refusal(request: Request, error: Exception) -> Response:
    """For `app.add_exception_handler(EntranceRefused, answer_refusal)`."""
    assert isinstance(error, EntranceRefused)
    return refusal_response(error.refusal)


def read_http(request: Request) -> UpgradeRequest:
    """The request as the entrance sees it. Raises EntranceRefused where its query cannot be read."""
    try:
        return read_scope(request.scope)
    except ValueError:
        raise EntranceRefused(_UNREADABLE) from None


def require_caller(entrance: Entrance, *, client_secrets: bool = False) -> Callable[[Request], Awaitable[Caller]]:
    """A FastAPI dependency: `caller: Annotated[Caller, Depends(require_caller(entrance))]`."""

    async def caller(request: Request) -> Caller:
        found = entrance.let_in(read_http(request), client_secrets=client_secrets)
        if isinstance(found, Refusal):
            raise EntranceRefused(found)
        return found

    return caller


class OriginMiddleware:
    """Turns away HTTP requests by line, host and origin, before any route. `open_paths` are for probes by address."""

    def __init__(self, app: AsgiApp, rules: OriginRules, open_paths: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._rules = rules
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["path"] not in self._open_paths:
            try:
                _, refusal = check_origin(read_scope(scope), self._rules)
            except ValueError:
                refusal = _UNREADABLE
            if refusal is not None:
                await refusal_response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)
