"""The HTTP routes of carriers: webhooks, callbacks, and the registration of calls, all under `/telephony/`.

A handler gets the body as it came, because signatures cover its bytes. Host, TLS and origin have been checked, and the
body's size and time are bounded (`bodies.py`); who sent the request is for the handler to check. The answers may not be
read by pages of other origins, and the OpenAPI document does not list these routes: carriers call them, not people.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.auth.requests import CARRIERS_PATH

Handler: TypeAlias = Callable[[Request, bytes], Awaitable[Response]]
Check: TypeAlias = Callable[[Request], Awaitable[object]]


async def _anybody(request: Request) -> None:
    return None


@dataclass(frozen=True, slots=True)
class CarrierRoute:
    """One path of a carrier, and the handler that answers there.

    `path` may have variable segments as Starlette writes them, such as `/telephony/acs/callbacks/{key}`. `before` is
    called before the body is read, and raises EntranceRefused for a request whose body is not wanted.
    """

    path: str
    handler: Handler
    method: str = "POST"
    before: Check = _anybody


class CarrierFigures(Protocol):
    """What the carriers' requests and calls came to."""

    @property
    def tcp_sockets(self) -> int:
        """How many sockets of callers are open that are no WebSockets."""
        ...

    def events(self) -> Iterable[tuple[tuple[str, str], int]]:
        """How often each event of a carrier was counted, by carrier and event."""
        ...


class CarrierRoutes(Protocol):
    """One carrier's HTTP routes."""

    def http_routes(self) -> Sequence[CarrierRoute]:
        """All routes, each path under `/telephony/`."""
        ...


def carrier_routes(carriers: Iterable[CarrierRoutes]) -> list[Route]:
    """The routes of all carriers for the HTTP application. Raises ValueError for a path that is not a carrier's."""
    return [_route(route) for carrier in carriers for route in carrier.http_routes()]


def _route(route: CarrierRoute) -> Route:
    if not route.path.startswith(CARRIERS_PATH):  # elsewhere the public host is not answered to
        raise ValueError(f"a carrier's path must begin with {CARRIERS_PATH}, not {route.path}")

    async def answer(request: Request) -> Response:
        await route.before(request)
        try:
            body = await request.body()
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        return await route.handler(request, body)

    return Route(route.path, answer, methods=[route.method], include_in_schema=False)
