"""How a media socket of this protocol is let in: by its handshake, its ticket, and the place of its call."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.auth.ticket_errors import TicketRefused
from gateway.auth.tickets import MediaTicket
from gateway.callers.phone.calls import ExpectedCall
from gateway.callers.phone.receiver import PhoneReceiver
from gateway.callers.twilio.codec import TwilioCodec
from gateway.callers.twilio.parts import TwilioParts
from gateway.calls.admission import Ticket
from gateway.net.media_routes import Accepted
from gateway.net.sockets import SocketLimits
from sessions.errors import Overloaded

# The carriers' messages take less than 1 KiB; parameters in a start message may take some more.
LIMITS = SocketLimits(max_message_bytes=64 * 1024)
NOT_THE_CARRIER = Refusal(403, "handshake_refused", "The handshake does not come from the carrier's account.")
NO_TICKET = Refusal(403, "ticket_refused", "The address opens no call.")
FULL = Refusal(503, "too_many_tickets", "Too many calls begin at once; try again.", retry_after_s=1)


@dataclass(frozen=True, slots=True, eq=False)
class AdmittedStream:
    """A media socket that will open, and its call's id at the carrier."""

    ticket: Ticket
    call_id: str


class TwilioOpener:
    """Takes the media sockets of one account."""

    subprotocols = ("audio.twilio.com",)

    def __init__(self, parts: TwilioParts) -> None:
        self.path = f"{parts.addresses.media_path}/{{ticket}}"
        self._parts = parts

    async def admit(self, request: UpgradeRequest) -> AdmittedStream | Refusal:
        """Decide on a handshake; nothing is opened here."""
        parts = self._parts
        checked = parts.let_in(request)
        if isinstance(checked, Refusal):
            return parts.refused(checked)
        if not parts.account.handshake_fits(request.headers, parts.addresses.socket_of_target(request.target)):
            return parts.refused(NOT_THE_CARRIER)
        try:
            media = self._take(request.segment)
        except TicketRefused:
            return parts.refused(NO_TICKET)
        except Overloaded:
            return parts.refused(FULL)
        ticket = await self._place(media)
        return parts.refused(ticket) if isinstance(ticket, Refusal) else AdmittedStream(ticket, media.call_id)

    def accept(self, admitted: AdmittedStream, request: UpgradeRequest) -> Accepted:
        """Make the receiver of a media socket that opens now; its call begins with the start message."""
        parts = self._parts
        stream = _Stream(parts, admitted.call_id)
        expected = ExpectedCall(admitted.ticket, parts.account.name, stream.ended)
        receiver = stream.receiver = PhoneReceiver(expected, stream.codec, parts.calls)
        parts.streams.began(admitted.call_id, stream)
        parts.counts.note("sockets_opened")
        return Accepted(receiver, receiver.fault)

    def release(self, admitted: AdmittedStream) -> None:
        """No media socket will open."""
        self._parts.calls.release(admitted.ticket)
        self._parts.key_ends(admitted.call_id)

    def _take(self, ticket: str) -> MediaTicket:
        parts = self._parts
        account = parts.account
        return parts.tickets.take(ticket, carrier=account.name, tenant=account.tenant, now_s=parts.now_s)

    async def _place(self, media: MediaTicket) -> Ticket | Refusal:
        """The place that the webhook took, or a new one if that was given back or was taken in another process."""
        held = self._parts.expected.take(media.call_id)
        return held or await self._parts.calls.admit_to(media.tenant, media.agent)


class _Stream:
    """One media socket in the table of its account's sockets."""

    def __init__(self, parts: TwilioParts, call_id: str) -> None:
        self._parts = parts
        self._call_id = call_id
        self.codec = TwilioCodec(parts.account.account_sid, call_id)
        self.receiver: PhoneReceiver | None = None  # until it has ended, so that no reference cycle is left

    @property
    def stream_sid(self) -> str | None:
        """The stream's id, once its start message has come."""
        return self.codec.stream_sid

    def give_up(self, reason: str) -> None:
        """The carrier says that the call is over."""
        if self.receiver is not None:
            self.receiver.give_up(reason)

    def ended(self, reason: str) -> None:
        """The socket was given up, for this end reason of its call."""
        self.receiver = None
        self._parts.counts.note("messages_passed_over", self.codec.passed_over)
        if self._parts.streams.ended(self._call_id, self, reason):
            self._parts.key_ends(self._call_id)
