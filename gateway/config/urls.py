"""Checks URLs that people write in settings, files and options: whether a client can connect to them at all."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit


def read_url(url: str, schemes: Sequence[str]) -> SplitResult:
    """The parts of a URL that has one of these schemes, a host and possibly a port.

    Raises ValueError, whose message says what a URL must be and does not show this one, since it may hold a secret.
    """
    try:
        parts = urlsplit(url)
        # A client encodes the host in this way; an empty label, or one of more than 63 bytes, fails.
        (parts.hostname or "").encode("idna")
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:  # urlsplit silently removes line breaks
        raise ValueError(f"must be a URL with a host that begins with one of {', '.join(f'{s}://' for s in schemes)}")
    return parts


def read_plain_url(url: str, schemes: Sequence[str]) -> SplitResult:
    """The parts of a URL as in `read_url`, for a URL without user name, query and fragment. Raises ValueError."""
    parts = read_url(url, schemes)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must hold no user name, query or fragment; a key has a setting of its own")
    return parts


def is_this_machine(url: str) -> bool:
    """Whether a URL's host is this machine (localhost or a loopback address), so that no proxy can be in between."""
    host = _host_of(url)
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def is_near(url: str) -> bool:
    """Whether a URL's host is this machine or a link-local address, so that no proxy can be in between."""
    address = _address(_host_of(url))
    return is_this_machine(url) or (address is not None and address.is_link_local)


def _host_of(url: str) -> str:
    return (urlsplit(url).hostname or "").removesuffix(".")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a host is written as; None for a name. It makes no DNS request."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return ip_address(socket.inet_aton(host))  # short forms such as 127.1, which a client accepts too
        except (OSError, UnicodeEncodeError):
            return None
    return getattr(address, "ipv4_mapped", None) or address
