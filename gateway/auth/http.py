"""The entrance for FastAPI's routes: a middleware for host and origin, a dependency for credentials, one error.

No `from __future__ import annotations` here: FastAPI cannot resolve annotations of an object that are kept as text.
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

UNREADABLE_QUERY = Refusal(400, "unreadable_query", "The query of the address cannot be read.")
PAGE_METHODS = ("GET", "POST", "DELETE")
PAGE_HEADERS = ("Authorization", "Content-Type")


class EntranceRefused(HTTPException):
    """Raised for a request that is turned away; `answer_refusal` turns it into the HTTP answer.

    An HTTPException, for that is the only kind that FastAPI lets through while it reads a body.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status, refusal.code)
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
        raise EntranceRefused(UNREADABLE_QUERY) from None


class RequireCaller(SecurityBase):
    """A FastAPI dependency, `Annotated[Caller, Depends(RequireCaller(entrance))]`, and how OpenAPI shows it.

    FastAPI asks it only after the body has been read; routes of the kind `CallerFirstRoute` ask it before.
    """

    def __init__(self, entrance: Entrance, *, client_secrets: bool = False) -> None:
        self._entrance = entrance
        self._client_secrets = client_secrets
        self.model = HTTPBearer(description="An API key of this server; not asked for where none is configured.")
        self.scheme_name = "api_key"

    async def __call__(self, request: Request) -> Caller:
        """Who asks. Raises EntranceRefused."""
        found = self._entrance.let_in(read_http(request), client_secrets=self._client_secrets)
        if isinstance(found, Refusal):
            raise EntranceRefused(found)
        return found


class OriginMiddleware:
    """Turns away HTTP requests by line, host and origin, before any route. `open_paths` are for probes by address.

    Pages from another origin that are let in may read the answers, and send the methods and headers above (CORS).
    """

    def __init__(self, app: AsgiApp, rules: OriginRules, open_paths: frozenset[str] = frozenset()) -> None:
        self._app = app
        # Every origin that gets as far is an allowed one: it has been checked right before.
        self._checked = CORSMiddleware(
            app, allow_origin_regex=".*", allow_methods=PAGE_METHODS, allow_headers=PAGE_HEADERS
        )
        self._rules = rules
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        try:
            _, refusal = check_origin(read_scope(scope), self._rules)
        except ValueError:
            refusal = UNREADABLE_QUERY
        if refusal is not None:
            await refusal_response(refusal)(scope, receive, send)
            return
        await self._checked(scope, receive, send)
