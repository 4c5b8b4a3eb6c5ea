"""URLs as people write them into settings, files and options: whether one can be dialled at all."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit


def read_url(url: str, schemes: Sequence[str]) -> SplitResult:
    """The parts of a URL of one of these schemes, with a host and, maybe, a port.

    Raises ValueError, which says what a URL must be and does not show this one: it may hold a secret.
    """
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")  # what a dial does: an empty label, or one of over 63 bytes, fails there
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:  # urlsplit would leave out a line's end
        raise ValueError(f"must be a URL with a host that begins with one of {', '.join(f'{s}://' for s in schemes)}")
    return parts


def read_plain_url(url: str, schemes: Sequence[str]) -> SplitResult:
    """The same, without a user name, query or fragment. Raises ValueError in the same way."""
    parts = read_url(url, schemes)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must hold no user name, query or fragment; a key is given apart")
    return parts


def is_this_machine(url: str) -> bool:
    """Whether a URL's host is this very machine, where no proxy can be on the way: localhost or a loopback address."""
    host = _host_of(url)
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def is_near(url: str) -> bool:
    """The same, or a link-local address, where no proxy can be on the way either."""
    address = _address(_host_of(url))
    return is_this_machine(url) or (address is not None and address.is_link_local)


def _host_of(url: str) -> str:
    return (urlsplit(url).hostname or "").removesuffix(".")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a host is, without a look-up; None for a name."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return ip_address(socket.inet_aton(host))  # 127.1 and the like, which a dial takes too
        except (OSError, UnicodeEncodeError):
            return None
    return getattr(address, "ipv4_mapped", None) or address
