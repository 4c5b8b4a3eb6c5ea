"""When a call does what it does now and then: at times that its own start gave it, so that no two calls share a beat.

A beat that is counted from the last time drifts to whatever made all calls late at once, and from then on all of them
do their work in the same moment for ever.
"""

from __future__ import annotations

BLOCK_MS = 2000  # how much sound a call gathers for the disk; a crash loses it


def next_due_ms(started_ms: int, every_ms: int, now_ms: int) -> int:
    """The first time after `now_ms` that lies a whole number of `every_ms` after the call's start."""
    return now_ms + every_ms - (now_ms - started_ms) % every_ms
