"""Sources of ids: `sessions.ports.Ids` for production, which nobody can guess, and for tests, which anybody can."""

from __future__ import annotations

import secrets
from collections import Counter

RANDOM_BYTES = 18  # 24 characters of base64url: 144 bits


class RandomIds:
    """`sess_` and 24 characters that are safe in a URL."""

    def new(self, prefix: str) -> str:
        """A fresh id that starts with `prefix` and an underscore."""
        return f"{prefix}_{secrets.token_urlsafe(RANDOM_BYTES)}"


class CountingIds:
    """`sess_1`, `sess_2`, `item_1`: each prefix counts for itself."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def new(self, prefix: str) -> str:
        """The next id of this prefix."""
        self._given[prefix] += 1
        return f"{prefix}_{self._given[prefix]}"
