"""The HTTP side of a call as Twilio makes it: what is signed for whom, and answers that are no call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

import pytest
from pydantic import SecretStr

from gateway.callers.twilio.signature import SIGNATURE_HEADER, fits
from gateway.config.carriers import Twilio
from gateway.softphone.lines.gateway_http import HttpAnswer
from gateway.softphone.lines.line import LineRefused
from gateway.softphone.lines.twilio import TwilioLine

TOKEN = "made-up-token"
REJECT = b'<Response><Reject reason="busy"/></Response>'


def stream(url: str) -> bytes:
    return f'<Response><Connect><Stream url="{url}"/></Connect><Hangup/></Response>'.encode()


def dial(status: int, body: bytes) -> tuple[TwilioLine, list[tuple[str, str, Mapping[str, str], bytes]]]:
    """Dial a gateway that answers the webhook so. Raises what dialling raises."""
    asked: list[tuple[str, str, Mapping[str, str], bytes]] = []

    async def ask(method: str, path: str, headers: Mapping[str, str], sent: bytes) -> HttpAnswer:
        asked.append((method, path, headers, sent))
        return HttpAnswer(status, body)

    line = TwilioLine(
        Twilio(account_sid="AC01", auth_token=SecretStr(TOKEN)),
        public_url="https://voice.example/pb/",
        server_url="http://127.0.0.1:1",
        caller="+12025550199",
        called="+12025550100",
        ask=ask,
    )
    try:
        asyncio.run(line.dial())
    finally:
        ((method, path, headers, form),) = asked
        assert (method, path) == ("POST", "/telephony/twilio/voice")
        url = "https://voice.example/pb/telephony/twilio/voice"
        pairs = parse_qsl(form.decode(), keep_blank_values=True)
        assert fits(headers[SIGNATURE_HEADER], TOKEN, url, pairs)
        assert dict(pairs)["To"] == "+12025550100"
        assert dict(pairs)["CallSid"] == line.carrier_call_id
    return line, asked


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (
            403,
            b'{"error": {"message": "Not signed.", "code": "signature_refused"}}',
            r"Not signed. \(signature_refused\)",
        ),
        (500, b"oops", "HTTP 500"),
        (200, REJECT, "does not take the call: busy"),
        (200, b"hello", "does not take the call: the answer is no XML"),
        (200, stream("wss://elsewhere.example/telephony/twilio/media/t"), "not under public_url"),
        (200, stream("wss://voice.example/pbx/telephony/twilio/media/t"), "not under public_url"),
    ],
)
def test_an_answer_that_is_no_call_says_why(status: int, body: bytes, why: str) -> None:
    with pytest.raises(LineRefused, match=why) as refused:
        dial(status, body)
    assert TOKEN not in str(refused.value)
    assert "+1202" not in str(refused.value)


def test_the_media_socket_is_dialled_on_this_machine() -> None:
    # Nothing listens on port 1, and nothing at all is asked of the public address.
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        dial(200, stream("wss://voice.example/pb/telephony/twilio/media/t"))
