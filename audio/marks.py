"""The names of marks: points in the sound of items, which a far end names again when it has played up to them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

MAX_NAME_BYTES = 40  # a carrier drops longer control messages, or shortens the name
MAX_PENDING = 2_000  # of a far end that answers no mark the oldest ones are forgotten


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in an item's sound, in milliseconds from its first sample."""

    item_id: str
    position_ms: int


class Marks:
    """The marks of one call that have not come back. A name holds a number and no item, so it is always short.

    With each clear a new generation begins. Names of an older one are not known any more: some far ends answer all
    pending marks at a clear as if they had been played, others never do.
    """

    __slots__ = ("_generation", "_number", "_pending")

    def __init__(self) -> None:
        self._generation = 0
        self._number = 0
        self._pending: OrderedDict[str, Mark] = OrderedDict()

    def __len__(self) -> int:
        """How many have not come back."""
        return len(self._pending)

    def name(self, mark: Mark) -> str:
        """A new name for this mark: ASCII, at most `MAX_NAME_BYTES` long."""
        self._number += 1
        name = f"{self._generation}-{self._number}"
        self._pending[name] = mark
        if len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        return name

    def echoed(self, name: str) -> Mark | None:
        """The mark of this name, once; None for a name that was never given, came before, or was cleared."""
        return self._pending.pop(name, None)

    def clear(self) -> None:
        """Begin a new generation: what is pending is never played."""
        self._pending.clear()
        self._generation += 1
