"""What the model's present leg knows of the conversation, and what it has not answered yet.

A leg that is dialled later was told only a summary of what came before. So each item is remembered with the leg that
has it whole, and what a leg was sent and has not answered is sent to the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

from sessions.bounded import remember
from sessions.client_history import ClientHistory
from sessions.events import DeleteWanted
from sessions.past import Past

# Messages of the client that the model has neither taken nor refused: it answers in order, and soon.
MAX_UNCONFIRMED = 64


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """An item of the client's that the model has neither taken nor refused."""

    item_id: str
    new: bool  # the first item of this id: the record forgets it if the model refuses it
    again: Past | None  # a further item of this id: it counts if the model has deleted the first one


class LegKnowledge:
    """Follows what the model's present leg has been sent, has taken, and has deleted.

    `generation` is the leg's number, counted by dials from 0. `history` are the items of the client's that are no part
    of the record. `deleted` are the items that no later leg is told of. `knows_outputs`: the running response began
    when the model had taken all results of tools so far.
    """

    __slots__ = (
        "_deletions",
        "_outputs",
        "_seeded",
        "_unconfirmed",
        "_whole_in",
        "deleted",
        "generation",
        "history",
        "knows_outputs",
    )

    def __init__(self) -> None:
        self.generation = 0
        self.history = ClientHistory()
        self.deleted: set[str] = set()
        self.knows_outputs = True
        self._whole_in: dict[str, int] = {}  # item -> the generation of the leg that has it whole
        self._unconfirmed: dict[str, Unconfirmed] = {}  # by the name that an error about it would give
        self._deletions: dict[str, DeleteWanted] = {}  # by item; those that the model has not answered
        self._outputs: set[str] = set()  # calls whose results were sent and are not acknowledged
        self._seeded: set[str] = set()  # calls that were told with their results, which may never be acknowledged

    # ---- items

    @property
    def items(self) -> int:
        """How many items the present leg or an earlier one has had whole."""
        return len(self._whole_in)

    def has_whole(self, item_id: str) -> bool:
        """Whether the present leg has this item whole; to one dialled later only what was heard of it was told."""
        return self._whole_in.get(item_id, self.generation) == self.generation

    def has(self, item_id: str) -> None:
        """The present leg has this item whole: it made the item, or was sent it."""
        self._whole_in[item_id] = self.generation

    def write(self, entry: Past, behind: str | None) -> None:
        """Keep an item of the client's that is no part of the record; `behind` is the record's last item by now."""
        self.has(entry.item_id)
        self.history.add(entry, behind)

    def sent(self, event_id: str, entry: Past, *, new: bool) -> None:
        """An item of the client's was sent. `new`: no item of this id was there before."""
        unconfirmed = Unconfirmed(entry.item_id, new, None if new else entry)
        remember(self._unconfirmed, event_id, unconfirmed, MAX_UNCONFIRMED)

    def taken(self, item_id: str) -> Past | None:
        """The model has taken an item. Returns it where it is a further one of an id that had been deleted."""
        for name, sent in self._unconfirmed.items():
            if sent.item_id == item_id:
                del self._unconfirmed[name]
                return sent.again if item_id in self.deleted else None
        return None

    def refused(self, event_id: str | None) -> Unconfirmed | None:
        """The model has refused the item that was sent under this name; None where the name is of no item."""
        return None if event_id is None else self._unconfirmed.pop(event_id, None)

    @property
    def unseen(self) -> frozenset[str]:
        """Items that the client has sent and has not seen in the conversation yet."""
        return frozenset(sent.item_id for sent in self._unconfirmed.values() if sent.new)

    # ---- deletions

    def delete(self, wanted: DeleteWanted) -> None:
        """The model was asked to delete an item."""
        remember(self._deletions, wanted.item_id, wanted, MAX_UNCONFIRMED)

    def not_deleted(self, event_id: str | None) -> None:
        """The model has refused the deletion of this name, if it is one."""
        if event_id is None:
            return
        for wanted in [one for one in self._deletions.values() if one.event_id == event_id]:
            del self._deletions[wanted.item_id]

    def gone(self, item_id: str, *, in_record: bool) -> None:
        """The model has deleted an item, which no later leg is to be told of."""
        if in_record or item_id in self._whole_in:
            self.deleted.add(item_id)
        self._deletions.pop(item_id, None)
        self.history.forget(item_id)

    # ---- results of tools

    def output_sent(self, call_id: str) -> None:
        """The model was sent the result of a call that it made."""
        self._outputs.add(call_id)

    def output_seeded(self, call_id: str) -> None:
        """The model was told of a call of an earlier leg, with its result."""
        self._seeded.add(call_id)

    def output_taken(self, call_id: str) -> None:
        """The model has taken the result of this call."""
        self._outputs.discard(call_id)
        self._seeded.discard(call_id)

    def response_begins(self) -> None:
        """A response begins; the next one after it knows all that was told by now."""
        self.knows_outputs = not self._outputs and not self._seeded
        self._seeded.clear()

    # ---- the leg

    def lost(self) -> tuple[DeleteWanted, ...]:
        """The leg is lost. Returns the deletions that it has not answered: the next leg has to make them."""
        unanswered = tuple(self._deletions.values())
        self._deletions.clear()
        self._outputs.clear()
        self._seeded.clear()
        return unanswered
