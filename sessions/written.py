"""What a client writes of an earlier talk: messages that nobody said in this call, function calls that it never saw.

The record has no place for them; a leg of the model that is dialled later is told of them all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sessions.past import Past, PastMessage, PastToolCall

MAX_CHARS = 1024 * 1024  # of all that is kept; past it the oldest goes
ITEM_CHARS = 200  # what an item counts for besides its words


@dataclass(frozen=True, slots=True)
class _Kept:
    """One item; it stands behind the item `after`, or before all. A call without its result is not told."""

    after: str | None
    entry: Past
    whole: bool


class WrittenItems:
    """The items of one call that its client wrote in another's name, in their order."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}  # by item
        self._calls: dict[str, str] = {}  # function call -> its item
        self._chars = 0

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._kept

    def add(self, entry: Past, after: str | None) -> None:
        """Keep an item that is new; a function call waits for its `answer`."""
        if isinstance(entry, PastToolCall):
            self._calls.setdefault(entry.call_id, entry.item_id)
        self._keep(_Kept(after, entry, whole=isinstance(entry, PastMessage)))

    def answer(self, call_id: str, output: str) -> PastToolCall | None:
        """The first result of a function call that was written here: the call with it. None for any other."""
        kept = self._kept.get(self._calls.get(call_id, ""))
        if kept is None or kept.whole or not isinstance(kept.entry, PastToolCall):
            return None
        entry = replace(kept.entry, output=output)
        self._chars -= _chars(kept.entry)
        self._keep(_Kept(kept.after, entry, whole=True))
        return entry

    def forget(self, item_id: str) -> None:
        """It does not stand in the conversation."""
        kept = self._kept.pop(item_id, None)
        if kept is None:
            return
        self._chars -= _chars(kept.entry)
        if isinstance(kept.entry, PastToolCall) and self._calls.get(kept.entry.call_id) == item_id:
            del self._calls[kept.entry.call_id]

    def moved(self, gone: str, before: str | None) -> None:
        """An item of the record was not said after all; `before` stands in front of where it was."""
        for item_id, kept in self._kept.items():
            if kept.after == gone:
                self._kept[item_id] = replace(kept, after=before)

    def among(self, past: Sequence[Past], order: Sequence[str]) -> list[Past]:
        """What was said and done, with these items in their places; `order` is that of all items of the record."""
        rank = {item_id: number for number, item_id in enumerate(order, start=1)}
        told = [(rank.get(entry.item_id, 0), entry) for entry in past]
        reached = 0
        for kept in self._kept.values():
            # What it stood behind may be gone by now: then it stays behind the one that was written before it.
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
    return ITEM_CHARS + len(entry.name) + len(entry.arguments) + len(entry.output)
