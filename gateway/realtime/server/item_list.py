"""An ordered list of items in which finding, adding and removing an item take constant time."""

from __future__ import annotations

from collections.abc import Iterator


class ItemList:
    """A doubly linked list of unique ids. A client may add thousands, each after any other."""

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        # None is the place before the first item and after the last.
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
        """The item before this one, which must be in the list; None for the first."""
        return self._before[item_id]

    def after(self, item_id: str) -> str | None:
        """The item after this one, which must be in the list; None for the last."""
        return self._after[item_id]

    def insert(self, item_id: str, behind: str | None) -> None:
        """Add a new item after `behind`, which must be in the list, or before all others (None)."""
        follower = self._after[behind]
        self._after[behind] = self._before[follower] = item_id
        self._after[item_id], self._before[item_id] = follower, behind

    def remove(self, item_id: str) -> None:
        """Remove an item, which must be in the list."""
        before, after = self._before.pop(item_id), self._after.pop(item_id)
        self._after[before], self._before[after] = after, before

    def clear(self) -> None:
        """Remove all items."""
        self._after = {None: None}
        self._before = {None: None}
