"""How an Asterisk dialplan announces a call, and gets the id with which the media socket names it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from urllib.parse import urlencode
from uuid import UUID

from gateway.softphone.lines.gateway_http import Ask
from gateway.softphone.lines.line import LineRefused

CALLS_PATH = "/telephony/asterisk/calls"


def new_channel() -> str:
    """A name for a new channel, which is the call's id at the exchange."""
    return f"softphone-{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A call that is announced to the gateway; `key` is an API key of the tenant of `carriers.asterisk`, if any."""

    caller: str = field(repr=False)
    called: str = field(repr=False)
    channel: str
    key: str | None = field(default=None, repr=False)

    async def send(self, ask: Ask) -> UUID:
        """Announce the call. Raises LineRefused, and OSError where no gateway is there."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        form = {"caller": self.caller, "called": self.called, "channel": self.channel}
        answer = await ask("POST", CALLS_PATH, headers, urlencode(form).encode())
        if not answer.ok:
            raise LineRefused(f"the gateway refused to register the call: {answer.why}")
        try:
            return UUID(answer.body.decode("ascii"))
        except ValueError:
            raise LineRefused("the gateway's answer to the registration is not a UUID") from None
