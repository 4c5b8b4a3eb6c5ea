"""Items that a client adds in another's name: messages that nobody said in this call, function calls that nobody made.

They are no part of the record, but a leg of the model that is dialled later is given them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sessions.past import Past, PastMessage, PastToolCall

MAX_CHARS = 1024 * 1024  # of all items together; past it the oldest item is dropped
ITEM_CHARS = 200  # that each item counts for, besides its words


@dataclass(frozen=True, slots=True)
class _Kept:
    """One item, behind the item `after` (None: before all). A function call is `whole` once its result is there."""

    after: str | None
    entry: Past
    whole: bool


class ClientHistory:
    """Keeps the items that the client has added in another's name, in their order."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}  # by item
        self._calls: dict[str, str] = {}  # function call -> its item
        self._chars = 0

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._kept

    def add(self, entry: Past, after: str | None) -> None:
        """Keep a new item; a function call is left out of `among` until its `answer` comes."""
        if isinstance(entry, PastToolCall):
            self._calls.setdefault(entry.call_id, entry.item_id)
        self._keep(_Kept(after, entry, whole=isinstance(entry, PastMessage)))

    def answer(self, call_id: str, output: str) -> PastToolCall | None:
        """Take a result. Returns the function call with it, if it is the first result of a call that is kept here."""
        kept = self._kept.get(self._calls.get(call_id, ""))
        if kept is None or kept.whole or not isinstance(kept.entry, PastToolCall):
            return None
        entry = replace(kept.entry, output=output)
        self._chars -= _chars(kept.entry)
        self._keep(_Kept(kept.after, entry, whole=True))
        return entry

    def forget(self, item_id: str) -> None:
        """Drop an item, which the conversation does not hold any more."""
        kept = self._kept.pop(item_id, None)
        if kept is None:
            return
        self._chars -= _chars(kept.entry)
        if isinstance(kept.entry, PastToolCall) and self._calls.get(kept.entry.call_id) == item_id:
            del self._calls[kept.entry.call_id]

    def moved(self, gone: str, before: str | None) -> None:
        """An item of the record was withdrawn: what stood behind it stands behind `before` now."""
        for item_id, kept in self._kept.items():
            if kept.after == gone:
                self._kept[item_id] = replace(kept, after=before)

    def among(self, past: Sequence[Past], order: Sequence[str]) -> list[Past]:
        """The entries of the record with these items in their places; `order` has all items of the record."""
        rank = {item_id: number for number, item_id in enumerate(order, start=1)}
        told = [(rank.get(entry.item_id, 0), entry) for entry in past]
        reached = 0
        for kept in self._kept.values():
            # The item in front of it may be gone by now: then it stays behind the one that was added before it.
            reached = max(reached, rank.get(kept.after or "", 0))
            if kept.whole:
                told.append((reached, kept.entry))
        return [entry for _, entry in sorted(told, key=lambda placed: placed[0])]

    def _keep(self, kept: _Kept) -> None:
        self._kept[kept.entry.item_id] = kept
        self._chars += _chars(kept.entry)
        while self._chars > MAX_CHARS:
            self.forget(next(iter(self._kept)))


def _chars(entry: Past) -> int:
    if isinstance(entry, PastMessage):
        return ITEM_CHARS + len(entry.text)
    return ITEM_CHARS + len(entry.name) + len(entry.arguments) + len(entry.output or "")
