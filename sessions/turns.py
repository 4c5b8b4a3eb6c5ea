"""The conversation turn by turn: which answers belong to each turn, its latency, and which turns must be saved."""

from __future__ import annotations

from bisect import bisect

from sessions.record import Speaker, Turn, Utterance
from sessions.usage import TokenUsage, add_usage

MAX_TURN_ENTRIES = 500  # past it, the caller's next words begin a new turn


class TurnBook:
    """Keeps the turns of one call, of which the last may be open."""

    def __init__(self, started_ms: int) -> None:
        self._started_ms = started_ms
        self.turns: list[Turn] = []
        self._answered = -1  # index of the latest turn that has an answer
        self.changed: set[int] = set()  # indices of ended turns that must be saved again
        self._timed: list[int] = []  # indices of the turns that have a latency
        self.latencies_ms: list[int] = []  # their latencies, in the order of the turns
        self.interruptions = 0  # turns whose answer the caller has interrupted

    def since_start_ms(self, now_ms: int) -> int:
        """A time of the monotonic clock as milliseconds since the call's start."""
        return now_ms - self._started_ms

    @property
    def open(self) -> Turn | None:
        """The last turn, if it has not ended."""
        last = self.turns[-1] if self.turns else None
        return last if last is not None and last.end_ms is None else None

    @property
    def latest_item(self) -> str | None:
        """The last item of the record so far; None where there is none."""
        return next((turn.entries[-1].item_id for turn in reversed(self.turns) if turn.entries), None)

    @property
    def items(self) -> list[str]:
        """All items of the record, in its order."""
        return [entry.item_id for turn in self.turns for entry in turn.entries]

    def begin(self, now_ms: int) -> Turn:
        """Begin a turn; an open one ends."""
        self.end(now_ms)
        turn = Turn(index=len(self.turns), begin_ms=now_ms - self._started_ms)
        self.turns.append(turn)
        return turn

    def current(self, now_ms: int) -> Turn:
        """The open turn, or a new one."""
        return self.open or self.begin(now_ms)

    def for_caller(self, now_ms: int) -> Turn:
        """The turn for something that the caller says now: a new one if the open one has an answer."""
        turn = self.open
        if turn is None or turn.index == self._answered or len(turn.entries) >= MAX_TURN_ENTRIES:
            return self.begin(now_ms)
        return turn

    def end(self, now_ms: int) -> None:
        """End the open turn, if there is one, and mark it to be saved."""
        turn = self.open
        if turn is not None:
            turn.end_ms = now_ms - self._started_ms
            self.changed.add(turn.index)

    def answered(self, turn: Turn) -> None:
        """The agent has answered in this turn: what the caller says next begins another one."""
        self._answered = max(self._answered, turn.index)

    def answered_after(self, turn: Turn, latency_ms: int) -> None:
        """Note the latency of the answer, once, if the caller has said something in this turn."""
        asked = any(isinstance(entry, Utterance) and entry.speaker is Speaker.CALLER for entry in turn.entries)
        if asked and turn.latency_ms is None:
            turn.latency_ms = latency_ms
            # An answer may outlast its turn, so that a later turn may have a latency already.
            at = bisect(self._timed, turn.index)
            self._timed.insert(at, turn.index)
            self.latencies_ms.insert(at, latency_ms)
            self.touch(turn)

    def interrupt(self, turn: Turn) -> None:
        """The caller has interrupted this turn's answer."""
        if not turn.interrupted:
            turn.interrupted = True
            self.interruptions += 1
            self.touch(turn)

    def touch(self, turn: Turn) -> None:
        """The turn has changed; if it has ended, it must be saved again."""
        if turn.end_ms is not None:
            self.changed.add(turn.index)


class AnswerBook:
    """Knows the turn of each response, and writes the outcome into it; an answer may outlast its turn."""

    __slots__ = ("_book", "_ended", "_growing", "_turns")

    def __init__(self, book: TurnBook) -> None:
        self._book = book
        self._turns: dict[str, Turn] = {}  # by response
        self._ended: set[str] = set()  # responses
        self._growing: set[int] = set()  # indices of ended turns whose answers go on

    def started(self, response_id: str, now_ms: int) -> Turn:
        """A response begins: it belongs to the open turn, which is returned."""
        turn = self._book.current(now_ms)
        self._turns[response_id] = turn
        self._book.answered(turn)
        return turn

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
        """A word of this response was added to an ended turn: save that turn again when the response ends."""
        if response_id in self._ended:
            self._book.touch(turn)
        elif turn.end_ms is not None:
            self._growing.add(turn.index)

    def close(self) -> None:
        """The call is over: save the turns whose answers have not ended."""
        self._book.changed |= self._growing
