"""The tool calls of a record: each in the turn whose response made it, with its result when that has come."""

from __future__ import annotations

from sessions.record import ToolUse, Turn
from sessions.transcript_budget import TranscriptBudget
from sessions.turns import AnswerBook, TurnBook


class ToolBook:
    """Writes each tool call into its turn once, and its result once."""

    __slots__ = ("_answers", "_book", "_budget", "_uses")

    def __init__(self, book: TurnBook, answers: AnswerBook, budget: TranscriptBudget) -> None:
        self._book = book
        self._answers = answers
        self._budget = budget
        self._uses: dict[str, tuple[Turn, ToolUse]] = {}

    def wanted(self, response_id: str, use: ToolUse, now_ms: int) -> bool:
        """Note a tool call of this response. False if its id is known already."""
        if use.call_id in self._uses:
            return False
        turn = self._answers.turn_of(response_id) or self._book.current(now_ms)
        use.begin_ms = self._book.since_start_ms(now_ms)
        use.arguments = self._budget.fitted(turn, use.arguments)
        turn.entries.append(use)
        self._book.answered(turn)
        self._uses[use.call_id] = (turn, use)
        self._book.touch(turn)
        return True

    def find(self, call_id: str) -> ToolUse | None:
        """The tool call of this id."""
        found = self._uses.get(call_id)
        return found[1] if found is not None else None

    def turn_of(self, call_id: str) -> int:
        """The index of the turn of a tool call, which must be known."""
        return self._uses[call_id][0].index

    def finished(self, call_id: str, output: str, error: str | None, now_ms: int) -> None:
        """Note a tool's result, once."""
        found = self._uses.get(call_id)
        if found is None or found[1].output is not None:
            return
        turn, use = found
        use.output, use.error = self._budget.fitted(turn, output), error
        use.end_ms = self._book.since_start_ms(now_ms)
        self._book.touch(turn)

    def unfinished(self) -> set[str]:
        """The ids of the tool calls without a result."""
        return {call_id for call_id, (_, use) in self._uses.items() if use.output is None}
