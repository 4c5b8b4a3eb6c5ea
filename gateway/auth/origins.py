"""Which host names and web pages may talk to us: web pages can dial local sockets, so an open door must know its name.

Without credentials the only protection is that nobody else can reach us: loopback only, under a loopback name (else a
page could point a name of its own at 127.0.0.1), and no page but our own. Source: RFC 6454 (origin), RFC 6455, 10.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from gateway.auth.requests import Network, Refusal, UpgradeRequest, behind_proxies

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_ONE_VALUE = ("host", "origin", "authorization", "api-key")

_AMBIGUOUS = Refusal(400, "ambiguous_header", "The request repeats a header that may stand there only once.")
_NOT_PRIVATE = Refusal(403, "tls_required", "This server takes calls over TLS only.")
_WRONG_HOST = Refusal(403, "host_not_allowed", "This server does not answer to that host name.")
_WRONG_ORIGIN = Refusal(403, "origin_not_allowed", "Pages from that origin may not use this server.")


@dataclass(frozen=True, slots=True)
class OriginRules:
    """`credentials`: some are configured. `allowed_origins`: written as browsers do, `https://shop.example`; or `*`."""

    credentials: bool
    allowed_origins: frozenset[str] = frozenset()
    proxies: tuple[Network, ...] = ()
    require_tls: bool = True  # from anywhere but loopback


def check_bind(host: str, rules: OriginRules) -> None:
    """Raises ValueError where a server without credentials would listen to more than this machine."""
    if not rules.credentials and not is_loopback(host):
        raise ValueError(f"without API keys the server listens on loopback only, not on {host!r}")


def check_origin(request: UpgradeRequest, rules: OriginRules) -> tuple[UpgradeRequest, Refusal | None]:
    """The request as its client sent it (proxies of ours looked through), and whether it is turned away.

    In this order: TLS or loopback, host, origin.
    """
    if any(len(request.headers.all(name)) > 1 for name in _ONE_VALUE):
        return request, _AMBIGUOUS
    request = behind_proxies(request, rules.proxies)
    if rules.credentials and rules.require_tls and not (request.secure or is_loopback(request.peer)):
        return request, _NOT_PRIVATE
    if not rules.credentials and not is_loopback(request.peer):
        return request, _NOT_PRIVATE
    host = _read_authority(request.host or "", request.secure)
    if host is None or (not rules.credentials and host[0] not in LOOPBACK_NAMES):
        return request, _WRONG_HOST
    origin = request.headers.get("origin")
    if origin is not None and not _may_come_from(origin, host, request.secure, rules):
        return request, _WRONG_ORIGIN
    return request, None


def is_loopback(address: str) -> bool:
    """Whether an address, or the name localhost, is this machine; a pipe without address is."""
    if address in ("", "localhost"):
        return True
    try:
        found = ip_address(address.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return found.is_loopback if mapped is None else bool(mapped.is_loopback)


def _may_come_from(origin: str, host: tuple[str, int], secure: bool, rules: OriginRules) -> bool:
    scheme, slashes, authority = origin.lower().partition("://")
    if slashes and scheme == ("https" if secure else "http") and _read_authority(authority, secure) == host:
        return True
    listed = {allowed.lower().rstrip("/") for allowed in rules.allowed_origins}
    return rules.credentials and ("*" in listed or origin.lower() in listed)


def _read_authority(authority: str, secure: bool) -> tuple[str, int] | None:
    """Host, in lower case and without brackets, and port; None for what is no authority."""
    if not authority or any(sign in authority for sign in "/?#@ \t\\"):
        return None
    try:
        parts = urlsplit(f"//{authority}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.hostname, port if port is not None else (443 if secure else 80)
