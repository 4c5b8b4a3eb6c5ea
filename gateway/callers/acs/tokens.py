"""Checks the tokens that Azure Communication Services and Event Grid send in the Authorization header.

They are JSON Web Tokens that are signed with RS256. The issuer, the audience and the times must be right; no other
algorithm counts, whatever the token says.
Source: learn.microsoft.com, "Secure webhook endpoints and WebSocket connections"; RFC 7519; RFC 8725, 3.1.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from importlib import import_module
from math import isfinite
from typing import Any, Protocol, TypeGuard

from gateway.callers.acs.key_set import Fetch, KeySet
from gateway.guard import Boundary, innermost
from sessions.errors import VoiceError
from sessions.ports import Clock

log = logging.getLogger(__name__)

SKEW_S = 60
MAX_TOKEN_CHARACTERS = 8 * 1024
ALGORITHM = "RS256"


class TokenRefused(VoiceError):
    """The token does not show who asks. `reason` is a short name for counters; neither holds anything of the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the token was refused: {reason}")
        self.reason = reason


class TokenCheck(Protocol):
    """Checks who asks, by the Authorization header of the request."""

    async def check(self, authorization: str | None) -> None:
        """Return if the token is good. Raises TokenRefused, and KeysMissing where that cannot be known now."""
        ...


class Jwt(Protocol):
    """What is used of the package `jwt` (PyJWT)."""

    def get_unverified_header(self, token: str) -> Mapping[str, Any]:
        """The token's header. Raises for what is no token."""
        ...

    def decode(self, token: str, key: object, **options: Any) -> Mapping[str, Any]:
        """The claims of a token whose signature is right. Raises for all others."""
        ...


class TokenChecker:
    """Checks the tokens of one issuer for one audience."""

    def __init__(self, jwt: Jwt, keys: KeySet, clock: Clock, *, issuers: Collection[str], audience: str) -> None:
        """`issuers` are the names that the one issuer uses."""
        self._jwt = jwt
        self._keys = keys
        self._clock = clock
        self._issuers = issuers
        self._audience = audience

    async def check(self, authorization: str | None) -> None:
        """Return if the token is good. Raises TokenRefused, and KeysMissing where that cannot be known now."""
        token = bearer_of(authorization)
        key = await self._keys.key(self._key_id(token))
        if key is None:
            raise TokenRefused("unknown_key")
        self._check_claims(self._claims(token, key))

    async def open(self) -> None:
        """Fetch the keys, so that no call waits for them."""
        await self._keys.open()

    async def close(self) -> None:
        """Give up a fetch of keys that runs."""
        await self._keys.close()

    def _key_id(self, token: str) -> str:
        found: list[BaseException] = []
        header: Mapping[str, Any] = {}
        with Boundary(found.append):
            header = self._jwt.get_unverified_header(token)
        if found or not isinstance(header.get("kid"), str):
            raise TokenRefused("malformed")
        if header.get("alg") != ALGORITHM:
            raise TokenRefused("algorithm")
        return str(header["kid"])

    def _claims(self, token: str, key: object) -> Mapping[str, Any]:
        """The claims of a token whose signature is right. The times are checked against this process's own clock."""
        found: list[BaseException] = []
        with Boundary(found.append):
            return self._jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        log.debug("a token's signature was refused", extra={"kind": type(innermost(found[0])).__name__})
        raise TokenRefused("signature")

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") not in self._issuers:
            raise TokenRefused("issuer")
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenRefused("audience")
        now_s = self._clock.wall_s()
        expires_s, begins_s = claims.get("exp"), claims.get("nbf", 0)
        if not _is_number(expires_s) or not _is_number(begins_s):
            raise TokenRefused("malformed")
        if now_s >= expires_s + SKEW_S:
            raise TokenRefused("expired")
        if now_s < begins_s - SKEW_S:
            raise TokenRefused("not_yet_valid")


def bearer_of(authorization: str | None) -> str:
    """The token of an Authorization header. Raises TokenRefused."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise TokenRefused("missing")
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise TokenRefused("malformed")
    return token


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def make_checker(
    fetch: Fetch,
    clock: Clock,
    *,
    issuer: str,
    audience: str,
    openid_url: str,
    key_set_url: str | None = None,
    other_issuers: Collection[str] = (),
) -> TokenChecker:
    """A checker with PyJWT, which is loaded here. Raises ImportError if it or its cryptography is missing.

    `issuer` is the name in the OpenID configuration, `other_issuers` what it calls itself in some tokens.
    """
    jwt: Any = import_module("jwt")
    algorithms: Any = import_module("jwt.algorithms")
    if not algorithms.has_crypto:
        raise ImportError("PyJWT needs cryptography")
    algorithm = algorithms.RSAAlgorithm

    def read_key(entry: dict[str, Any]) -> object:
        if entry.get("kty") != "RSA" or entry.get("use", "sig") != "sig":
            raise ValueError("not a key for RS256 signatures")
        key = algorithm.from_jwk(entry)
        if key.key_size < 2048 or hasattr(key, "private_numbers"):
            raise ValueError("a key that must not be trusted")
        return key

    keys = KeySet(fetch, read_key, clock, issuer=issuer, openid_url=openid_url, key_set_url=key_set_url)
    return TokenChecker(jwt, keys, clock, issuers=(issuer, *other_issuers), audience=audience)
