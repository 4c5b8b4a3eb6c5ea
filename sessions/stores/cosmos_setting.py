"""Reads the setting of a store in Cosmos DB: `cosmos://ACCOUNT.documents.azure.com/DATABASE/CONTAINER?regions=A,B`.

`cosmos+http://` reaches a stand-in or an emulator without TLS. Messages never repeat the setting, which may hold a key.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SCHEME = "cosmos"
PLAIN_SCHEME = "cosmos+http"
FORM = "write one like cosmos://ACCOUNT.documents.azure.com/DATABASE/CONTAINER"
_OPTIONS = ("regions", "create")
# Signs that Cosmos DB does not take in ids. Source: learn.microsoft.com/azure/cosmos-db/concepts-limits
FORBIDDEN = frozenset("/\\?#")
_NAME_MAX = 255  # characters in the name of a database or a container


@dataclass(frozen=True, slots=True)
class CosmosPlace:
    """Where the store is. `create` makes the database and the container if they do not exist."""

    endpoint: str  # of the account, such as https://ACCOUNT.documents.azure.com:443/
    host: str
    database: str
    container: str
    regions: tuple[str, ...]  # the preferred ones for reading, in order; empty: the account's own order
    create: bool
    plain: bool  # without TLS
    near: bool  # on this machine

    @property
    def address(self) -> str:
        """The account for people: its host, and the port if it is not the usual one."""
        return self.endpoint.partition("//")[2].rstrip("/").removesuffix(":443")

    def __str__(self) -> str:
        """The container for people."""
        return f"{self.database}/{self.container} on {self.address}"


def is_cosmos(url: str) -> bool:
    """Whether a setting names a store in Cosmos DB, well written or not."""
    return url.partition(":")[0] in (SCHEME, PLAIN_SCHEME)


def read_cosmos_url(url: str) -> CosmosPlace:
    """The place that a setting names. Raises ValueError, which says what is wrong and does not show the setting."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        host.encode("idna")
    except ValueError:
        raise ValueError(f"holds a host or a port that cannot be used; {FORM}") from None
    if parts.scheme not in (SCHEME, PLAIN_SCHEME) or not host or port == 0 or not url.isprintable():
        raise ValueError(f"names no account; {FORM}")
    if parts.username is not None or parts.fragment:
        raise ValueError("must hold no user name, key or fragment; the key is set as PATCHBAY_COSMOS_KEY")
    names = [unquote(name) for name in parts.path.split("/")[1:]]
    if len(names) != 2 or not all(_is_name(name) for name in names):
        raise ValueError(f"must name one database and one container; {FORM}")
    options = _options(parts)
    plain = parts.scheme == PLAIN_SCHEME
    shown = f"[{host}]" if ":" in host else host
    return CosmosPlace(
        endpoint=f"{'http' if plain else 'https'}://{shown}:{port or (80 if plain else 443)}/",
        host=host,
        database=names[0],
        container=names[1],
        regions=tuple(region for part in options.get("regions", "").split(",") if (region := part.strip())),
        create=options.get("create", "0") == "1",
        plain=plain,
        near=_is_near(host),
    )


def check_access(place: CosmosPlace, *, key: str | None, plain_allowed: bool) -> None:
    """Check that a place may be reached in this way. Raises ValueError, which says what to set."""
    if place.plain and not place.near and not plain_allowed:
        raise ValueError(
            "cosmos+http sends documents in the clear, so it is for this machine; write cosmos://, or set "
            "PATCHBAY_STORE_PLAIN=1 if the network is your own"
        )
    if place.plain and key is None:
        raise ValueError("cosmos+http needs a key, as Entra ID sends no token without TLS; set PATCHBAY_COSMOS_KEY")
    if place.create and key is None:
        raise ValueError(
            "create=1 needs the account's key, as roles for data cannot make a container; set PATCHBAY_COSMOS_KEY, or "
            "make the container (docs/cosmos.md) and remove create=1"
        )


def check_key(key: str) -> None:
    """Check that a text can be an account's key. Raises ValueError, which does not show it."""
    try:
        decoded = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ValueError("is no base64; copy a read-write key of the account, without quotes or blanks")


def _options(parts: SplitResult) -> dict[str, str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) != len(pairs) or not options.keys() <= set(_OPTIONS):
        raise ValueError(f"may hold only {' and '.join(_OPTIONS)} after the ?, each once; a key has its own setting")
    if options.get("create", "0") not in ("0", "1"):
        raise ValueError("holds a create that is neither 0 nor 1")
    if "regions" in options and not options["regions"].strip(" ,"):
        raise ValueError("holds an empty regions; write names such as West Europe,North Europe, or leave it out")
    return options


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _NAME_MAX and not FORBIDDEN & set(name) and not name.endswith(" ")


def _is_near(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
