"""The requests of a carrier that plays Twilio, and how it reads the answers."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from gateway.callers.twilio import twiml
from gateway.callers.twilio.signature import Signatures
from gateway.softphone.far_ends.twilio_requests import StreamOrder, TwilioCaller, TwimlRefused, read_twiml

URL = "https://voice.example/telephony/twilio/voice"
CALLER = TwilioCaller("AC01", "CA02", "token", "+4930111", "+4930222")


def test_a_new_call_is_a_signed_form() -> None:
    request = CALLER.rings(URL)
    pairs = parse_qsl(request.body.decode(), keep_blank_values=True)
    assert {("CallSid", "CA02"), ("From", "+4930111"), ("To", "+4930222"), ("CallerCity", "")} <= set(pairs)
    signature = request.headers["x-twilio-signature"]
    assert Signatures("token").form_fits(signature, None, URL, pairs)
    assert not Signatures("other").form_fits(signature, None, URL, pairs)


def test_a_shared_key_signs_everything() -> None:
    modern = TwilioCaller("AC01", "CA02", "token", "+4930111", "+4930222", ("KY1", "shared"))
    known = Signatures("token", {"KY1": "shared"}.get)
    order = read_twiml(twiml.stream("wss://h/m", "https://h/s", {}))
    for headers, url, pairs in (
        (modern.rings(URL).headers, URL, parse_qsl(modern.rings(URL).body.decode(), keep_blank_values=True)),
        (modern.handshake(order), "wss://h/m", []),
    ):
        settings = headers["x-twilio-webhooks-signature-settings"]
        assert known.form_fits(headers["x-twilio-signature"], settings, url, pairs)


def test_our_twiml_is_read_whole() -> None:
    parameters = {"from": "+4930111", "odd": "\"<&>'"}
    assert read_twiml(twiml.stream("wss://h/m/T", "https://h/s/K", parameters, "b<&")) == StreamOrder(
        url="wss://h/m/T", status_url="https://h/s/K", parameters=parameters, bearer_token="b<&", then_hangs_up=True
    )


def test_a_bearer_token_takes_the_place_of_the_signature() -> None:
    order = read_twiml(twiml.stream("wss://h/m", "https://h/s", {}, "secret"))
    assert CALLER.handshake(order) == {"Authorization": "Bearer secret"}
    assert "secret" not in repr(order)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (twiml.BUSY, "^busy$"),
        (twiml.NOT_IN_SERVICE, "^rejected$"),
        (b"", "no XML"),
        (b"<Response/>", "opens no stream"),
        (b"<Response><Say>Hello</Say></Response>", "opens no stream"),
        (b"<Other><Connect><Stream url='wss://h/m'/></Connect></Other>", "opens no stream"),
        (b"<Response><Connect><Stream/></Connect></Response>", "address"),
        (b"<Response><Connect><Stream url='https://h/m'/></Connect></Response>", "address"),
        (b"<Response><Connect><Stream url='wss://h/m?ticket=T'/></Connect></Response>", "query"),
        (twiml.stream("wss://h/m", "", {"long": "x" * 500}), "500"),
    ],
)
def test_an_answer_without_a_stream_says_what_it_is(answer: bytes, why: str) -> None:
    with pytest.raises(TwimlRefused, match=why):
        read_twiml(answer)
