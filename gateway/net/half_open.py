"""Bounds the half-open connections: those that have not yet sent a complete request head.

Such a connection costs its client nothing and has shown no credential. A new connection is always accepted; if there
are then too many, the oldest is cut: an honest client sends its head within a few round trips, so an old half-open
connection is most likely an attack.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network

MAX_HALF_OPEN = 1024
MAX_ADDRESS_HALF_OPEN = 256  # many phones may share one address and all connect again at the same moment


class HalfOpenConnection:
    """One half-open connection; `cut` ends it. `origin` is its address or network, None if it comes from a proxy."""

    __slots__ = ("cut", "origin")

    def __init__(self, origin: str | None, cut: Callable[[], object]) -> None:
        self.origin = origin
        self.cut = cut


class HalfOpen:
    """The half-open connections by origin, oldest first."""

    def __init__(
        self,
        most: int = MAX_HALF_OPEN,
        most_of_one_address: int = MAX_ADDRESS_HALF_OPEN,
        is_proxy: Callable[[str], bool] = lambda address: False,
    ) -> None:
        """`is_proxy` says which addresses are proxies for many clients: for those only the total is bounded."""
        self._most = most
        self._most_of_one_address = most_of_one_address
        self._is_proxy = is_proxy
        self._by_origin: dict[str, dict[HalfOpenConnection, None]] = {}
        self._of_proxies: dict[HalfOpenConnection, None] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, address: str, cut: Callable[[], object]) -> HalfOpenConnection:
        """Add a connection from this address; if there are then too many, cut an older one."""
        proxied = self._is_proxy(address)
        connection = HalfOpenConnection(None if proxied else _origin(address), cut)
        of_one = self._of_proxies if connection.origin is None else self._by_origin.setdefault(connection.origin, {})
        of_one[connection] = None
        self._count += 1
        if not proxied and len(of_one) > self._most_of_one_address:
            self._cut(next(iter(of_one)))
        elif self._count > self._most:
            self.cut_one()
        return connection

    def leave(self, connection: HalfOpenConnection) -> None:
        """Remove a connection, because its head is complete or it has ended. A second call does nothing."""
        origin = connection.origin
        of_one = self._of_proxies if origin is None else self._by_origin.get(origin, {})
        if of_one.pop(connection, connection) is None:
            self._count -= 1
            if origin is not None and not of_one:
                del self._by_origin[origin]

    def cut_one(self) -> bool:
        """Cut the oldest connection of the origin that has the most; proxies come last. False if there is none."""
        if not self._count:
            return False
        # If several origins have the most, `max` takes the one that came first.
        most = max(self._by_origin.values(), key=len) if self._by_origin else self._of_proxies
        self._cut(next(iter(most)))
        return True

    def _cut(self, connection: HalfOpenConnection) -> None:
        self.leave(connection)
        connection.cut()


def _origin(address: str) -> str:
    """The origin of an address. IPv6 addresses of one /64 network count as one, since one client can use them all."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if not isinstance(known, IPv6Address):
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ip_network((int(known) >> 64 << 64, 64)).network_address) if not known.is_loopback else address
