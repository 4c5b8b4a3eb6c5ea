"""What a carrier of this protocol is answered over HTTP: a new call with TwiML, and the statuses of calls.

A request that is not signed, or is for another account, is refused before anything else is decided. A new call takes
its place among the server's calls here, so that a full server lets the carrier play a busy tone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.auth.ticket_errors import TicketRefused, TicketTooLong
from gateway.callers.phone.calls import NO_NUMBER
from gateway.callers.twilio import twiml
from gateway.callers.twilio.account import FORM_TYPE
from gateway.callers.twilio.codec import CALLED, CALLER, DIRECTION
from gateway.callers.twilio.parts import TwilioParts
from gateway.calls.admission import Ticket
from sessions.caller_facts import CallerFacts, Direction
from sessions.errors import Overloaded

log = logging.getLogger(__name__)

MAX_FIELDS = 200
MAX_CALL_ID_CHARACTERS = 64
NOT_SIGNED = Refusal(403, "signature_refused", "The request is not signed by the carrier's account.")
NOT_OURS = Refusal(403, "account_refused", "The request is for another account, or for another call.")
NOT_READABLE = Refusal(400, "bad_webhook", "The request is not a form that names its account and its call.")
OVER = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
STREAM_OVER = frozenset({"stream-stopped", "stream-error"})


@dataclass(frozen=True, slots=True)
class _Webhook:
    """A webhook that was signed by the account: the first value of each of its fields, and its call."""

    fields: Mapping[str, str]
    call_id: str


class Webhooks:
    """Answers the webhooks of one account."""

    def __init__(self, parts: TwilioParts) -> None:
        self._parts = parts

    async def voice(self, request: UpgradeRequest, body: bytes) -> bytes | Refusal:
        """The TwiML for a new call, or a refusal of the request."""
        parts = self._parts
        webhook = self._read(request, body)
        if isinstance(webhook, Refusal):
            return parts.refused(webhook)
        if parts.draining():
            parts.counts.note("busy")
            return twiml.BUSY
        ticket = parts.expected.ticket_of(webhook.call_id)
        if ticket is None:
            found = await parts.calls.admit(parts.account.tenant, webhook.fields.get("To"))
            if isinstance(found, Refusal):
                return self._no_call(found)
            ticket = found
        return self._stream(webhook, ticket)

    def status(self, request: UpgradeRequest, body: bytes, key: str | None) -> Refusal | None:
        """A call or its stream has a new status; None where the request was let in. `key` is that of the address."""
        parts = self._parts
        webhook = self._read(request, body)
        if isinstance(webhook, Refusal):
            return parts.refused(webhook)
        if key is not None and not self._is_key_of(key, webhook.call_id):
            return parts.refused(NOT_OURS)
        fields = webhook.fields
        if fields.get("CallStatus", "").lower() in OVER:
            parts.expected.drop(webhook.call_id)
            parts.streams.over(webhook.call_id)
        elif fields.get("StreamEvent", "").lower() in STREAM_OVER:
            parts.streams.over(webhook.call_id, fields.get("StreamSid"))
        return None

    def _is_key_of(self, key: str, call_id: str) -> bool:
        account = self._parts.account
        now_s = self._parts.now_s
        try:
            self._parts.keys.read(key, carrier=account.name, tenant=account.tenant, call_id=call_id, now_s=now_s)
        except TicketRefused:
            return False
        return True

    def _read(self, request: UpgradeRequest, body: bytes) -> _Webhook | Refusal:
        """Check a request's signature and account, and read its form."""
        account = self._parts.account
        pairs = None
        if (request.headers.get("content-type") or "").partition(";")[0].strip().lower() == FORM_TYPE:
            try:
                text = body.decode("utf-8")
                pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
            except ValueError:
                return NOT_READABLE
        url = self._parts.addresses.of_target(request.target)
        if not account.request_fits(request.headers, url, body, pairs):
            return NOT_SIGNED
        fields = dict(reversed(pairs or ()))  # the first value of a name counts
        call_id = fields.get("CallSid", "")
        if not 0 < len(call_id) <= MAX_CALL_ID_CHARACTERS or "AccountSid" not in fields:
            return NOT_READABLE
        if fields["AccountSid"] != account.account_sid:
            return NOT_OURS
        return _Webhook(fields, call_id)

    def _stream(self, webhook: _Webhook, ticket: Ticket) -> bytes:
        """Hold the call's place, and answer with the address of its media socket."""
        parts, call_id = self._parts, webhook.call_id
        account, addresses, now_s = parts.account, parts.addresses, parts.now_s
        parts.expected.hold(call_id, ticket)
        try:
            media = parts.tickets.mint(
                carrier=account.name, tenant=account.tenant, agent=ticket.agent.name, call_id=call_id, now_s=now_s
            )
            key = parts.keys.mint(account.name, account.tenant, call_id, now_s)
        except (TicketTooLong, Overloaded) as error:
            parts.expected.drop(call_id)
            parts.counts.note("busy")
            log.warning("a call could not be taken", extra={"carrier": account.name, "why": str(error)})
            return twiml.BUSY
        parts.counts.note("answered")
        return twiml.stream(
            addresses.media(media), addresses.status(key), _parameters(webhook.fields), account.bearer_token
        )

    def _no_call(self, refusal: Refusal) -> bytes:
        """The TwiML for a call that is not taken."""
        parts, unknown = self._parts, refusal is NO_NUMBER
        parts.counts.note("number_unknown" if unknown else "busy")
        log.warning("a call is not taken", extra={"carrier": parts.account.name, "why": refusal.code})
        return twiml.NOT_IN_SERVICE if unknown else twiml.BUSY


def _parameters(fields: Mapping[str, str]) -> dict[str, str]:
    """What the media socket's start message brings back: who calls whom, cleaned as in records."""
    direction = Direction.OUTBOUND if fields.get("Direction", "").startswith("outbound") else Direction.INBOUND
    facts = CallerFacts.of(fields.get("From"), fields.get("To"), direction)
    named = {CALLER: facts.number, CALLED: facts.called, DIRECTION: facts.direction.value}
    return {name: value for name, value in named.items() if value is not None}
