"""Taking the port before anything else is done, so that one that is taken costs nothing and is told in a line."""

from __future__ import annotations

import errno
import socket
import sys

MAX_PORT = 65535  # what the system makes of a larger one is another port


def bound(host: str, port: int, names: str) -> list[socket.socket]:
    """A socket for each address of the host, bound and not yet listening.

    Raises OSError that begins with `names`, of the settings.
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
            if error.errno != errno.EADDRNOTAVAIL:  # localhost may have an IPv6 address that the machine has not
                break
    if fault is not None and (not made or fault.errno != errno.EADDRNOTAVAIL):
        for one in made:
            one.close()
        hint = "; another program has it, so choose another port" if fault.errno == errno.EADDRINUSE else ""
        raise OSError(f"{where}: {fault.strerror}{hint}") from fault
    return made


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # by its name loops turn Nagle's delay off
    try:
        if sys.platform != "win32":  # there it would let two servers have one port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
