"""URLs as people write them into settings, files and options: whether one can be dialled at all."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
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
    host = (urlsplit(url).hostname or "").removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        address = ip_address(host)
    except ValueError:
        try:
            address = ip_address(socket.inet_aton(host))  # 127.1 and the like, which a dial takes too
        except (OSError, UnicodeEncodeError):
            return False
    found = getattr(address, "ipv4_mapped", None) or address
    return bool(found.is_loopback or found.is_unspecified)
