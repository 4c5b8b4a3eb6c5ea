"""Basic authentication: a user's name and password in one header. Source: RFC 7617."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Sequence

from gateway.auth.requests import Refusal

NO_LOGIN = Refusal(401, "missing_credentials", "This address needs a user name and a password.", challenge="Basic")
BAD_LOGIN = Refusal(401, "invalid_credentials", "The user name or the password is wrong.", challenge="Basic")


class BasicLogin:
    """The one user who may log in."""

    def __init__(self, user: str, password: str) -> None:
        self._expected = f"{user}:{password}".encode()

    def refuse(self, headers: Sequence[str]) -> Refusal | None:
        """The refusal for the values of a request's `Authorization` headers; None for the right login."""
        if not headers:
            return NO_LOGIN
        scheme, _, value = headers[0].partition(" ")
        if scheme.lower() != "basic" or len(headers) > 1:
            return NO_LOGIN
        try:
            shown = b64decode(value.strip(), validate=True)
        except (binascii.Error, ValueError):
            return BAD_LOGIN
        return None if hmac.compare_digest(shown, self._expected) else BAD_LOGIN
