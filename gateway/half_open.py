"""Connections that have not sent a whole request head yet: how many there may be, and which of too many goes.

Such a connection costs its client nothing and shows no credential. A new one is always let in; where that is one too
many, the oldest goes: whoever means it is through within a few round trips, whoever only holds the door is old.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network

MAX_HALF_OPEN = 1024
MAX_ADDRESS_HALF_OPEN = 256  # behind one address there can be a house full of phones, all of which dial again at once


class HalfOpenConnection:
    """One of them; `cut` ends it. `origin` is None for a proxy's."""

    __slots__ = ("cut", "origin")

    def __init__(self, origin: str | None, cut: Callable[[], object]) -> None:
        self.origin = origin
        self.cut = cut


class HalfOpen:
    """All of them, oldest first, by where they come from."""

    def __init__(
        self,
        most: int = MAX_HALF_OPEN,
        most_of_one_address: int = MAX_ADDRESS_HALF_OPEN,
        is_proxy: Callable[[str], bool] = lambda address: False,
    ) -> None:
        """`is_proxy` says which addresses carry the connections of many: for those only the sum is bounded."""
        self._most = most
        self._most_of_one_address = most_of_one_address
        self._is_proxy = is_proxy
        self._by_origin: dict[str, dict[HalfOpenConnection, None]] = {}
        self._of_proxies: dict[HalfOpenConnection, None] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, address: str, cut: Callable[[], object]) -> HalfOpenConnection:
        """One more, from this address; another is cut where it is one too many."""
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
        """Its head is here whole, or it has ended. Harmless where it has left already."""
        origin = connection.origin
        of_one = self._of_proxies if origin is None else self._by_origin.get(origin, {})
        if of_one.pop(connection, connection) is None:
            self._count -= 1
            if origin is not None and not of_one:
                del self._by_origin[origin]

    def cut_one(self) -> bool:
        """Make room: the oldest of the address that has most of them, a proxy's last. Whether there was one."""
        if not self._count:
            return False
        # Of several addresses with as many, the one that came first.
        most = max(self._by_origin.values(), key=len) if self._by_origin else self._of_proxies
        self._cut(next(iter(most)))
        return True

    def _cut(self, connection: HalfOpenConnection) -> None:
        self.leave(connection)
        connection.cut()


def _origin(address: str) -> str:
    """Whose it is: an IPv6 address stands for its network, since whoever has one of a /64 has all of them."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if not isinstance(known, IPv6Address):
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ip_network((int(known) >> 64 << 64, 64)).network_address) if not known.is_loopback else address
