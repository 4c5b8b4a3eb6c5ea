"""Accounts at Twilio and SignalWire, from the settings."""

from __future__ import annotations

from pydantic import SecretStr

from gateway.auth.requests import Headers
from gateway.callers.twilio.account import signalwire_account, twilio_account
from gateway.callers.twilio.signature import sign
from gateway.config.carriers import SignalWire, Twilio

URL = "https://voice.example/telephony/signalwire/voice"
PAIRS = [("CallSid", "CA01")]


def signalwire(**changes: object) -> SignalWire:
    usual = {"account_sid": "p1", "bearer_token": SecretStr("b-secret"), "auth_token": SecretStr("t-secret")}
    return SignalWire.model_validate({**usual, **changes})


def test_signalwires_signing_key_checks_and_its_token_does_no_more() -> None:
    plain, keyed = signalwire_account(signalwire()), signalwire_account(signalwire(signing_key=SecretStr("s-secret")))
    by_token, by_key = (
        Headers([("X-SignalWire-Signature", sign(key, URL, PAIRS))]) for key in ("t-secret", "s-secret")
    )
    assert plain.request_fits(by_token, URL, b"", PAIRS)
    assert not plain.request_fits(by_key, URL, b"", PAIRS)
    assert keyed.request_fits(by_key, URL, b"", PAIRS)
    assert not keyed.request_fits(by_token, URL, b"", PAIRS)


def test_a_space_without_an_address_hangs_nothing_up() -> None:
    assert signalwire_account(signalwire()).calls_url is None
    keyed = signalwire_account(signalwire(space_url="https://x.signalwire.com/"))
    assert keyed.calls_url == "https://x.signalwire.com/api/laml/2010-04-01/Accounts/p1/Calls"


def test_no_secret_is_shown() -> None:
    twilio = Twilio(account_sid="AC01", auth_token=SecretStr("t-secret"), signing_keys={"K": SecretStr("k-secret")})
    for account in (twilio_account(twilio), signalwire_account(signalwire(signing_key=SecretStr("s-secret")))):
        assert "-secret" not in repr(account)
