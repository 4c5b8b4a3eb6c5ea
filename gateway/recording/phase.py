"""The times of a call's periodic work, counted from the call's own start, so that calls do not work at the same moment.

If each time were counted from the last one, a stall that delays all calls would bring them into step, and from then on
all of them would work at the same moment.
"""

from __future__ import annotations

BLOCK_MS = 2000  # how much sound a call gathers before it is written; a crash loses it


def next_due_ms(started_ms: int, every_ms: int, now_ms: int) -> int:
    """The first time after `now_ms` that is a whole multiple of `every_ms` after the call's start."""
    return now_ms + every_ms - (now_ms - started_ms) % every_ms
