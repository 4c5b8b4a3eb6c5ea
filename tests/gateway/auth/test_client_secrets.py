from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.client_secrets import (
    MAX_SESSION_BYTES,
    ClientSecret,
    ClientSecrets,
    SecretExpired,
    SecretForged,
    SecretMalformed,
    SecretRefused,
    derive_signing_key,
)

KEY = derive_signing_key(b"settings")
NOW = 1_700_000_000.5


def mint(session: dict[str, str] | None = None, secrets: ClientSecrets | None = None) -> tuple[str, int]:
    return (secrets or ClientSecrets(KEY)).mint(tenant="acme", agent="harbour", session=session, now_s=NOW, life_s=60)


def test_every_process_with_the_key_accepts_a_secret() -> None:
    value, expires_at = mint({"voice": "marin"})
    assert value.startswith("ek_")
    assert expires_at == 1_700_000_060
    found = ClientSecrets(derive_signing_key(b"settings")).verify(value, NOW)
    assert found == ClientSecret("acme", "harbour", expires_at, {"voice": "marin"})


def test_a_secret_can_be_sent_as_a_subprotocol() -> None:
    value, _ = mint({"voice": "x" * 500})
    assert all(sign.isascii() and (sign.isalnum() or sign in "-_") for sign in value)


def test_a_secret_expires_to_the_second() -> None:
    value, expires_at = mint()
    assert ClientSecrets(KEY).verify(value, expires_at - 0.01).session is None
    with pytest.raises(SecretExpired):
        ClientSecrets(KEY).verify(value, expires_at)


def test_a_secret_signed_with_another_key_is_forged() -> None:
    value, _ = mint(secrets=ClientSecrets(derive_signing_key(b"elsewhere")))
    with pytest.raises(SecretForged):
        ClientSecrets(KEY).verify(value, NOW)


def test_two_secrets_differ() -> None:
    assert mint()[0] != mint()[0]
    fixed = ClientSecrets(KEY, nonce=lambda: "n")
    assert mint(secrets=fixed) == mint(secrets=fixed)


def test_a_changed_secret_is_forged() -> None:
    value, _ = mint()
    signed = bytearray(base64.urlsafe_b64decode(value[3:] + "=" * (-len(value[3:]) % 4)))
    signed[40] ^= 1
    with pytest.raises(SecretForged):
        ClientSecrets(KEY).verify("ek_" + base64.urlsafe_b64encode(signed).decode().rstrip("="), NOW)


@pytest.mark.parametrize("value", ["", "ek_", "sk_abc", "ek_ü", "ek_a b", "ek_abcd", "ek_" + "a" * 20_000, "ek_a"])
def test_other_text_is_malformed(value: str) -> None:
    with pytest.raises(SecretMalformed):
        ClientSecrets(KEY).verify(value, NOW)


@given(st.text(max_size=300))
def test_any_text_is_refused_with_a_typed_error(text: str) -> None:
    with pytest.raises(SecretRefused):
        ClientSecrets(KEY).verify("ek_" + text, NOW)


@pytest.mark.parametrize("life_s", [0, 9, 7201])
def test_a_validity_out_of_range_is_refused(life_s: int) -> None:
    with pytest.raises(ValueError):
        ClientSecrets(KEY).mint(tenant="t", agent=None, session=None, now_s=NOW, life_s=life_s)


def test_session_defaults_that_are_too_large_are_refused() -> None:
    room = MAX_SESSION_BYTES - len(orjson.dumps({"i": ""}))
    mint({"i": "x" * room})
    with pytest.raises(ValueError):
        mint({"i": "x" * (room + 1)})
