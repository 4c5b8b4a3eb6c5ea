"""One account at Twilio, or one project at SignalWire: its names, its secrets, and where they differ."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.auth.requests import Headers
from gateway.callers.twilio.signature import SETTINGS_HEADER, SIGNATURE_HEADER, Signatures
from gateway.config.carriers import SignalWire, Twilio

FORM_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Account:
    """`name` is the carrier's name in addresses, tickets, records and figures.

    `calls_url` is where the carrier's own API has the account's calls; None: it is not used. `signature_headers` are
    the headers that may hold a signature. With `bearer_token` the media socket's handshake shows that token and no
    signature.
    """

    name: str
    tenant: str
    account_sid: str
    token: str = field(repr=False)
    signatures: Signatures = field(repr=False)
    signature_headers: tuple[str, ...]
    calls_url: str | None
    bearer_token: str | None = field(default=None, repr=False)

    def request_fits(self, headers: Headers, url: str, body: bytes, pairs: Iterable[tuple[str, str]] | None) -> bool:
        """Whether a webhook's request was signed; `pairs` is its form, None where the body is something else."""
        signature, settings = self._signature(headers), headers.get(SETTINGS_HEADER)
        if pairs is None:
            return self.signatures.body_fits(signature, settings, url, body)
        return self.signatures.form_fits(signature, settings, url, pairs)

    def handshake_fits(self, headers: Headers, url: str) -> bool:
        """Whether the carrier dials the media socket; `url` is the socket's address."""
        if self.bearer_token is None:
            return self.signatures.form_fits(self._signature(headers), headers.get(SETTINGS_HEADER), url, ())
        scheme, _, shown = (headers.get("authorization") or "").partition(" ")
        known = self.bearer_token.encode()
        return hmac.compare_digest(shown.strip().encode("utf-8", "surrogatepass"), known) and scheme.lower() == "bearer"

    def _signature(self, headers: Headers) -> str | None:
        return next((value for name in self.signature_headers if (value := headers.get(name)) is not None), None)


def twilio_account(settings: Twilio) -> Account:
    """The account of the settings' table `carriers.twilio`."""
    token = settings.auth_token.get_secret_value()
    return Account(
        name="twilio",
        tenant=settings.tenant,
        account_sid=settings.account_sid,
        token=token,
        signatures=Signatures(token, settings.signing_key),
        signature_headers=(SIGNATURE_HEADER,),
        calls_url=f"{settings.api_url}/2010-04-01/Accounts/{settings.account_sid}/Calls",
    )


def signalwire_account(settings: SignalWire) -> Account:
    """The project of the settings' table `carriers.signalwire`.

    Source for its header and its signing key: developer.signalwire.com, "Webhook Security".
    """
    token, space = settings.auth_token.get_secret_value(), settings.space_url
    signing_key = settings.signing_key.get_secret_value() if settings.signing_key is not None else token
    return Account(
        name="signalwire",
        tenant=settings.tenant,
        account_sid=settings.account_sid,
        token=token,
        signatures=Signatures(signing_key),
        signature_headers=("x-signalwire-signature", SIGNATURE_HEADER),
        calls_url=space and f"{space}/api/laml/2010-04-01/Accounts/{settings.account_sid}/Calls",
        bearer_token=settings.bearer_token.get_secret_value(),
    )
