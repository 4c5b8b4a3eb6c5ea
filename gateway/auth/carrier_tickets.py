"""What one process signs for carriers: tickets for media sockets, keys for callbacks, and the count of refused ones."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.auth.callback_keys import CallbackKeys
from gateway.auth.ticket_errors import TicketCounts
from gateway.auth.tickets import MediaTickets


@dataclass(frozen=True, slots=True)
class CarrierTickets:
    """The tickets of all carriers of a process."""

    media: MediaTickets
    callbacks: CallbackKeys
    counts: TicketCounts

    @classmethod
    def of(cls, material: bytes) -> CarrierTickets:
        """Tickets that every process with the same `material` accepts, as `SignedTexts` explains it."""
        counts = TicketCounts()
        return cls(MediaTickets(material, counts), CallbackKeys(material, counts), counts)
