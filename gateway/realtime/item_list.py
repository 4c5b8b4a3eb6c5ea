"""Items in their order, each of which is found, added and removed at the same small cost, however many there are."""

from __future__ import annotations

from collections.abc import Iterator


class ItemList:
    """Ids in an order; each stands in it once. A client may add thousands, and each behind any other."""

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        # None stands for the place in front of the first and behind the last.
        self._after: dict[str | None, str | None] = {None: None}
        self._before: dict[str | None, str | None] = {None: None}

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._after

    def __len__(self) -> int:
        return len(self._after) - 1

    def __iter__(self) -> Iterator[str]:
        item_id = self._after[None]
        while item_id is not None:
            yield item_id
            item_id = self._after[item_id]

    @property
    def first(self) -> str | None:
        """The first item; None where there is none."""
        return self._after[None]

    @property
    def last(self) -> str | None:
        """The last item; None where there is none."""
        return self._before[None]

    def before(self, item_id: str) -> str | None:
        """The item in front of this one, which is here; None for the first."""
        return self._before[item_id]

    def after(self, item_id: str) -> str | None:
        """The item behind this one, which is here; None for the last."""
        return self._after[item_id]

    def insert(self, item_id: str, behind: str | None) -> None:
        """Add an item that is not here behind one that is, or in front of all (None)."""
        follower = self._after[behind]
        self._after[behind] = self._before[follower] = item_id
        self._after[item_id], self._before[item_id] = follower, behind

    def remove(self, item_id: str) -> None:
        """Take an item out that is here."""
        before, after = self._before.pop(item_id), self._after.pop(item_id)
        self._after[before], self._before[after] = after, before

    def clear(self) -> None:
        """Take all out."""
        self._after = {None: None}
        self._before = {None: None}
