"""What Twilio, or SignalWire, asks a server over HTTP on behalf of a caller: signed webhooks and the handshake. Pure.

Sources: those of `gateway/callers/twilio/signature.py`; twilio.com/docs/voice/twiml for the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, ParseError, fromstring

from gateway.callers.twilio.signature import SETTINGS_HEADER, SHA1, SHA256, SIGNATURE_HEADER, sign


class TwimlRefused(Exception):
    """The answer to a webhook is no TwiML that opens a stream; the message says what it is instead."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The headers and the body of a POST."""

    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class StreamOrder:
    """What TwiML says about the stream that it opens."""

    url: str
    status_url: str | None
    parameters: dict[str, str] = field(repr=False)
    bearer_token: str | None = field(repr=False)
    then_hangs_up: bool


@dataclass(frozen=True, slots=True)
class TwilioCaller:
    """A caller at the carrier. With `shared_key`, the id and the text of a key, requests are signed with SHA-256."""

    account_sid: str
    call_sid: str
    token: str = field(repr=False)
    caller: str = field(repr=False)
    called: str = field(repr=False)
    shared_key: tuple[str, str] | None = field(default=None, repr=False)

    def rings(self, url: str) -> SignedRequest:
        """The webhook for a new call."""
        ids = {"AccountSid": self.account_sid, "CallSid": self.call_sid, "ApiVersion": "2010-04-01"}
        numbers = {"From": self.caller, "To": self.called, "Caller": self.caller, "Called": self.called}
        return self._form(url, {**ids, **numbers, "Direction": "inbound", "CallStatus": "ringing", "CallerCity": ""})

    def status(self, url: str, **fields: str) -> SignedRequest:
        """The webhook for a new status of the call or of its stream."""
        return self._form(url, {"AccountSid": self.account_sid, "CallSid": self.call_sid, **fields})

    def handshake(self, order: StreamOrder) -> dict[str, str]:
        """The headers with which the media socket is dialled."""
        if order.bearer_token is not None:
            return {"Authorization": f"Bearer {order.bearer_token}"}
        return self._signed(order.url, {})

    def _form(self, url: str, fields: Mapping[str, str]) -> SignedRequest:
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", **self._signed(url, fields)}
        return SignedRequest(headers, urlencode(fields).encode())

    def _signed(self, url: str, fields: Mapping[str, str]) -> dict[str, str]:
        if self.shared_key is None:
            return {SIGNATURE_HEADER: sign(self.token, url, fields.items(), SHA1)}
        key_id, key = self.shared_key
        settings = f"key={key_id},algorithm=HMAC_SHA256"
        return {SETTINGS_HEADER: settings, SIGNATURE_HEADER: sign(key, url, fields.items(), SHA256)}


def read_twiml(answer: bytes) -> StreamOrder:
    """What an answer says about the stream. Raises TwimlRefused."""
    try:
        response = fromstring(answer)  # noqa: S314  # the answer of the server under test, bounded by its client
    except ParseError:
        raise TwimlRefused("the answer is no XML") from None
    stream = response.find("Connect/Stream")
    if response.tag != "Response" or stream is None:
        raise TwimlRefused(_instead(response))
    url = stream.get("url", "")
    if not url.startswith(("wss://", "ws://")) or "?" in url:
        raise TwimlRefused("the stream's address is no WebSocket's, or has a query, which the carrier leaves out")
    parameters = {each.get("name", ""): each.get("value", "") for each in stream.findall("Parameter")}
    if any(len(name) + len(value) > 500 for name, value in parameters.items()):
        raise TwimlRefused("a parameter has more than 500 characters")
    return StreamOrder(
        url=url,
        status_url=stream.get("statusCallback"),
        parameters=parameters,
        bearer_token=stream.get("authBearerToken"),
        then_hangs_up=[each.tag for each in response] == ["Connect", "Hangup"],
    )


def _instead(response: Element) -> str:
    verb = next(iter(response), None)
    if verb is not None and verb.tag == "Reject":
        return "busy" if verb.get("reason") == "busy" else "rejected"
    return "the answer opens no stream"
