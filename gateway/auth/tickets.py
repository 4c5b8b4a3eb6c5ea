"""Tickets for the media sockets of carriers: a ticket in a socket's address opens the one call for which it was made.

A webhook that is known to come from the carrier is answered with an address that ends in a ticket. The ticket is
signed, holds no telephone number, and every process with the same settings accepts it; but each process remembers only
what it has taken itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.auth.signed_texts import SignedTexts
from gateway.auth.ticket_errors import (
    TicketCounts,
    TicketElsewhere,
    TicketExpired,
    TicketMalformed,
    TicketRefused,
    TicketUsed,
)
from sessions.errors import Overloaded

TICKET_LIFE_S = 60
MAX_USED = 100_000
_LABEL = b"patchbay media tickets, 1"


@dataclass(frozen=True, slots=True)
class MediaTicket:
    """What a ticket grants: one call of `tenant` to `agent`, whose id at the carrier is `call_id`."""

    carrier: str
    tenant: str
    agent: str
    call_id: str
    expires_at: int  # Unix seconds
    redial: bool  # the carrier may dial again into the live call
    again: bool = False  # it was taken for the call that is live: no new call may begin


def _not_live(ticket: MediaTicket) -> bool:
    return False


class MediaTickets:
    """Makes the tickets, and takes each of them once."""

    def __init__(
        self,
        material: bytes,
        counts: TicketCounts,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(9),
        max_used: int = MAX_USED,
    ) -> None:
        """`material` as for `SignedTexts`. `max_used` bounds how many taken tickets are remembered."""
        self._texts = SignedTexts(material, _LABEL)
        self._counts = counts
        self._nonce = nonce
        self._max_used = max_used
        self._used: dict[bytes, int] = {}  # by the ticket's MAC: when the ticket expires

    def mint(self, *, carrier: str, tenant: str, agent: str, call_id: str, now_s: float, redial: bool = False) -> str:
        """Return a ticket that is good for 60 s. `now_s` is in Unix seconds. Raises TicketTooLong."""
        expires_at = int(now_s) + TICKET_LIFE_S
        return self._texts.write([carrier, tenant, agent, call_id, expires_at, redial, self._nonce()])

    def take(
        self,
        value: str,
        *,
        carrier: str,
        now_s: float,
        tenant: str | None = None,
        call_id: str | None = None,
        live: Callable[[MediaTicket], bool] = _not_live,
    ) -> MediaTicket:
        """Return what a ticket grants, and remember that it was taken.

        `tenant` and `call_id`, where they are known already, must be those of the ticket. `live` says whether the
        ticket's call is live in this process; it is asked for tickets that were made with `redial` only. While it is,
        such a ticket is good, also after its time, and has `again` set: it may open that call again and nothing else.

        Raises a TicketRefused, which is counted, or Overloaded where no more tickets can be remembered.
        """
        try:
            mac, ticket = self._read(value)
            if ticket.carrier != carrier or tenant not in (None, ticket.tenant):
                raise TicketElsewhere("the ticket is for another carrier or tenant")
            if call_id not in (None, ticket.call_id):
                raise TicketElsewhere("the ticket is for another call")
            if ticket.redial and live(ticket):
                return replace(ticket, again=True)
            self._use(mac, ticket, now_s)
        except TicketRefused as refused:
            self._counts.note(carrier, refused)
            raise
        return ticket

    def _read(self, value: str) -> tuple[bytes, MediaTicket]:
        mac, values = self._texts.read(value)
        match values:
            case [str(carrier), str(tenant), str(agent), str(call_id), int(expires_at), bool(redial), str()]:
                return mac, MediaTicket(carrier, tenant, agent, call_id, expires_at, redial)
        raise TicketMalformed("the ticket lacks a field")

    def _use(self, mac: bytes, ticket: MediaTicket, now_s: float) -> None:
        if now_s >= ticket.expires_at:
            raise TicketExpired("the ticket has expired")
        if mac in self._used:
            raise TicketUsed("the ticket has been used")
        self._forget(now_s)
        if len(self._used) >= self._max_used:
            # To forget a ticket that is still good would let it be used twice.
            raise Overloaded("too many calls begin at once")
        self._used[mac] = ticket.expires_at

    def _forget(self, now_s: float) -> None:
        # Tickets are taken nearly in the order in which they expire, and all of them expire within a minute.
        while self._used and now_s >= self._used[oldest := next(iter(self._used))]:
            del self._used[oldest]
