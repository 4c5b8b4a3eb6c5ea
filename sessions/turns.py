"""The talk, turn by turn: which answers and tool calls belong to each, how quick it was, and what is to be written."""

from __future__ import annotations

from sessions.events import TokenUsage
from sessions.record import Speaker, ToolUse, Turn, Utterance


def add_usage(left: TokenUsage, right: TokenUsage) -> TokenUsage:
    """The sum of two counts."""
    return TokenUsage(
        input_text=left.input_text + right.input_text,
        input_audio=left.input_audio + right.input_audio,
        input_image=left.input_image + right.input_image,
        input_cached=left.input_cached + right.input_cached,
        output_text=left.output_text + right.output_text,
        output_audio=left.output_audio + right.output_audio,
    )


MAX_TURN_ENTRIES = 500  # past it what the caller says begins a new turn
MAX_TURN_CHARS = 256 * 1024  # of the words of one turn: a store takes documents of 2 MB, which hold each word twice
MAX_CALL_CHARS = 8 * 1024 * 1024  # of all words of a call
CUT = " [cut]"


class TurnBook:
    """Keeps the turns of one call; the last may still be open. Times are milliseconds since the call's start."""

    def __init__(self, started_ms: int) -> None:
        self._started_ms = started_ms
        self.turns: list[Turn] = []
        self._tools: dict[str, tuple[Turn, ToolUse]] = {}
        self._answers: dict[str, Turn] = {}  # response id -> the turn it belongs to
        self._answered = -1  # index of the latest turn that has an answer
        self._ended: set[str] = set()  # responses
        self._chars: dict[int, int] = {}  # of the words in each turn that has any
        self._all_chars = 0
        self._growing: set[int] = set()  # indices of finished turns whose answer still goes on
        self.changed: set[int] = set()  # indices of finished turns to write again

    def since_start_ms(self, now_ms: int) -> int:
        """A moment as the record has it."""
        return now_ms - self._started_ms

    # ---- turns

    @property
    def open(self) -> Turn | None:
        """The turn that is going on, if any."""
        last = self.turns[-1] if self.turns else None
        return last if last is not None and last.end_ms is None else None

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

    def fitted(self, turn: Turn, words: str) -> str:
        """As much of further words as the record has room for; what is cut is marked, once."""
        if not words:
            return words
        had = self._chars.get(turn.index, 0)
        room = min(MAX_TURN_CHARS - had, MAX_CALL_CHARS - self._all_chars)
        if room <= 0:
            return ""
        self._chars[turn.index] = had + len(words)
        self._all_chars += min(len(words), room)
        return words if len(words) <= room else words[:room] + CUT

    def end(self, now_ms: int) -> None:
        """Close the open turn, if any, and mark it to be written."""
        turn = self.open
        if turn is not None:
            turn.end_ms = now_ms - self._started_ms
            self.changed.add(turn.index)

    def interrupt(self, turn: Turn) -> None:
        """The caller cut this turn's answer short."""
        if not turn.interrupted:
            turn.interrupted = True
            self.touch(turn)

    def answered_after(self, turn: Turn, latency_ms: int) -> None:
        """Note how quick the answer to the caller was, once, where the caller said something."""
        asked = any(isinstance(entry, Utterance) and entry.speaker is Speaker.CALLER for entry in turn.entries)
        if asked and turn.latency_ms is None:
            turn.latency_ms = latency_ms
            self.touch(turn)

    # ---- answers

    def answer_started(self, response_id: str, now_ms: int) -> None:
        """A response begins: it belongs to the open turn."""
        turn = self.current(now_ms)
        self._answers[response_id] = turn
        self._answered = turn.index

    def turn_of(self, response_id: str) -> Turn | None:
        """The turn that this response belongs to."""
        return self._answers.get(response_id)

    def is_over(self, response_id: str) -> bool:
        """Whether this response has ended."""
        return response_id in self._ended

    def answer_ended(self, response_id: str, outcome: str, usage: TokenUsage | None) -> None:
        """A response is over."""
        turn = self._answers.get(response_id)
        if turn is None:
            return
        self._ended.add(response_id)
        turn.outcome = outcome
        if usage is not None:
            turn.usage = add_usage(turn.usage, usage)
        for entry in turn.entries:
            if isinstance(entry, Utterance) and entry.speaker is Speaker.AGENT:
                entry.final = True
        self.touch(turn)

    def give_back(self, turn: Turn, words: str) -> None:
        """Words are about to be replaced: their room is free again."""
        if words:
            self._chars[turn.index] = self._chars.get(turn.index, 0) - len(words)
            self._all_chars -= len(words)

    # ---- tools

    def tool_wanted(self, response_id: str, use: ToolUse, now_ms: int) -> bool:
        """Note a tool call. False if this call id is known."""
        if use.call_id in self._tools:
            return False
        turn = self._answers.get(response_id) or self.current(now_ms)
        use.begin_ms = now_ms - self._started_ms
        use.arguments = self.fitted(turn, use.arguments)
        turn.entries.append(use)
        self._answered = max(self._answered, turn.index)
        self._tools[use.call_id] = (turn, use)
        self.touch(turn)
        return True

    def tool(self, call_id: str) -> ToolUse | None:
        """The tool call of this id."""
        found = self._tools.get(call_id)
        return found[1] if found is not None else None

    def tool_finished(self, call_id: str, output: str, error: str | None, now_ms: int) -> None:
        """Note a tool's result, once."""
        found = self._tools.get(call_id)
        if found is None or found[1].output is not None:
            return
        turn, use = found
        use.output, use.error = self.fitted(turn, output), error
        use.end_ms = now_ms - self._started_ms
        self.touch(turn)

    def unanswered_calls(self) -> set[str]:
        """The tool calls without a result."""
        return {call_id for call_id, (_, use) in self._tools.items() if use.output is None}

    # ---- what is to be written

    def touch(self, turn: Turn) -> None:
        """The turn changed; if it is over, it is written again."""
        if turn.end_ms is not None:
            self.changed.add(turn.index)

    def grow(self, turn: Turn, response_id: str) -> None:
        """The turn changed by a word of this response: if it is over, it is written again when the response is."""
        if response_id in self._ended:
            self.touch(turn)
        elif turn.end_ms is not None:
            self._growing.add(turn.index)

    def close(self, now_ms: int) -> None:
        """The call is over: all of it is written."""
        self.end(now_ms)
        self.changed |= self._growing
