"""How many words a record has room for, in bytes of its documents: stores take documents of a limited size only."""

from __future__ import annotations

from sessions.record import Turn
from sessions.text import encoded_bytes, fitting

# A store takes documents of 1.8 MB, and a turn's document has what the agent said twice: as said and as heard.
MAX_TURN_BYTES = 768 * 1024
MAX_CALL_BYTES = 9 * 1024 * 1024
CUT = " [cut]"


class TranscriptBudget:
    """Cuts the words of a call to what its record has room for, counted in encoded bytes by turn and by call."""

    __slots__ = ("_all_bytes", "_bytes")

    def __init__(self) -> None:
        self._bytes: dict[int, int] = {}  # of each turn that has words, by its index
        self._all_bytes = 0

    def fitted(self, turn: Turn, words: str) -> str:
        """As much of these further words of a turn as there is room for; the first cut is marked."""
        if not words:
            return words
        had = self._bytes.get(turn.index, 0)
        room = min(MAX_TURN_BYTES - had, MAX_CALL_BYTES - self._all_bytes)
        if room <= 0:
            return ""
        size = encoded_bytes(words)
        self._bytes[turn.index] = had + size
        self._all_bytes += min(size, room)
        return words if size <= room else fitting(words, room) + CUT

    def give_back(self, turn: Turn, words: str) -> None:
        """Words of this turn are taken out or replaced: their room is free again."""
        if words:
            size = encoded_bytes(words)
            self._bytes[turn.index] = self._bytes.get(turn.index, 0) - size
            self._all_bytes -= size
