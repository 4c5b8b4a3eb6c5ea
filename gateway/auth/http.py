"""The entrance for FastAPI's routes: a middleware for host and origin, a dependency for credentials, and an exception.

There is no `from __future__ import annotations` here because FastAPI cannot resolve the text annotations of an object.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from fastapi import Request, Response
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from gateway.auth.entrance import Caller, Entrance
from gateway.auth.origins import OriginRules, check_origin
from gateway.auth.requests import Refusal, UpgradeRequest, read_scope

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

UNREADABLE_QUERY = Refusal(400, "unreadable_query", "The query of the URL cannot be read.")
PAGE_METHODS = ("GET", "POST", "DELETE")
PAGE_HEADERS = ("Authorization", "Content-Type", "Range", "If-Range", "If-None-Match")
# What scripts of such a page may read besides the few headers that browsers always show.
SHOWN_HEADERS = ("Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "Retry-After")


class EntranceRefused(HTTPException):
    """Raised for a request that is refused; `answer_refusal` makes the HTTP answer.

    It is an HTTPException because FastAPI passes no other exception while it reads a body.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status, refusal.code)
        self.refusal = refusal


def refusal_response(refusal: Refusal) -> Response:
    """The HTTP answer to a refused request, in the OpenAI API's error shape."""
    return Response(refusal.body(), refusal.status, dict(refusal.headers()))


async def answer_refusal(request: Request, error: Exception) -> Response:
    """The handler to use in `app.add_exception_handler(EntranceRefused, answer_refusal)`."""
    assert isinstance(error, EntranceRefused)
    return refusal_response(error.refusal)


def read_http(request: Request) -> UpgradeRequest:
    """The request in the form that the entrance checks. Raises EntranceRefused if its query cannot be read."""
    try:
        return read_scope(request.scope)
    except ValueError:
        raise EntranceRefused(UNREADABLE_QUERY) from None


class RequireCaller(SecurityBase):
    """The FastAPI dependency that admits a caller; it also describes the API key for OpenAPI.

    It is used as `Annotated[Caller, Depends(RequireCaller(entrance))]`. FastAPI calls it only after it has read the
    body; a `CallerFirstRoute` calls it before.
    """

    def __init__(self, entrance: Entrance, *, client_secrets: bool = False) -> None:
        self._entrance = entrance
        self._client_secrets = client_secrets
        self.model = HTTPBearer(description="An API key of this server; not needed if no keys are configured.")
        self.scheme_name = "api_key"

    async def __call__(self, request: Request) -> Caller:
        """Return the caller. Raises EntranceRefused."""
        found = self._entrance.let_in(read_http(request), client_secrets=self._client_secrets)
        if isinstance(found, Refusal):
            raise EntranceRefused(found)
        return found


class OriginMiddleware:
    """Refuses HTTP requests by TLS, host and origin, before any route is called.

    Requests to `open_paths` are not checked: health probes use an IP address as the host. Pages of an allowed other
    origin may read the answers, and may send the methods and headers above (CORS), except for the paths of carriers.
    """

    def __init__(self, app: AsgiApp, rules: OriginRules, open_paths: frozenset[str] = frozenset()) -> None:
        self._app = app
        # Every origin that reaches this middleware is allowed, because it has been checked before.
        self._checked = CORSMiddleware(
            app,
            allow_origin_regex=".*",
            allow_methods=PAGE_METHODS,
            allow_headers=PAGE_HEADERS,
            expose_headers=SHOWN_HEADERS,
        )
        self._rules = rules
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        try:
            request, refusal = check_origin(read_scope(scope), self._rules)
        except ValueError:
            request, refusal = None, UNREADABLE_QUERY
        if refusal is not None:
            await refusal_response(refusal)(scope, receive, send)
            return
        app = self._app if request is not None and request.hosts_public else self._checked
        await app(scope, receive, send)
