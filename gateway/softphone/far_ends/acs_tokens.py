"""Makes the tokens that Azure Communication Services shows, good ones and bad ones, with a key pair of its own.

Needs PyJWT and cryptography, and loads them when the first key is made.
Source: learn.microsoft.com, "Secure webhook endpoints and WebSocket connections"; RFC 7519; RFC 8725, 2.
"""

from __future__ import annotations

from functools import cache
from hashlib import shake_256
from importlib import import_module
from itertools import count
from typing import Any

import orjson

CALLBACK_LIFE_S = 5 * 60
SOCKET_LIFE_S = 24 * 3600
KEY_BITS = 2048
EXPONENT = 65_537
# A composite number of this size that passes these tests by chance is rarer than any fault of the machine.
_BASES = (2, 3, 5, 7)
_SMALL_ODDS = range(3, 1000, 2)


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
    return rsa.generate_private_key(public_exponent=EXPONENT, key_size=KEY_BITS)


@cache
def key_from(secret: bytes) -> Any:
    """The private key that belongs to a secret: always the same one, so that a server may keep the public key.

    It is as hard to guess as the secret. Making it takes about a second.
    """
    rsa: Any = import_module("cryptography.hazmat.primitives.asymmetric.rsa")
    p, q = (_prime(secret + part) for part in (b"p", b"q"))
    public = rsa.RSAPublicNumbers(EXPONENT, p * q)
    d = pow(EXPONENT, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


def _prime(secret: bytes) -> int:
    """The first prime of half the key's length in a sequence of numbers that the secret gives."""
    bits = KEY_BITS // 2
    for number in count():
        drawn = int.from_bytes(shake_256(secret + number.to_bytes(4, "big")).digest(bits // 8), "big")
        found = drawn | 0b11 << (bits - 2) | 1  # so that the product of two has its full length
        if found % EXPONENT == 1 or any(found % odd == 0 for odd in _SMALL_ODDS):
            continue
        if all(pow(base, found - 1, found) == 1 for base in _BASES):
            return found
    raise AssertionError("the sequence has no end")
