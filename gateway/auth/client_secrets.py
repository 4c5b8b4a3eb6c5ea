"""Client secrets: short-lived signed keys for browsers; every process with the same settings accepts them.

A secret is `ek_` and the base64url form of 32 bytes of HMAC-SHA256 and a compact JSON object: `t` tenant, `a` agent,
`x` expiry in Unix seconds, `s` session defaults, `n` nonce. It is not encrypted, so its holder can read it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import orjson

from gateway.auth.keys import CLIENT_SECRET_PREFIX
from sessions.errors import VoiceError
from sessions.ports import JsonObject

MIN_LIFE_S = 10
MAX_LIFE_S = 7200
DEFAULT_LIFE_S = 600
MAX_SESSION_BYTES = 8 * 1024  # a secret is sent in a header, and servers on the way limit the size of headers
MAX_SECRET_CHARACTERS = 14 * 1024
_MAC_BYTES = 32


class SecretRefused(VoiceError):
    """A client secret is not accepted; the subclasses say why."""


class SecretMalformed(SecretRefused):
    """The text is not a client secret."""


class SecretForged(SecretRefused):
    """The client secret was not signed with our key."""


class SecretExpired(SecretRefused):
    """The client secret has expired."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """What a secret grants. `agent` None means any agent of the tenant. The client may override `session`."""

    tenant: str
    agent: str | None
    expires_at: int  # Unix seconds
    session: JsonObject | None  # session defaults


class ClientSecrets:
    """Makes and verifies client secrets with one signing key."""

    def __init__(self, signing_key: bytes, nonce: Callable[[], str] = lambda: secrets.token_urlsafe(9)) -> None:
        self._key = signing_key
        self._nonce = nonce

    def mint(
        self, *, tenant: str, agent: str | None, session: JsonObject | None, now_s: float, life_s: int = DEFAULT_LIFE_S
    ) -> tuple[str, int]:
        """Return a secret and its expiry in Unix seconds.

        Raises ValueError if `life_s` or the session defaults are out of range.
        """
        if not MIN_LIFE_S <= life_s <= MAX_LIFE_S:
            raise ValueError(f"a client secret is valid for {MIN_LIFE_S} to {MAX_LIFE_S} seconds")
        if session is not None and len(orjson.dumps(session)) > MAX_SESSION_BYTES:
            raise ValueError(f"the session defaults take more than {MAX_SESSION_BYTES} bytes")
        expires_at = int(now_s) + life_s
        payload = orjson.dumps({"t": tenant, "a": agent, "x": expires_at, "s": session, "n": self._nonce()})
        value = base64.urlsafe_b64encode(self._mac(payload) + payload).rstrip(b"=")
        return CLIENT_SECRET_PREFIX + value.decode("ascii"), expires_at

    def verify(self, value: str, now_s: float) -> ClientSecret:
        """Return what the secret grants. Raises SecretMalformed, SecretForged or SecretExpired."""
        signed = _decode(value)
        mac, payload = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise SecretForged("the client secret was not made by this server")
        match orjson.loads(payload):
            case {"t": str(tenant), "a": str() | None as agent, "x": int(expires_at), "s": dict() | None as session}:
                if now_s >= expires_at:
                    raise SecretExpired("the client secret has expired")
                return ClientSecret(tenant, agent, expires_at, session)
        raise SecretMalformed("the client secret lacks a field")

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")


def derive_signing_key(material: bytes) -> bytes:
    """Derive a signing key from a configured secret or from `ApiKeys.material()`; the label separates it from both."""
    return hmac.digest(b"patchbay client secrets, 1", material, sha256)


def _decode(value: str) -> bytes:
    body = value.removeprefix(CLIENT_SECRET_PREFIX)
    if body == value or len(value) > MAX_SECRET_CHARACTERS:
        raise SecretMalformed("this is not a client secret")
    try:
        signed = base64.b64decode(body.encode("ascii") + b"=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SecretMalformed("this is not a client secret") from None
    if len(signed) <= _MAC_BYTES:
        raise SecretMalformed("this is not a client secret")
    return signed
