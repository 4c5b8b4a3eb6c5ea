"""Whether the machine did nothing else while something was measured."""

from __future__ import annotations

from typing import Protocol

SHARED = 0.10  # share of a core; if other work used more, the machine was not quiet
FULL = 0.80  # share of the load's core; above it the load itself may be slow


class CoreUse(Protocol):
    """How busy the cores of one line were, as shares: the load's own, and other work on each."""

    @property
    def load_busy(self) -> float: ...

    @property
    def server_others(self) -> float: ...

    @property
    def load_others(self) -> float: ...


def unquiet(use: CoreUse) -> list[str]:
    """The reasons why the figures of a line may be those of the load, or of other work on the machine."""
    found = [f"the load's core was {use.load_busy:.0%} busy"] if use.load_busy > FULL else []
    return found + [
        f"other work took up to {others:.0%} of the {core}'s core: "
        "the machine was not quiet, so these figures should not be published"
        for core, others in (("server", use.server_others), ("load", use.load_others))
        if others > SHARED
    ]
