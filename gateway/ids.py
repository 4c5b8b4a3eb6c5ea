"""Sources of ids that implement `sessions.ports.Ids`: random ones for production, counted ones for tests."""

from __future__ import annotations

import secrets
from collections import Counter

RANDOM_BYTES = 18  # 24 characters of base64url: 144 bits


class RandomIds:
    """Makes ids that cannot be guessed, such as `sess_` and 24 characters that are safe in a URL."""

    def new(self, prefix: str) -> str:
        """Return a new id that starts with `prefix` and an underscore."""
        return f"{prefix}_{secrets.token_urlsafe(RANDOM_BYTES)}"


class CountingIds:
    """Makes ids such as `sess_1`, `sess_2`, `item_1`, with a counter for each prefix."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def new(self, prefix: str) -> str:
        """Return the next id with this prefix."""
        self._given[prefix] += 1
        return f"{prefix}_{self._given[prefix]}"
