from __future__ import annotations

from typing import get_args

from sessions.events import CallerEvent
from sessions.routing import CALLER_KINDS


def test_every_kind_of_event_of_the_callers_leg_is_known_as_one() -> None:
    assert frozenset(get_args(CallerEvent)) == CALLER_KINDS
