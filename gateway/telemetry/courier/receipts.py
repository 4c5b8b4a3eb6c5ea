"""Which lines of the server are done with: sent to every destination, or given up. Pure bookkeeping.

A turn's document is done once the turn's spans are with every destination, or nothing of it is to be sent. A session's
document is needed for as long as the session has turns to come, also by the courier that follows a killed one, so it is
done last, with everything that is left of the session.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

DocumentKey = tuple[str, str, str]  # tenant, session, document id
PartKey = tuple[str, str]  # session, part


class Receipts:
    """Counts down the destinations of each part of a session, and tells which numbers of lines are done."""

    def __init__(self, done: Callable[[int], None]) -> None:
        self._done = done
        self._lines: dict[DocumentKey, tuple[int, int]] = {}  # number and size of the newest line of each document
        self._sessions: dict[str, set[DocumentKey]] = {}  # documents that are not done
        self._open: dict[PartKey, tuple[set[str], list[DocumentKey]]] = {}
        self._parts: dict[str, int] = {}  # how many parts of a session are open
        self._over: set[str] = set()

    def arrived(self, key: DocumentKey, number: int, size_bytes: int) -> None:
        """A document's newest version has come. The server has dropped the line of the one before."""
        self._lines[key] = (number, size_bytes)
        self._sessions.setdefault(key[1], set()).add(key)

    def size_bytes(self, keys: Iterable[DocumentKey]) -> int:
        """The size of the lines of these documents."""
        return sum(self._lines[key][1] for key in keys if key in self._lines)

    def begun(self, session: str, part: str, documents: list[DocumentKey], destinations: Collection[str]) -> None:
        """A part is on its way to these destinations."""
        self._open[session, part] = (set(destinations), documents)
        self._parts[session] = self._parts.get(session, 0) + 1

    def is_open(self, session: str, part: str) -> bool:
        """Whether a part is on its way."""
        return (session, part) in self._open

    def has(self, session: str, part: str, destination: str) -> bool:
        """A destination is done with a part. True if this was the last thing of the session."""
        waiting, documents = self._open[session, part]
        waiting.discard(destination)
        if waiting:
            return False
        del self._open[session, part]
        self._parts[session] -= 1
        self.settled(documents)
        return self._finish(session)

    def settled(self, documents: Iterable[DocumentKey]) -> None:
        """Nothing more of these documents is to be sent."""
        for key in documents:
            known = self._lines.pop(key, None)
            if known is not None:
                self._done(known[0])
                self._sessions.get(key[1], set()).discard(key)

    def over(self, session: str) -> bool:
        """No further part of a session will begin. True if nothing of it is on its way."""
        self._over.add(session)
        return self._finish(session)

    def _finish(self, session: str) -> bool:
        if session not in self._over or self._parts.get(session):
            return False
        self.settled(list(self._sessions.pop(session, ())))
        self._parts.pop(session, None)
        self._over.discard(session)
        return True
