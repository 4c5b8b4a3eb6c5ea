"""How far a call is with what it may cost, and the question whether it may go on that other budgets can answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

NEAR_PERCENT = 80
ALL_PERCENT = 100
# A response that runs is heard out, unless it alone costs so much of the budget.
MOST_PERCENT = 120
BUDGET_REASON = "budget"  # the end reason of a call that its budget ends
BUDGET_GOODBYE = "The call has reached its budget."  # what a client is told as the call ends
BUDGET_REACHED = "budget_reached"  # the code with which a client's requests are refused then
REFUSAL = "The call's budget is used up: the agent says goodbye, and the call ends."
# How long the call may go on after the goodbye was asked for, and then after it has begun to sound.
HEARD_LIMIT_MS = 10_000


class Allowance(Protocol):
    """A further limit on what calls may cost, such as a tenant's or a day's; asked before each response."""

    def may_begin(self, spent_nano: int) -> bool:
        """Whether another response may begin in a call that is known to have cost this much."""
        ...


class Unlimited:
    """There is no further limit."""

    def may_begin(self, spent_nano: int) -> bool:
        """Always."""
        return True


UNLIMITED = Unlimited()


class BudgetStage(Enum):
    """How far a call is with its budget."""

    WITHIN = "within"
    NEAR = "near"  # most of it is spent
    USED_UP = "used_up"  # nothing else begins; the goodbye is still to be asked for, or to be said


@dataclass(slots=True)
class Budget:
    """Whether a call's budget is used up, and until when its goodbye may last."""

    stage: BudgetStage = BudgetStage.WITHIN
    cut_ms: int | None = None  # when the response that runs is cut, of a model that is sold by time
    cancelled: set[str] = field(default_factory=set)  # the responses that may not begin, or had cost too much

    def cut(self, response_id: str) -> bool:
        """Whether the budget has cancelled this response, and not the caller."""
        return response_id in self.cancelled

    @property
    def used_up(self) -> bool:
        """Whether nothing else may begin."""
        return self.stage is BudgetStage.USED_UP


def reaches(spent_nano: int, limit_nano: int, percent: int) -> bool:
    """Whether this share of a budget is spent."""
    return spent_nano * 100 >= limit_nano * percent
