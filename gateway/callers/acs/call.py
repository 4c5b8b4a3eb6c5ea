"""What one process knows of one call of Azure Communication Services."""

from __future__ import annotations

import asyncio

from gateway.callers.acs.events import IncomingCall
from gateway.callers.phone.receiver import PhoneReceiver
from gateway.calls.admission import Ticket
from sessions.caller_facts import CallerFacts


class AcsCall:
    """One call, from the event that it rings to its end."""

    def __init__(self, incoming: IncomingCall) -> None:
        self.incoming = incoming
        self.connection_id: str | None = None
        self.ticket: Ticket | None = None  # while the call is let in and has no socket yet
        self.receiver: PhoneReceiver | None = None
        self.ended = False
        self.gone = False  # the service has said that the call is over
        self.hung_up = False  # the action has been asked for
        self.watched = False  # the job that answers it still runs
        self.settled = asyncio.Event()  # there is a socket, or the call has ended
        self.named = asyncio.Event()  # its connection id is known

    @property
    def id(self) -> str:
        """The correlation id."""
        return self.incoming.correlation_id

    @property
    def facts(self) -> CallerFacts:
        """What is known of the caller."""
        return self.incoming.facts(self.connection_id)

    @property
    def live(self) -> bool:
        """Whether the call has begun and has not ended."""
        return self.receiver is not None and self.receiver.live
