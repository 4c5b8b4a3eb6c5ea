"""Checks the host name and the origin of a request, because any web page can open sockets to the local machine.

Without credentials, the only protection is that other machines cannot reach the server: it accepts only loopback
connections, only under a loopback name (otherwise a page could point its own host name at 127.0.0.1), and only its own
page. Carriers reach such a server through a tunnel or a proxy on this machine: their routes also answer to the host of
the public address, and let in who has a carrier's signature or a ticket. Source: RFC 6454 (origin), RFC 6455, 10.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from gateway.auth.requests import Network, Refusal, UpgradeRequest, behind_proxies

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_ONE_VALUE = ("host", "origin", "authorization", "api-key")

_AMBIGUOUS = Refusal(400, "ambiguous_header", "The request repeats a header that may occur only once.")
_NOT_PRIVATE = Refusal(403, "tls_required", "This server accepts only TLS connections.")
_WRONG_HOST = Refusal(403, "host_not_allowed", "This server does not accept that host name.")
_WRONG_ORIGIN = Refusal(403, "origin_not_allowed", "Pages from that origin may not use this server.")


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """Where others reach this server, through a tunnel or a proxy too."""

    host: str  # in lower case, without brackets
    port: int
    secure: bool  # over TLS


def read_public(url: str) -> PublicAddress:
    """The host and port of an http or https URL. Raises ValueError where it has no valid host."""
    scheme, _, rest = url.partition("://")
    secure = scheme.lower() == "https"
    found = _read_authority(rest.partition("/")[0], secure)
    if found is None:
        raise ValueError("the public address has no host")
    return PublicAddress(*found, secure)


@dataclass(frozen=True, slots=True)
class OriginRules:
    """The rules for host and origin. Each of `allowed_origins` is written as browsers do, or `*` for all."""

    credentials: bool  # whether API keys are configured
    allowed_origins: frozenset[str] = frozenset()
    proxies: tuple[Network, ...] = ()
    require_tls: bool = True  # for all addresses except loopback
    public: PublicAddress | None = None  # to which requests with `hosts_public` may be sent, too


def check_bind(host: str, rules: OriginRules) -> None:
    """Raises ValueError if a server without credentials would accept connections of other machines."""
    if not rules.credentials and not is_loopback(host):
        raise ValueError(f"without API keys the server listens only on loopback, not on {host!r}")


def check_origin(request: UpgradeRequest, rules: OriginRules) -> tuple[UpgradeRequest, Refusal | None]:
    """Return the request as its client sent it to the nearest trusted proxy, and the refusal if there is one.

    The checks are, in this order: TLS or loopback, host, origin. No carrier sends an origin, so where `hosts_public` is
    set, only pages of this server may.
    """
    if any(len(request.headers.all(name)) > 1 for name in _ONE_VALUE):
        return request, _AMBIGUOUS
    sent_by = request.peer
    request = behind_proxies(request, rules.proxies)
    if not _is_private(request, sent_by, rules):
        return request, _NOT_PRIVATE
    host = _read_authority(request.host or "", request.secure)
    if host is None or not (rules.credentials or host[0] in LOOPBACK_NAMES or _is_for_public(request, rules)):
        return request, _WRONG_HOST
    origin = request.headers.get("origin")
    if origin is not None and not _may_come_from(origin, host, request, rules):
        return request, _WRONG_ORIGIN
    return request, None


def _is_private(request: UpgradeRequest, sent_by: str, rules: OriginRules) -> bool:
    """Whether nobody can listen in, and without credentials nobody but this machine connects.

    `sent_by` is the address from which the request really came: the client's, or that of a trusted proxy.
    """
    if is_loopback(request.peer):
        return True
    if not rules.credentials and not (request.hosts_public and is_loopback(sent_by)):
        return False
    return request.secure or not rules.require_tls


def _is_for_public(request: UpgradeRequest, rules: OriginRules) -> bool:
    """Whether the request was sent to the public address, and may be.

    A host without a port means the default port of the public address: behind a tunnel the request itself has no TLS.
    """
    public = rules.public
    if public is None or not request.hosts_public:
        return False
    return _read_authority(request.host or "", public.secure) == (public.host, public.port)


def is_loopback(address: str) -> bool:
    """Whether an address or the name localhost means this machine; so does an empty address (a local pipe)."""
    if address in ("", "localhost"):
        return True
    try:
        found = ip_address(address.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return found.is_loopback if mapped is None else bool(mapped.is_loopback)


def _may_come_from(origin: str, host: tuple[str, int], request: UpgradeRequest, rules: OriginRules) -> bool:
    if _is_page_of(origin, host, request.secure):
        return True
    if request.hosts_public:
        public = rules.public
        return public is not None and _is_page_of(origin, (public.host, public.port), public.secure)
    listed = {allowed.lower().rstrip("/") for allowed in rules.allowed_origins}
    return rules.credentials and ("*" in listed or origin.lower() in listed)


def _is_page_of(origin: str, host: tuple[str, int], secure: bool) -> bool:
    scheme, slashes, authority = origin.lower().partition("://")
    if not slashes or scheme != ("https" if secure else "http"):
        return False
    return _read_authority(authority, secure) == host


def _read_authority(authority: str, secure: bool) -> tuple[str, int] | None:
    """The host, in lower case and without brackets, and the port; None if `authority` is invalid."""
    if not authority or any(character in authority for character in "/?#@ \t\\"):
        return None
    try:
        parts = urlsplit(f"//{authority}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.hostname, port if port is not None else (443 if secure else 80)
