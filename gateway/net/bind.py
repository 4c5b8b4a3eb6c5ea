"""Binds the port before anything else starts, so that a port in use is reported at once, in one line."""

from __future__ import annotations

import errno
import socket
import sys

MAX_PORT = 65535  # the system would reduce a larger number to another port


def bound(host: str, port: int, names: str) -> list[socket.socket]:
    """Return a socket for each address of the host, bound and not yet listening.

    `names` are the settings of host and port. Raises OSError whose message begins with them.
    """
    made: list[socket.socket] = []
    where = f"{names}: cannot listen on {host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise OSError(f"{where}: {error.strerror}") from error
    fault: OSError | None = None
    for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
        try:
            made.append(_bind(family, address))
        except OSError as error:
            fault = error
            # `localhost` may resolve to an IPv6 address that this machine does not have; that is no fault.
            if error.errno != errno.EADDRNOTAVAIL:
                break
    if fault is not None and (not made or fault.errno != errno.EADDRNOTAVAIL):
        for one in made:
            one.close()
        hint = "; another program uses this port, so choose another" if fault.errno == errno.EADDRINUSE else ""
        raise OSError(f"{where}: {fault.strerror}{hint}") from fault
    return made


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    # Event loops turn off Nagle's delay only if the protocol is given as TCP.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # on Windows this option would let two servers share the port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
