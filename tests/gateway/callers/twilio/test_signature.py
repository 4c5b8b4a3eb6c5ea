"""Signatures of webhooks and handshakes."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers.twilio.signature import SHA1, SHA256, Signatures, fits, sign, url_forms

URL = "https://voice.example/telephony/twilio/voice"
SOCKET = "wss://voice.example/telephony/twilio/media/T"
FORM = [("CallSid", "CA02"), ("From", "+4930111"), ("To", "+4930222"), ("Note", "")]
KEYS = {"key1": "shared"}
KNOWN_SHA1 = "LnsWb2KscOCt+8i8DmL0KLFcaOM="
KNOWN_SHA256 = "6cW6QsmuwYrtBbE7jfmDyX2MUHxpgXs56zyya1esOJ4="
SIGNED_WITH = "key=key1,algorithm=HMAC_SHA256"


@pytest.fixture
def signatures() -> Signatures:
    return Signatures("token", KEYS.get)


def test_a_known_signature() -> None:
    # The HMAC is of "https://h/p" "A" "1" "B" "" "B" "2", computed with openssl.
    assert sign("token", "https://h/p", [("B", "2"), ("A", "1"), ("B", ""), ("B", "2")]) == KNOWN_SHA1
    assert sign("token", "https://h/p", [("B", "2"), ("A", "1"), ("B", ""), ("B", "2")], SHA256) == KNOWN_SHA256


def test_a_form_that_the_account_signed_fits(signatures: Signatures) -> None:
    signature = sign("token", URL, FORM)
    assert signatures.form_fits(signature, None, URL, reversed(FORM))
    assert signatures.form_fits(signature, None, URL, [*FORM, FORM[0]])  # a repeated value counts once


@pytest.mark.parametrize(
    ("url", "form"),
    [
        (URL + "/", FORM),
        (URL + "?a=1", FORM),
        (URL.replace("https", "http"), FORM),
        (URL.replace("voice.", "other."), FORM),
        (URL, FORM[1:]),
        (URL, [*FORM, ("CallSid", "CA03")]),
        (URL, [("CallSid", "CA03"), *FORM[1:]]),
    ],
)
def test_another_request_does_not_fit(signatures: Signatures, url: str, form: list[tuple[str, str]]) -> None:
    assert not signatures.form_fits(sign("token", URL, FORM), None, url, form)


@pytest.mark.parametrize(
    "signature", [None, "", "x", "ä", "\udcff", sign("other", URL, FORM), sign("shared", URL, FORM)]
)
def test_a_wrong_signature_does_not_fit(signatures: Signatures, signature: str | None) -> None:
    assert not signatures.form_fits(signature, None, URL, FORM)


def test_a_shared_key_signs_with_sha_256(signatures: Signatures) -> None:
    signature = sign("shared", URL, FORM, SHA256)
    assert signatures.form_fits(signature, SIGNED_WITH, URL, FORM)
    assert signatures.form_fits(signature, " Algorithm=hmac_sha256 , key=key1", URL, FORM)
    assert not signatures.form_fits(signature, None, URL, FORM)


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "key=key1",
        "key=key2,algorithm=HMAC_SHA256",
        "key=key1,algorithm=HMAC_SHA1",
        "algorithm=HMAC_SHA256",
        "key=,algorithm=HMAC_SHA256",
        "key=key1,algorithm=",
    ],
)
def test_a_header_that_names_no_known_key_and_algorithm_is_refused_whatever_was_signed(
    signatures: Signatures, settings: str
) -> None:
    for key in ("token", "shared"):
        for algorithm in (SHA1, SHA256):
            assert not signatures.form_fits(sign(key, URL, FORM, algorithm), settings, URL, FORM)


def test_without_shared_keys_only_the_token_fits() -> None:
    alone = Signatures("token")
    assert alone.form_fits(sign("token", URL, FORM), None, URL, FORM)
    assert not alone.form_fits(sign("token", URL, FORM, SHA256), SIGNED_WITH, URL, FORM)


@pytest.mark.parametrize(
    ("configured", "signed", "fitting"),
    [
        (SOCKET, SOCKET, True),
        (SOCKET, SOCKET.replace("example", "example:443"), True),
        (SOCKET.replace("example", "example:443"), SOCKET, True),
        (SOCKET.replace("example", "example:8443"), SOCKET.replace("example", "example:8443"), True),
        (SOCKET.replace("example", "example:8443"), SOCKET, True),
        (SOCKET, SOCKET.replace("example", "example:80"), False),
        (SOCKET, SOCKET.replace("example", "example:8443"), False),
        (SOCKET, SOCKET.replace("wss", "https"), False),
        (SOCKET, SOCKET + "/", False),
        (URL, URL.replace("example", "example:443"), True),
        ("wss://[2001:db8::1]:8443/m", "wss://[2001:db8::1]/m", True),
        ("wss://[2001:db8::1]/m", "wss://[2001:db8::1]:443/m", True),
    ],
)
def test_ports_may_be_left_out_or_written_and_nothing_else_may_differ(
    signatures: Signatures, configured: str, signed: str, fitting: bool
) -> None:
    assert signatures.form_fits(sign("token", signed), None, configured, ()) is fitting


def test_a_body_that_is_no_form_is_covered_by_its_hash(signatures: Signatures) -> None:
    body = b'{"CallSid":"CA02"}'
    url = f"{URL}?bodySHA256={sha256(body).hexdigest()}"
    signature = sign("token", url)
    assert signatures.body_fits(signature, None, url, body)
    assert not signatures.body_fits(signature, None, url, body + b" ")
    assert not signatures.body_fits(signature, None, URL, body)
    assert not signatures.body_fits(sign("token", URL), None, URL, body)
    assert not signatures.body_fits(sign("token", URL + "?bodySHA256=%C3%A4"), None, URL + "?bodySHA256=%C3%A4", body)


@given(
    st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=5), st.text(max_size=8), st.text(max_size=8)
)
def test_only_the_key_that_signed_fits(form: list[tuple[str, str]], key: str, other: str) -> None:
    for algorithm in (SHA1, SHA256):
        signature = sign(key, URL, form, algorithm)
        assert fits(signature, key, URL, form, algorithm)
        # HMAC pads a key with zero bytes, so these count as one key.
        assert fits(signature, other, URL, form, algorithm) is (key.rstrip("\0") == other.rstrip("\0"))


def test_the_forms_of_a_url_keep_everything_but_the_port() -> None:
    assert list(url_forms("https://h:8443/p%20q?a=b&c")) == ["https://h:8443/p%20q?a=b&c", "https://h/p%20q?a=b&c"]
    assert list(url_forms("ws://h/")) == ["ws://h/", "ws://h:80/"]
    assert list(url_forms("other://h/")) == ["other://h/"]
