"""How many words a record has room for: a store takes no document without end."""

from __future__ import annotations

from sessions.record import Turn

MAX_TURN_CHARS = 256 * 1024  # of the words of one turn: a store takes documents of 2 MB, which hold each word twice
MAX_CALL_CHARS = 8 * 1024 * 1024  # of all words of a call
CUT = " [cut]"


class WordRoom:
    """Cuts the words of a call to what its record has room for, counted in characters by turn and by call."""

    __slots__ = ("_all_chars", "_chars")

    def __init__(self) -> None:
        self._chars: dict[int, int] = {}  # of the words in each turn that has any, by the turn's index
        self._all_chars = 0

    def fitted(self, turn: Turn, words: str) -> str:
        """As much of further words of this turn as there is room for; what is cut is marked, once."""
        if not words:
            return words
        had = self._chars.get(turn.index, 0)
        room = min(MAX_TURN_CHARS - had, MAX_CALL_CHARS - self._all_chars)
        if room <= 0:
            return ""
        self._chars[turn.index] = had + len(words)
        self._all_chars += min(len(words), room)
        return words if len(words) <= room else words[:room] + CUT

    def give_back(self, turn: Turn, words: str) -> None:
        """Words of this turn are about to be replaced: their room is free again."""
        if words:
            self._chars[turn.index] = self._chars.get(turn.index, 0) - len(words)
            self._all_chars -= len(words)
