"""The tokens of the service's stand-in, read by PyJWT as it reads any others."""

from __future__ import annotations

import jwt
import orjson
import pytest

from gateway.softphone.far_ends.acs_tokens import KEY_BITS, TokenMint, key_from

NOW = 2_000_000_000
MINT = TokenMint("https://issuer.example", "resource")


def read(token: str) -> dict[str, object]:
    key = jwt.PyJWKSet.from_dict(orjson.loads(MINT.key_set()))["key-1"].key
    options = {"verify_nbf": False}
    found: dict[str, object] = jwt.decode(
        token, key, algorithms=["RS256"], audience="resource", issuer=MINT.issuer, options=options
    )
    return found


def test_a_good_token_is_good() -> None:
    claims = read(MINT.token(NOW, 300, sub="x"))
    assert (claims["exp"], claims["nbf"], claims["sub"]) == (NOW + 300, NOW, "x")
    assert "aud" not in jwt.decode(MINT.token(NOW, aud=None), options={"verify_signature": False})


def test_bad_tokens_are_bad() -> None:
    for token in (MINT.of_other_key(NOW), MINT.unsigned(NOW), MINT.of_public_key(NOW), MINT.token(NOW, aud="other")):
        with pytest.raises(jwt.InvalidTokenError):
            read(token)


def test_the_configuration_names_the_key_set() -> None:
    found = orjson.loads(MINT.openid("https://issuer.example/keys"))
    assert found == {"issuer": "https://issuer.example", "jwks_uri": "https://issuer.example/keys"}


def test_a_secret_has_one_key_which_signs_like_any_other() -> None:
    first, other = key_from(b"a secret"), key_from(b"another secret")
    key_from.cache_clear()
    assert key_from(b"a secret").private_numbers() == first.private_numbers() != other.private_numbers()
    assert first.key_size == KEY_BITS
    token = TokenMint("https://issuer.example", "resource", key=first).token(NOW)
    options = {"verify_nbf": False}
    claims = jwt.decode(token, first.public_key(), algorithms=["RS256"], audience="resource", options=options)
    assert claims["exp"] > NOW
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(token, other.public_key(), algorithms=["RS256"], audience="resource", options=options)
