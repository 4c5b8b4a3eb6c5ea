"""API keys: each belongs to a tenant and is configured in plain text or as its SHA-256 digest.

One entry is `KEY`, `TENANT:KEY`, `sha256:HEX` or `TENANT:sha256:HEX`. A key made by `create_key` has 256 random bits,
so its digest needs no salt and no key stretching.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

DEFAULT_TENANT = "default"
KEY_PREFIX = "pb_"
CLIENT_SECRET_PREFIX = "ek_"  # noqa: S105 - a prefix, not a secret
MAX_KEY_CHARACTERS = 512

_DIGEST_MARK = "sha256"
_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")


def check_tenant(name: str) -> None:
    """Check a tenant's name. Raises ValueError that says which names are valid."""
    if name.startswith("_"):
        raise ValueError("names with _ at the start are the gateway's own; begin the tenant's with a letter or a digit")
    if not _TENANT.fullmatch(name):
        raise ValueError(
            "a tenant is written in small letters, digits, - and _, at most 63, with a letter or a digit at the start"
        )
    if name == _DIGEST_MARK:  # at the start of an entry this word marks a digest
        raise ValueError(f"no tenant can be called {_DIGEST_MARK}; choose another name")


def fits_a_header(key: str) -> bool:
    """Whether this key or client secret can be sent in an HTTP header."""
    return _VISIBLE_ASCII.fullmatch(key) is not None


def create_key() -> tuple[str, str]:
    """Make a new key; return it and the digest to configure (`sha256:HEX`)."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    return key, f"{_DIGEST_MARK}:{sha256(key.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One configured key."""

    tenant: str
    digest: bytes = field(repr=False)


class ApiKeys:
    """All configured keys. If there are none, no credentials are required."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = tuple(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def tenant_of(self, key: str) -> str | None:
        """The tenant of this key, or None for an unknown key. A wrong key takes as long as a right one."""
        digest = sha256(key[:MAX_KEY_CHARACTERS].encode("utf-8", "surrogatepass")).digest()
        found: str | None = None
        for known in self._keys:
            if hmac.compare_digest(known.digest, digest) and len(key) <= MAX_KEY_CHARACTERS:
                found = known.tenant
        return found

    @property
    def tenants(self) -> frozenset[str]:
        """The tenants that have a key."""
        return frozenset(key.tenant for key in self._keys)

    def material(self) -> bytes:
        """Bytes that depend only on the keys and their tenants, not on their order or form in the configuration."""
        return b"\n".join(sorted({key.tenant.encode() + b":" + key.digest for key in self._keys}))


def read_keys(entries: Iterable[str]) -> ApiKeys:
    """Read the entries of the setting. Raises ValueError that names an entry by its position, never its content."""
    keys: dict[bytes, ApiKey] = {}
    for place, entry in enumerate(entries, start=1):
        try:
            key = _read_entry(entry.strip())
            if keys.setdefault(key.digest, key).tenant != key.tenant:
                raise ValueError("another tenant has the same key; each tenant needs its own, so make a new one")
        except ValueError as error:
            raise ValueError(f"API key {place}: {error}") from None
    return ApiKeys(keys.values())


def _read_entry(entry: str) -> ApiKey:
    tenant, colon, rest = entry.partition(":")
    if not colon or tenant == _DIGEST_MARK:
        tenant, rest = DEFAULT_TENANT, entry
    check_tenant(tenant)
    if rest.startswith(f"{_DIGEST_MARK}:"):
        digest = rest.removeprefix(f"{_DIGEST_MARK}:").lower()
        if not _DIGEST.fullmatch(digest):
            raise ValueError("a SHA-256 digest has 64 hexadecimal digits")
        return ApiKey(tenant, bytes.fromhex(digest))
    if rest.startswith(CLIENT_SECRET_PREFIX):
        raise ValueError("a key must not begin like a client secret, with ek_")
    if not fits_a_header(rest) or len(rest) > MAX_KEY_CHARACTERS:
        raise ValueError(f"a key has 1 to {MAX_KEY_CHARACTERS} visible ASCII characters, without spaces")
    return ApiKey(tenant, sha256(rest.encode()).digest())
