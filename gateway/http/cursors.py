"""Cursors of lists: the store's own, bound to the tenant and the store that they were made for.

A cursor is no secret and opens nothing. The binding only tells a cursor of another list from one of this list.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from sessions.stores.contract import BadCursor

MAX_CHARACTERS = 2048
_TAG_BYTES = 8


@dataclass(frozen=True, slots=True)
class Cursors:
    """Makes and reads the cursors of one store, which `store` names: the same text in each process that uses it."""

    store: str

    def shown(self, tenant: str, cursor: str | None) -> str | None:
        """The cursor as the API gives it; None after the last page."""
        return None if cursor is None else f"{self._tag(tenant, cursor)}.{cursor}"

    def read(self, tenant: str, shown: str | None) -> str | None:
        """The store's cursor; None for the first page. Raises BadCursor for one of another tenant or store."""
        if shown is None:
            return None
        tag, dot, cursor = shown.partition(".")
        if len(shown) > MAX_CHARACTERS or not dot or tag != self._tag(tenant, cursor):
            raise BadCursor("the cursor did not come from this list")
        return cursor

    def _tag(self, tenant: str, cursor: str) -> str:
        facts = "\n".join((self.store, tenant, cursor))
        return blake2b(facts.encode("utf-8", "replace"), digest_size=_TAG_BYTES).hexdigest()
