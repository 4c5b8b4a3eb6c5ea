"""The media sockets of Azure Communication Services: a token shows that the service dials, a ticket for which call.

Source: learn.microsoft.com, "Secure webhook endpoints and WebSocket connections" of Call Automation.
"""

from __future__ import annotations

from gateway.auth.entrance import Entrance
from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.auth.ticket_errors import TicketRefused
from gateway.auth.tickets import MediaTickets
from gateway.callers.acs.call import AcsCall
from gateway.callers.acs.calls import MEDIA_PATH, PROTOCOL, AcsCalls
from gateway.callers.acs.codec import AcsCodec
from gateway.callers.acs.events import MAX_ID_CHARACTERS
from gateway.callers.acs.showing import TokenEntrance
from gateway.callers.phone.receiver import PhoneReceiver
from gateway.callers.phone.redial import RedialReceiver
from gateway.net.media_routes import Accepted
from sessions.errors import Overloaded
from sessions.ports import Clock

CONNECTION_ID = "x-ms-call-connection-id"
CORRELATION_ID = "x-ms-call-correlation-id"

NO_TICKET = Refusal(403, "ticket_not_valid", "The ticket in the address is not valid.")
BUSY = Refusal(503, "busy", "Too many calls begin at once.", retry_after_s=1)


class AcsMedia:
    """Takes the media sockets."""

    protocol = PROTOCOL
    path = f"{MEDIA_PATH}{{ticket}}"
    subprotocols = ()

    def __init__(
        self,
        calls: AcsCalls,
        entrance: Entrance,
        tokens: TokenEntrance,
        tickets: MediaTickets,
        clock: Clock,
        *,
        marks: bool,
    ) -> None:
        self._calls = calls
        self._entrance = entrance
        self._tokens = tokens
        self._tickets = tickets
        self._clock = clock
        self._marks = marks

    async def admit(self, request: UpgradeRequest) -> AcsCall | Refusal:
        """Decide on a socket: where it comes from, its token, its ticket, and then whether there is room for a call."""
        checked = self._entrance.let_carrier_in(request)
        if isinstance(checked, Refusal):
            return checked
        refusal = await self._tokens.refuse(checked.headers.get("authorization"))
        if refusal is not None:
            return refusal
        try:
            ticket = self._tickets.take(
                checked.segment,
                carrier=PROTOCOL,
                now_s=self._clock.wall_s(),
                tenant=self._calls.tenant,
                call_id=checked.headers.get(CORRELATION_ID),
                live=self._calls.is_live,
            )
        except TicketRefused:
            return NO_TICKET
        except Overloaded:
            return BUSY
        connection_id = checked.headers.get(CONNECTION_ID)
        if connection_id is not None and not 0 < len(connection_id) <= MAX_ID_CHARACTERS:
            connection_id = None
        return await self._calls.expect(ticket, connection_id)

    def accept(self, admitted: AcsCall, request: UpgradeRequest) -> Accepted:
        """Make the receiver of a socket that opens now: a first one, or one that takes a live call over."""
        codec = AcsCodec(admitted.facts, marks=self._marks)
        if admitted.receiver is not None:
            again = RedialReceiver(admitted.receiver, codec, self._clock)
            return Accepted(again, again.fault)
        phone = self._calls.phone
        receiver = self._calls.opened(admitted, lambda expected: PhoneReceiver(expected, codec, phone))
        return Accepted(receiver, receiver.fault)

    def release(self, admitted: AcsCall) -> None:
        """No socket will open."""
        if admitted.receiver is None:
            self._calls.end(admitted)
