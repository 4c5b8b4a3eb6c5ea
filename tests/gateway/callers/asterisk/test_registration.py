"""The form with which a dialplan announces a call."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.formats import PCM16_16K, PCMA_8K, AudioFormat, Coding
from gateway.callers.asterisk.registration import MAX_BODY_BYTES, MAX_FIELDS, Registration, read_registration
from sessions.errors import WireError

GOOD = {"caller": "+4930111", "called": "4930222", "channel": "1795228371.20"}


def form(**changed: str | None) -> bytes:
    return urlencode({name: value for name, value in {**GOOD, **changed}.items() if value is not None}).encode()


def test_a_form_says_who_calls_whom_on_which_channel() -> None:
    found = read_registration(form())
    assert (found.facts.number, found.facts.called, found.facts.carrier_call_id) == tuple(GOOD.values())
    assert (found.media_id, found.format) == (None, None)


def test_a_caller_may_hide_its_number() -> None:
    assert read_registration(form(caller="")).facts.number is None


def test_a_media_id_and_a_format_may_be_given() -> None:
    found = read_registration(form(media_id="a-B_3", format="slin16"))
    assert (found.media_id, found.format) == ("a-B_3", PCM16_16K)
    assert read_registration(form(format="alaw")).format == PCMA_8K
    assert read_registration(form(format="slin44")).format == AudioFormat(Coding.PCM16, 44_100)


@pytest.mark.parametrize("name", ["caller", "called", "channel"])
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(WireError, match=name) as raised:
        read_registration(form(**{name: None}))
    assert (raised.value.code, raised.value.param) == ("missing_field", name)


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"called": ""}, "called"),
        ({"called": "  "}, "called"),
        ({"channel": ""}, "channel"),
        ({"caller": "1" * 129}, "caller"),
        ({"channel": "1" * 129}, "channel"),
        ({"caller": "12\r\n34"}, "caller"),
        ({"called": "12\x00"}, "called"),
        ({"media_id": ""}, "media_id"),
        ({"media_id": "../secret"}, "media_id"),
        ({"media_id": "a" * 65}, "media_id"),
        ({"format": "opus"}, "format"),
        ({"format": ""}, "format"),
        ({"callers": "x"}, None),
    ],
)
def test_a_bad_value_is_refused_and_not_repeated(changed: dict[str, str], param: str | None) -> None:
    with pytest.raises(WireError) as raised:
        read_registration(form(**changed))
    assert raised.value.param == param
    for value in changed.values():
        assert len(value) < 3 or value not in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff=1",
        b"caller=%FF&called=1&channel=1",
        form() + b"&x=1" * MAX_FIELDS,
        form() + b"&caller=2",
        b"a" * (MAX_BODY_BYTES + 1),
        b'{"caller": "1"}',
        b"",
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        read_registration(body)


def test_no_representation_shows_a_number() -> None:
    assert "4930" not in repr(read_registration(form(media_id="4930-4930")))


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | st.dictionaries(st.sampled_from([*GOOD, "media_id", "format", "x"]), st.text(max_size=150)).map(
        lambda fields: urlencode(fields, errors="surrogatepass").encode()
    )
)
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        found = read_registration(body)
    except WireError:
        return
    assert isinstance(found, Registration)
    assert found.facts.called is not None
