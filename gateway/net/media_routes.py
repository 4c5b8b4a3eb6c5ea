"""The paths whose upgrades become media sockets, and what decides on each of them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import unquote

from gateway.auth.requests import CARRIERS_PATH, Refusal, UpgradeRequest
from gateway.net.sockets import DEFAULT_LIMITS, Receiver, SocketLimits, log_fault

Admitted = TypeVar("Admitted")
_VARIABLE = re.compile(r"([^{}]*)/\{\w+\}")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver of an admitted request's socket, and the function that gets what the receiver raises."""

    receiver: Receiver
    on_fault: Callable[[BaseException], None] = log_fault


class Opener(Protocol[Admitted]):
    """Takes the sockets of one protocol: decides on each request, and makes the receiver of its socket."""

    @property
    def path(self) -> str:
        """The path of the protocol's upgrades, as in `MediaRoute`."""
        ...

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The WebSocket subprotocols that are spoken, the preferred one first; none of them is required."""
        ...

    async def admit(self, request: UpgradeRequest) -> Admitted | Refusal:
        """Decide on a request. A refusal is written as it is; what this raises becomes a 500 and a log line."""
        ...

    def accept(self, admitted: Admitted, request: UpgradeRequest) -> Accepted:
        """Make the receiver of the socket that opens now.

        The receiver answers for what was admitted from here on: the call may begin at once or with a later message,
        and must be released if the socket is lost before.
        """
        ...

    def release(self, admitted: Admitted) -> None:
        """No socket will open: the client has gone, `accept` has failed, or the server stops."""
        ...


@dataclass(frozen=True, slots=True)
class MediaRoute(Generic[Admitted]):
    """A path whose upgrades become media sockets. `Opener` says what `admit`, `accept` and `release` do.

    The last segment of `path` may be variable: `/media/{ticket}` takes every path of one more segment after `/media/`,
    which is then in `UpgradeRequest.segment`. A route with the whole path comes first.
    """

    path: str
    admit: Callable[[UpgradeRequest], Awaitable[Admitted | Refusal]]
    accept: Callable[[Admitted, UpgradeRequest], Accepted]
    release: Callable[[Admitted], None]
    subprotocols: tuple[str, ...] = ("realtime",)  # the first of these that is offered is chosen, none is required
    limits: SocketLimits = DEFAULT_LIMITS
    hosts_public: bool = False  # also answers to the host of the public address (`gateway/auth/origins.py`)

    @classmethod
    def of(cls, opener: Opener[Admitted], limits: SocketLimits = DEFAULT_LIMITS) -> MediaRoute[Admitted]:
        """The route of one protocol; carriers' protocols also answer to the public host."""
        public = opener.path.startswith(CARRIERS_PATH)
        return cls(opener.path, opener.admit, opener.accept, opener.release, opener.subprotocols, limits, public)


class MediaRoutes:
    """Finds the route of a path, in the same time for any number of routes."""

    def __init__(self, routes: Iterable[MediaRoute[Any]]) -> None:
        """Raises ValueError for a path with a variable that is not its whole last segment."""
        self._whole: dict[str, MediaRoute[Any]] = {}
        self._variable: dict[str, MediaRoute[Any]] = {}  # by the path before the variable segment
        for route in routes:
            if "{" not in route.path:
                self._whole[route.path] = route
            elif (found := _VARIABLE.fullmatch(route.path)) is not None:
                self._variable[found[1]] = route
            else:
                raise ValueError(f"only the last segment of a media route may be variable, not {route.path}")

    def find(self, raw_path: bytes) -> tuple[MediaRoute[Any], str] | None:
        """The route and its variable segment, percent-decoded (empty for a route without one); None for other paths.

        `raw_path` is the path as sent. It is split before it is decoded, so that a segment may hold an encoded slash.
        """
        path = raw_path.decode("ascii", "replace")
        whole = self._whole.get(unquote(path))
        if whole is not None:
            return whole, ""
        before, _, last = path.rpartition("/")
        route = self._variable.get(unquote(before)) if last else None
        return None if route is None else (route, unquote(last))
