"""Who may do what: the signature of an account key, and the bearer tokens of a test issuer.

The age of `x-ms-date` is not checked.
Source: learn.microsoft.com/rest/api/cosmos-db/access-control-on-cosmosdb-resources
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Collection, Mapping
from hashlib import sha256
from secrets import token_urlsafe
from urllib.parse import parse_qsl, unquote

from azure.core.credentials import AccessToken

from cosmos.refusals import Refusal

KEY = base64.b64encode(b"a key for tests, which opens nothing else").decode()
FORBIDDEN_TO_ENTRA = ("create_database", "create_container")


class Issuer:
    """Gives out bearer tokens, as Entra would, and knows which of them have the data role."""

    def __init__(self) -> None:
        self._roles: dict[str, bool] = {}

    def token(self, data_role: bool = True) -> str:
        """A new token."""
        token = token_urlsafe(24)
        self._roles[token] = data_role
        return token

    def revoke(self, token: str) -> None:
        """Know a token no more."""
        del self._roles[token]

    def take_role(self, token: str) -> None:
        """Take the data role from the bearer of a token."""
        self._roles[token] = False

    def has_role(self, token: str) -> bool | None:
        """Whether a token has the data role; `None` for a token that was never given out."""
        return self._roles.get(token)


class TokenCredential:
    """The credential that `azure-cosmos` takes, around one token. The SDK wants https for it."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        """The token, good for an hour."""
        return AccessToken(self._token, int(time.time()) + 3600)

    async def close(self) -> None:
        """Nothing is held."""

    async def __aenter__(self) -> TokenCredential:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Guard:
    """Refuses requests that are not signed as they must be."""

    def __init__(self, key: str, issuer: Issuer, broken: Collection[str]) -> None:
        self._key = base64.b64decode(key, validate=True)
        self._issuer = issuer
        self._broken = broken

    def check(self, verb: str, segments: list[str], operation: str, headers: Mapping[str, str]) -> None:
        """Raises Refusal 401 or 403."""
        given = dict(parse_qsl(_unquoted(headers.get("authorization", ""))))
        if given.get("type") == "aad":
            self._check_token(given.get("sig", ""), operation)
            return
        if "key" in self._broken:
            return
        expected = signature(self._key, verb, segments, headers.get("x-ms-date", ""))
        if given.get("type") != "master" or not hmac.compare_digest(given.get("sig", "").encode(), expected.encode()):
            raise Refusal(401, "Unauthorized", "The MAC signature found in the HTTP request is not the computed one.")

    def _check_token(self, token: str, operation: str) -> None:
        role = self._issuer.has_role(token)
        if role is None and "token" not in self._broken:
            raise Refusal(401, "Unauthorized", "The token was not issued for this account.")
        if (role is False or operation in FORBIDDEN_TO_ENTRA) and "role" not in self._broken:
            raise Refusal(403, "Forbidden", "The principal lacks the data role for this request.", substatus=5300)


def signature(key: bytes, verb: str, segments: list[str], date: str) -> str:
    """What a request for the path of these parts must be signed with, under a key of bytes."""
    # A path of an even number of parts names a resource; of an odd number, a list of them under its owner.
    kind = "" if not segments else segments[-1] if len(segments) % 2 else segments[-2]
    link = "/".join(segments if len(segments) % 2 == 0 else segments[:-1])
    text = f"{verb.lower()}\n{kind.lower()}\n{link}\n{date.lower()}\n\n"
    return base64.b64encode(hmac.digest(key, text.encode(), sha256)).decode()


def _unquoted(header: str) -> str:
    """The header's fields, with the plus signs of base64 kept for the reader of forms."""
    return unquote(header).replace("+", "%2B")
