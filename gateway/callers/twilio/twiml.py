"""The answers to a voice webhook: TwiML, which SignalWire calls cXML. Pure.

Sources: twilio.com/docs/voice/twiml/stream and /reject; signalwire.com/docs, cXML, Stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

BUSY = b'<?xml version="1.0" encoding="UTF-8"?><Response><Reject reason="busy"/></Response>'
# The caller hears that the number is not in service.
NOT_IN_SERVICE = b'<?xml version="1.0" encoding="UTF-8"?><Response><Reject/></Response>'


def stream(url: str, status_url: str, parameters: Mapping[str, str], bearer_token: str | None = None) -> bytes:
    """Let the carrier open a media socket to `url`, and hang up once it has ended.

    `parameters` come back in the socket's start message. With `bearer_token` the carrier shows it in its handshake.
    """
    stated = {"url": url, "statusCallback": status_url, "statusCallbackMethod": "POST"}
    if bearer_token is not None:
        stated["authBearerToken"] = bearer_token
    inside = "".join(f"<Parameter{_attributes({'name': name, 'value': value})}/>" for name, value in parameters.items())
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><Response>'
        f"<Connect><Stream{_attributes(stated)}>{inside}</Stream></Connect><Hangup/></Response>"
    )
    return text.encode("utf-8", "replace")


def _attributes(values: Mapping[str, str]) -> str:
    return "".join(f" {name}={quoteattr(value)}" for name, value in values.items())
