"""A request in the form that the entrance checks, for sockets and for plain HTTP, and the refusal of a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import orjson

Network: TypeAlias = IPv4Network | IPv6Network

MAX_QUERY_FIELDS = 64
# What carriers use: webhooks, callbacks and media sockets.
CARRIERS_PATH = "/telephony/"


class Fields:
    """Immutable fields: names with one or more values each, in order. Its `repr` shows only the names."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(self._key(name), []).append(value)
        self._values = {name: tuple(found) for name, found in values.items()}

    @staticmethod
    def _key(name: str) -> str:
        return name

    def get(self, name: str) -> str | None:
        """The first value, or None."""
        found = self._values.get(self._key(name))
        return found[0] if found else None

    def all(self, name: str) -> tuple[str, ...]:
        """All values, in order."""
        return self._values.get(self._key(name), ())

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, name: str) -> bool:
        return self._key(name) in self._values

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._values)})"


class Headers(Fields):
    """Fields with case-insensitive names."""

    __slots__ = ()

    @staticmethod
    def _key(name: str) -> str:
        return name.lower()


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """One request. `peer` is the address it came from, "" if there is none (a local pipe)."""

    # Percent-decoded; of a media route with a variable segment, the route's own path. That of a callback holds a key.
    path: str = field(repr=False)
    query: Fields = field(repr=False)
    headers: Headers = field(repr=False)
    subprotocols: tuple[str, ...] = field(repr=False)  # may contain a key
    peer: str
    secure: bool  # over TLS
    # Path and query as sent, not decoded, because the signatures of carriers cover them in this form.
    target: str = field(default="", repr=False)
    segment: str = field(default="", repr=False)  # the variable segment of a media route, decoded; it may be a ticket
    hosts_public: bool = False  # on a path that also answers to the host of the public address

    @property
    def host(self) -> str | None:
        """The Host header: a name or address, optionally with a port."""
        return self.headers.get("host")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why a request is refused: `code` for programs, `message` for people. Both may be sent to anybody."""

    status: int
    code: str
    message: str
    retry_after_s: int | None = None
    challenge: str = "Bearer"  # how to authenticate instead, where the status is 401

    @property
    def type(self) -> str:
        """The error's type in the OpenAI API."""
        if self.status == 429:
            return "rate_limit_error"
        return "invalid_request_error" if self.status < 500 else "server_error"

    def body(self) -> bytes:
        """The body of the answer: JSON in the OpenAI API's error shape."""
        return orjson.dumps({"error": {"type": self.type, "code": self.code, "message": self.message, "param": None}})

    def headers(self) -> list[tuple[str, str]]:
        """The headers of the HTTP answer."""
        found = [("content-type", "application/json")]
        if self.status == 401:
            found.append(("www-authenticate", self.challenge))
        if self.retry_after_s is not None:
            found.append(("retry-after", str(self.retry_after_s)))
        return found


def read_request(
    path: str,
    query: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    *,
    peer: str,
    secure: bool,
    target: str = "",
    segment: str = "",
    hosts_public: bool = False,
) -> UpgradeRequest:
    """Make a request of an HTTP head; `path` is decoded, `query` is not. Raises ValueError for an unreadable query."""
    decoded = Headers((name.decode("latin-1"), value.decode("latin-1").strip(" \t")) for name, value in headers)
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    offered = ",".join(decoded.all("sec-websocket-protocol")).split(",")
    return UpgradeRequest(
        path=path,
        query=Fields(fields),
        headers=decoded,
        subprotocols=tuple(name for name in (part.strip() for part in offered) if name),
        peer=peer,
        secure=secure,
        target=target,
        segment=segment,
        hosts_public=hosts_public,
    )


def read_scope(scope: Mapping[str, Any]) -> UpgradeRequest:
    """Make a request of an ASGI scope of type http. Raises ValueError for an unreadable query."""
    client = scope.get("client")
    query = scope.get("query_string", b"")
    return read_request(
        scope["path"],
        query,
        scope["headers"],
        peer=client[0] if client else "",
        secure=scope.get("scheme") in ("https", "wss"),
        target=((scope.get("raw_path") or b"") + (b"?" + query if query else b"")).decode("latin-1"),
        hosts_public=scope["path"].startswith(CARRIERS_PATH),
    )


def read_proxies(networks: Iterable[str]) -> tuple[Network, ...]:
    """Read the addresses or networks of trusted proxies. Raises ValueError for anything else."""
    return tuple(ip_network(network.strip(), strict=False) for network in networks)


def behind_proxies(request: UpgradeRequest, proxies: tuple[Network, ...]) -> UpgradeRequest:
    """The request as the trusted proxy nearest to the client received it; unchanged if no trusted proxy sent it.

    X-Forwarded-For is read from its end, past trusted proxies: the addresses before that can be forged by the client.
    """
    if not is_one_of(request.peer, proxies):
        return request
    claimed = ",".join(request.headers.all("x-forwarded-for")).split(",")
    hops = [_read_hop(hop.strip()) for hop in reversed(claimed) if hop.strip()]
    peer = next((hop for hop in hops if not is_one_of(hop, proxies)), request.peer)
    scheme = _nearest(request.headers.all("x-forwarded-proto"))
    host = _nearest(request.headers.all("x-forwarded-host"))
    return replace(
        request,
        peer=peer,
        secure=request.secure if scheme is None else scheme.lower() in ("https", "wss"),
        headers=request.headers if host is None else _with_host(request.headers, host),
    )


def _read_hop(hop: str) -> str:
    """An address without the port that some proxies add. Invalid text becomes "unknown", never loopback."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ip_address(hop))
    except ValueError:
        return "unknown"


def _nearest(values: tuple[str, ...]) -> str | None:
    return ",".join(values).split(",")[-1].strip() or None


def is_one_of(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether the address is in one of the networks; False for an invalid address."""
    try:
        known = ip_address(address)
    except ValueError:
        return False
    return any(known in network for network in networks)


def _with_host(headers: Headers, host: str) -> Headers:
    kept = ((name, value) for name in headers for value in headers.all(name) if name != "host")
    return Headers([*kept, ("host", host)])
