"""How far a call is on the way to its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Goodbye(Enum):
    """What the agent has done about hanging up."""

    NONE = "none"
    WANTED = "wanted"  # it wants to hang up, and will say goodbye first
    SAID = "said"  # it has said goodbye; the call ends when that has been played


@dataclass(slots=True)
class CallEnd:
    """Whether a call has ended and why, and whether its agent is about to end it."""

    goodbye: Goodbye = Goodbye.NONE
    leave_reason: str = "agent_hung_up"  # the end reason of a call that ends with its goodbye
    leave_by_ms: int = 0  # once the goodbye is said: when the call ends at the latest
    reason: str | None = None  # the record's end reason; None while the call goes on
    ended_ms: int | None = None
