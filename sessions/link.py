"""The call's view of the model's leg: whether it is open, and what waits until it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from sessions.outbox import PendingOutbox


class LinkState(Enum):
    """The state of the model's leg."""

    IDLE = "idle"  # not asked for yet
    DIALLING = "dialling"
    OPEN = "open"
    GONE = "gone"  # lost for good, or the call has ended


# For what is asked at every frame: looking a member up in its enum takes three times as long as comparing it.
OPEN = LinkState.OPEN


@dataclass(slots=True)
class Link:
    """The model's leg as the call knows it. Times in `now_ms`."""

    state: LinkState = LinkState.IDLE
    outbox: PendingOutbox = field(default_factory=PendingOutbox)
    dial_until_ms: int = 0  # when a dial that nobody has reported on counts as failed
    answered_since_dial: bool = True  # a leg that is lost before it has answered anything is not dialled again
    listen_first: bool = False  # the caller was speaking when the leg was lost: the next one hears the rest first
