"""Makes the tokens that Azure Communication Services shows, good ones and bad ones, with a key pair of its own.

Needs PyJWT and cryptography, and loads them when the first key is made.
Source: learn.microsoft.com, "Secure webhook endpoints and WebSocket connections"; RFC 7519; RFC 8725, 2.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import orjson

CALLBACK_LIFE_S = 5 * 60
SOCKET_LIFE_S = 24 * 3600
KEY_BITS = 2048


class TokenMint:
    """Signs tokens for one audience, and publishes the key that checks them."""

    def __init__(self, issuer: str, audience: str, *, key_id: str = "key-1", key: Any = None) -> None:
        """`key` is a private RSA key; without one, a new one is made, which takes a while."""
        self.issuer = issuer
        self.audience = audience
        self.key_id = key_id
        self._jwt: Any = import_module("jwt")
        self.key: Any = make_key() if key is None else key

    def token(self, now_s: float, life_s: float = SOCKET_LIFE_S, **claims: Any) -> str:
        """A good token, or one with other `claims`; a claim that is None is left out."""
        return self._sign(self._claims(now_s, life_s, claims), self.key, "RS256")

    def of_other_key(self, now_s: float) -> str:
        """A token that names the published key, and is signed with another."""
        return self._sign(self._claims(now_s, SOCKET_LIFE_S, {}), make_key(), "RS256")

    def unsigned(self, now_s: float) -> str:
        """A token that says that it needs no signature."""
        return self._sign(self._claims(now_s, SOCKET_LIFE_S, {}), None, "none")

    def of_public_key(self, now_s: float) -> str:
        """A token that is signed with HMAC, and with the published key's modulus as its secret."""
        secret = self._published()["n"].encode("ascii")
        return self._sign(self._claims(now_s, SOCKET_LIFE_S, {}), secret, "HS256")

    def key_set(self) -> bytes:
        """The document with the key."""
        return orjson.dumps({"keys": [self._published()]})

    def openid(self, key_set_url: str) -> bytes:
        """The document that names the address of the key set."""
        return orjson.dumps({"issuer": self.issuer, "jwks_uri": key_set_url})

    def _claims(self, now_s: float, life_s: float, claims: dict[str, Any]) -> dict[str, Any]:
        begins_s = int(now_s)
        found = {"iss": self.issuer, "aud": self.audience, "nbf": begins_s, "exp": begins_s + int(life_s), **claims}
        return {name: value for name, value in found.items() if value is not None}

    def _sign(self, claims: dict[str, Any], key: Any, algorithm: str) -> str:
        made: str = self._jwt.encode(claims, key, algorithm=algorithm, headers={"kid": self.key_id})
        return made

    def _published(self) -> dict[str, Any]:
        algorithm: Any = import_module("jwt.algorithms").RSAAlgorithm
        return {**algorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": self.key_id, "use": "sig"}


def make_key() -> Any:
    """A new private key."""
    rsa: Any = import_module("cryptography.hazmat.primitives.asymmetric.rsa")
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
