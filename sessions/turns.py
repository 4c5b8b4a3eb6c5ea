"""The talk, turn by turn: which answers belong to each, how quick it was, and what is to be written."""

from __future__ import annotations

from bisect import bisect

from sessions.record import Speaker, Turn, Utterance
from sessions.usage import TokenUsage, add_usage

MAX_TURN_ENTRIES = 500  # past it what the caller says begins a new turn


class TurnBook:
    """Keeps the turns of one call; the last may still be open. Times are milliseconds since the call's start."""

    def __init__(self, started_ms: int) -> None:
        self._started_ms = started_ms
        self.turns: list[Turn] = []
        self._answered = -1  # index of the latest turn that has an answer
        self.changed: set[int] = set()  # indices of finished turns to write again
        self._timed: list[int] = []  # indices of the turns that have a latency
        self.latencies_ms: list[int] = []  # theirs, in the turns' order

    def since_start_ms(self, now_ms: int) -> int:
        """A moment as the record has it."""
        return now_ms - self._started_ms

    @property
    def open(self) -> Turn | None:
        """The turn that is going on, if any."""
        last = self.turns[-1] if self.turns else None
        return last if last is not None and last.end_ms is None else None

    @property
    def latest_item(self) -> str | None:
        """The item that stands last in the record so far; None where there is none."""
        return next((turn.entries[-1].item_id for turn in reversed(self.turns) if turn.entries), None)

    @property
    def items(self) -> list[str]:
        """All items of the record, in its order."""
        return [entry.item_id for turn in self.turns for entry in turn.entries]

    def begin(self, now_ms: int) -> Turn:
        """Start a turn; one that is still open ends here."""
        self.end(now_ms)
        turn = Turn(index=len(self.turns), begin_ms=now_ms - self._started_ms)
        self.turns.append(turn)
        return turn

    def current(self, now_ms: int) -> Turn:
        """The open turn, or a new one."""
        return self.open or self.begin(now_ms)

    def for_caller(self, now_ms: int) -> Turn:
        """The turn for something the caller says now: a new one as soon as the open one has an answer."""
        turn = self.open
        if turn is None or turn.index == self._answered or len(turn.entries) >= MAX_TURN_ENTRIES:
            return self.begin(now_ms)
        return turn

    def end(self, now_ms: int) -> None:
        """Close the open turn, if any, and mark it to be written."""
        turn = self.open
        if turn is not None:
            turn.end_ms = now_ms - self._started_ms
            self.changed.add(turn.index)

    def answered(self, turn: Turn) -> None:
        """The agent answers in this turn: what the caller says next begins another."""
        self._answered = max(self._answered, turn.index)

    def answered_after(self, turn: Turn, latency_ms: int) -> None:
        """Note how quick the answer to the caller was, once, where the caller said something."""
        asked = any(isinstance(entry, Utterance) and entry.speaker is Speaker.CALLER for entry in turn.entries)
        if asked and turn.latency_ms is None:
            turn.latency_ms = latency_ms
            at = bisect(self._timed, turn.index)  # an answer may outlast its turn, and so come behind the next one's
            self._timed.insert(at, turn.index)
            self.latencies_ms.insert(at, latency_ms)
            self.touch(turn)

    def interrupt(self, turn: Turn) -> None:
        """The caller cut this turn's answer short."""
        if not turn.interrupted:
            turn.interrupted = True
            self.touch(turn)

    def touch(self, turn: Turn) -> None:
        """The turn changed; if it is over, it is written again."""
        if turn.end_ms is not None:
            self.changed.add(turn.index)


class AnswerBook:
    """Knows the turn of each response, and writes how it went there; an answer may outlast its turn."""

    __slots__ = ("_book", "_ended", "_growing", "_turns")

    def __init__(self, book: TurnBook) -> None:
        self._book = book
        self._turns: dict[str, Turn] = {}  # response id -> the turn it belongs to
        self._ended: set[str] = set()  # responses
        self._growing: set[int] = set()  # indices of finished turns whose answer still goes on

    def started(self, response_id: str, now_ms: int) -> None:
        """A response begins: it belongs to the open turn."""
        turn = self._book.current(now_ms)
        self._turns[response_id] = turn
        self._book.answered(turn)

    def turn_of(self, response_id: str) -> Turn | None:
        """The turn that this response belongs to."""
        return self._turns.get(response_id)

    def is_over(self, response_id: str) -> bool:
        """Whether this response has ended."""
        return response_id in self._ended

    def ended(self, response_id: str, outcome: str, usage: TokenUsage | None) -> None:
        """A response is over."""
        turn = self._turns.get(response_id)
        if turn is None:
            return
        self._ended.add(response_id)
        turn.outcome = outcome
        if usage is not None:
            turn.usage = add_usage(turn.usage, usage)
        for entry in turn.entries:
            if isinstance(entry, Utterance) and entry.speaker is Speaker.AGENT:
                entry.final = True
        self._book.touch(turn)

    def grow(self, turn: Turn, response_id: str) -> None:
        """The turn changed by a word of this response: if it is over, it is written again when the response is."""
        if response_id in self._ended:
            self._book.touch(turn)
        elif turn.end_ms is not None:
            self._growing.add(turn.index)

    def close(self) -> None:
        """The call is over: answers that never ended are written as they are."""
        self._book.changed |= self._growing
