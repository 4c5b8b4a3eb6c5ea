"""What the courier has not acknowledged yet: kept here, so that the next courier gets it if one dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable

OUTBOX_MAX_BYTES = 8 * 1024 * 1024


class Outbox:
    """Numbered lines in order, the newest of each key, up to a number of bytes. Needs no clock and no loop."""

    def __init__(self, max_bytes: int = OUTBOX_MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lines: dict[int, tuple[Hashable | None, bytes]] = {}  # those that are not acknowledged, by number
        self._newest: dict[Hashable, int] = {}  # by key
        self._unsent: deque[int] = deque()  # numbers; those of lines that were replaced meanwhile are skipped
        self._last = 0
        self.waiting_bytes = 0

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def keys(self) -> list[Hashable | None]:
        """The keys of the lines; None for each that has none."""
        return [key for key, _ in self._lines.values()]

    def next_number(self) -> int:
        """The number for the next line; it stands in the line, for the acknowledgement."""
        self._last += 1
        return self._last

    def add(self, number: int, key: Hashable | None, line: bytes) -> bool:
        """Keep a line, in place of the older one with its key; False if there is no room, and the older one stays."""
        old = self._newest.get(key) if key is not None else None
        freed = len(self._lines[old][1]) if old is not None else 0
        if self.waiting_bytes - freed + len(line) > self._max_bytes:
            return False
        if old is not None:
            self._drop(old)
        self._lines[number] = (key, line)
        self.waiting_bytes += len(line)
        if key is not None:
            self._newest[key] = number
        self._unsent.append(number)
        return True

    def take(self, max_bytes: int) -> bytes:
        """The next lines that the present courier has not been sent, together; at least one, if there is one."""
        taken: list[bytes] = []
        size = 0
        while self._unsent and (not taken or size < max_bytes):
            kept = self._lines.get(self._unsent.popleft())
            if kept is not None:
                taken.append(kept[1])
                size += len(kept[1])
        return b"".join(taken)

    @property
    def oldest_in_hand(self) -> int | None:
        """The number of the oldest line, if the present courier has been sent it; None if it has not."""
        oldest = next(iter(self._lines), None)
        return None if oldest is None or (self._unsent and self._unsent[0] <= oldest) else oldest

    def give_up(self, number: int) -> Hashable | None:
        """Drop a line that is here, and return its key."""
        key, _ = self._lines[number]
        self._drop(number)
        return key

    def acknowledged(self, numbers: Iterable[int]) -> None:
        """Drop these lines; numbers of lines that were replaced are ignored."""
        for number in numbers:
            if number in self._lines:
                self._drop(number)

    def forget(self, keys: Iterable[Hashable]) -> None:
        """Drop the lines with these keys, because nothing more of them may be sent."""
        for key in keys:
            if key in self._newest:
                self._drop(self._newest[key])

    def keys_of(self, first: Hashable, second: Hashable) -> list[Hashable]:
        """The keys that are tuples and begin with these two."""
        return [key for key in self._newest if isinstance(key, tuple) and key[:2] == (first, second)]

    def restart(self) -> None:
        """All lines are to be sent again, because a new courier begins."""
        self._unsent = deque(self._lines)

    def _drop(self, number: int) -> None:
        key, line = self._lines.pop(number)
        self.waiting_bytes -= len(line)
        if key is not None and self._newest.get(key) == number:
            del self._newest[key]
