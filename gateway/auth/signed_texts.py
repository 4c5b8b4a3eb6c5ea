"""Short signed texts for addresses: the base64url form of 16 bytes of HMAC-SHA256 and a JSON list of a few values.

They are not encrypted, so what they hold can be read. Source: RFC 2104, 5, for the shortened MAC.
"""

from __future__ import annotations

import base64
import binascii
import hmac

import orjson

from gateway.auth.ticket_errors import TicketForged, TicketMalformed, TicketTooLong
from sessions.ports import Json

MAX_TEXT_CHARACTERS = 300
_MAC_BYTES = 16


class SignedTexts:
    """Makes and reads the texts of one kind: a text of another kind, or of another key, is forged."""

    def __init__(self, material: bytes, label: bytes) -> None:
        """`material` is the secret that all processes with the same settings have; `label` names the kind."""
        self._key = hmac.digest(label, material, "sha256")

    def write(self, values: list[Json]) -> str:
        """Return the text, which needs no escaping in an address. Raises TicketTooLong."""
        payload = orjson.dumps(values)
        text = base64.urlsafe_b64encode(self._mac(payload) + payload).rstrip(b"=").decode("ascii")
        if len(text) > MAX_TEXT_CHARACTERS:
            raise TicketTooLong(f"a ticket would have {len(text)} characters, of {MAX_TEXT_CHARACTERS} at most")
        return text

    def read(self, text: str) -> tuple[bytes, Json]:
        """Return the text's MAC, which is its identity, and its values. Raises TicketMalformed or TicketForged."""
        if len(text) > MAX_TEXT_CHARACTERS:
            raise TicketMalformed("this is no ticket")
        try:
            signed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise TicketMalformed("this is no ticket") from None
        mac, payload = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        if not payload:
            raise TicketMalformed("this is no ticket")
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise TicketForged("the ticket was not made by this server")
        values: Json = orjson.loads(payload)
        return mac, values

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_MAC_BYTES]
