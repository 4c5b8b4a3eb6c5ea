"""Why a ticket or a key for callbacks is refused, and how often that happened."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from sessions.errors import VoiceError


class TicketRefused(VoiceError):
    """A ticket is not accepted; the subclasses say why. No message shows the ticket or what it holds."""

    reason: ClassVar[str]


class TicketMalformed(TicketRefused):
    """The text is no ticket."""

    reason = "malformed"


class TicketForged(TicketRefused):
    """The ticket was not signed with our key, or is a ticket of another kind."""

    reason = "forged"


class TicketExpired(TicketRefused):
    """The ticket's time is over, or that of the call for which it was made."""

    reason = "expired"


class TicketUsed(TicketRefused):
    """The ticket has opened a call before."""

    reason = "used"


class TicketElsewhere(TicketRefused):
    """The ticket is for another carrier, tenant or call."""

    reason = "elsewhere"


class TicketTooLong(VoiceError):
    """A ticket would be longer than addresses may be, because of a long tenant, agent or call id."""


class TicketCounts:
    """Counts refused tickets by carrier and reason; both are words of ours, so that there are few of them."""

    def __init__(self) -> None:
        self._refused: Counter[tuple[str, str]] = Counter()

    def note(self, carrier: str, refused: TicketRefused) -> None:
        """Count one refused ticket; `carrier` is the one on whose address it was shown."""
        self._refused[carrier, refused.reason] += 1

    def items(self) -> list[tuple[tuple[str, str], int]]:
        """How many tickets were refused, by carrier and reason."""
        return sorted(self._refused.items())
