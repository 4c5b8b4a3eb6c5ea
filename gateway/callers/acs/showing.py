"""Who sends a request: what the token or the secret in it shows, and the refusal of one that shows nothing."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from gateway.auth.requests import Refusal
from gateway.callers.acs.key_set import KeysMissing
from gateway.callers.acs.tokens import TokenCheck, TokenRefused
from gateway.callers.phone.counts import CarrierCounts

NOT_SHOWN = Refusal(401, "invalid_token", "The request does not show that it comes from the carrier.")
NO_KEYS = Refusal(503, "keys_missing", "The keys that check tokens cannot be had now; try again.", retry_after_s=5)
SECRET_HEADER = "x-patchbay-event-secret"  # noqa: S105 - a name, not a secret


class TokenEntrance:
    """Checks tokens, and counts those that are refused, by reason."""

    def __init__(self, tokens: TokenCheck, counts: CarrierCounts) -> None:
        self._tokens = tokens
        self._counts = counts

    async def refuse(self, authorization: str | None) -> Refusal | None:
        """The refusal of a request with this Authorization header; None where its token is good."""
        try:
            await self._tokens.check(authorization)
        except TokenRefused as refused:
            self._counts.note(f"token_refused_{refused.reason}")
            return NOT_SHOWN
        except KeysMissing:
            self._counts.note("token_keys_missing")
            return NO_KEYS
        return None


class EventEntrance:
    """Checks the sender of Event Grid's events: by a secret, in a header or in the path, or by a token of Entra ID."""

    def __init__(self, secret: str | None, tokens: TokenEntrance | None, counts: CarrierCounts) -> None:
        """At least one of the first two; what is None lets nobody in."""
        self._secret = None if secret is None else secret.encode()
        self._tokens = tokens
        self._counts = counts

    async def refuse(self, secrets: Sequence[str], authorization: str | None) -> Refusal | None:
        """The refusal of a request with these secrets and this Authorization header; None where one of them is good."""
        shown = [hmac.compare_digest(value.encode("utf-8", "replace"), self._secret or b"") for value in secrets]
        if self._secret is not None and any(shown):
            return None
        if self._tokens is not None and authorization is not None:
            return await self._tokens.refuse(authorization)
        self._counts.note("secret_refused" if secrets else "secret_missing")
        return NOT_SHOWN
