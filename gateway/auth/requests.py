"""A request as the entrance sees it, whether it asks for a socket or for plain HTTP, and what a refusal looks like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import orjson

Network: TypeAlias = IPv4Network | IPv6Network

MAX_QUERY_FIELDS = 64


class Fields:
    """Names with one or more values each, in order; frozen, and shy: printing it shows names only."""

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
        """The first value, None if there is none."""
        found = self._values.get(self._key(name))
        return found[0] if found else None

    def all(self, name: str) -> tuple[str, ...]:
        """Every value, in order."""
        return self._values.get(self._key(name), ())

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, name: str) -> bool:
        return self._key(name) in self._values

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._values)})"


class Headers(Fields):
    """Fields whose names ignore case."""

    __slots__ = ()

    @staticmethod
    def _key(name: str) -> str:
        return name.lower()


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """One request. `secure`: over TLS. `peer`: the address it came from, "" where there is none (a local pipe)."""

    path: str  # percent-decoded
    query: Fields = field(repr=False)
    headers: Headers = field(repr=False)
    subprotocols: tuple[str, ...] = field(repr=False)  # may hold a key
    peer: str
    secure: bool

    @property
    def host(self) -> str | None:
        """The Host header: a name or address, and maybe a port."""
        return self.headers.get("host")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned away: `code` for machines, `message` for people, both safe to show to anybody."""

    status: int
    code: str
    message: str
    retry_after_s: int | None = None

    @property
    def type(self) -> str:
        """The kind of error, in the OpenAI API's words."""
        if self.status == 429:
            return "rate_limit_error"
        return "invalid_request_error" if self.status < 500 else "server_error"

    def body(self) -> bytes:
        """The OpenAI API's error shape, as JSON."""
        return orjson.dumps({"error": {"type": self.type, "code": self.code, "message": self.message, "param": None}})

    def headers(self) -> list[tuple[str, str]]:
        """What the HTTP answer carries beside its body."""
        found = [("content-type", "application/json")]
        if self.status == 401:
            found.append(("www-authenticate", "Bearer"))
        if self.retry_after_s is not None:
            found.append(("retry-after", str(self.retry_after_s)))
        return found


def read_request(
    path: str, query: bytes, headers: Sequence[tuple[bytes, bytes]], *, peer: str, secure: bool
) -> UpgradeRequest:
    """From an HTTP head: `path` decoded, `query` as sent. Raises ValueError for a query that cannot be read."""
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
    )


def read_scope(scope: Mapping[str, Any]) -> UpgradeRequest:
    """From an ASGI scope of kind http. Raises ValueError for a query that cannot be read."""
    client = scope.get("client")
    return read_request(
        scope["path"],
        scope.get("query_string", b""),
        scope["headers"],
        peer=client[0] if client else "",
        secure=scope.get("scheme") in ("https", "wss"),
    )


def read_proxies(networks: Iterable[str]) -> tuple[Network, ...]:
    """Addresses or networks of proxies to believe. Raises ValueError for anything else."""
    return tuple(ip_network(network.strip(), strict=False) for network in networks)


def behind_proxies(request: UpgradeRequest, proxies: tuple[Network, ...]) -> UpgradeRequest:
    """The request as the nearest proxy of ours saw it; unchanged where it did not come from one.

    X-Forwarded-For is read from its end, past our own proxies: what stands further left is only somebody's claim.
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
    """An address without the port that some proxies add; what is no address must not pass for this machine."""
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
    """Whether the address lies in one of the networks; False for what is no address."""
    try:
        known = ip_address(address)
    except ValueError:
        return False
    return any(known in network for network in networks)


def _with_host(headers: Headers, host: str) -> Headers:
    kept = ((name, value) for name in headers for value in headers.all(name) if name != "host")
    return Headers([*kept, ("host", host)])
