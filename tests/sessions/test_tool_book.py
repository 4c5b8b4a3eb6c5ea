from __future__ import annotations

from sessions.record import ToolUse
from sessions.tool_book import ToolBook
from sessions.transcript_budget import CUT, MAX_TURN_BYTES, TranscriptBudget
from sessions.turns import AnswerBook, TurnBook

START_MS = 500


def books() -> tuple[TurnBook, ToolBook]:
    book = TurnBook(START_MS)
    return book, ToolBook(book, AnswerBook(book), TranscriptBudget())


def tool(call_id: str = "c1", arguments: str = "{}") -> ToolUse:
    return ToolUse(call_id, "item", "find", arguments, True, begin_ms=0)


def test_a_tool_call_is_an_answer_too() -> None:
    book, tools = books()
    turn = book.for_caller(600)
    assert tools.wanted("unknown", tool(), 700)
    assert book.for_caller(900) is not turn


def test_a_tool_call_is_noted_once_and_answered_once() -> None:
    book, tools = books()
    book.begin(600)
    use = tool()
    assert tools.wanted("r1", use, 700)
    assert not tools.wanted("r1", tool(), 710)
    assert tools.unfinished() == {"c1"}
    tools.finished("c1", "first", None, 800)
    tools.finished("c1", "second", "timeout", 900)
    tools.finished("unknown", "?", None, 900)
    assert (use.begin_ms, use.end_ms, use.output, use.error) == (200, 300, "first", None)
    assert tools.unfinished() == set()
    assert (tools.find("c1"), tools.find("unknown")) == (use, None)


def test_a_tool_call_stands_in_the_turn_of_its_response() -> None:
    book = TurnBook(START_MS)
    answers = AnswerBook(book)
    tools = ToolBook(book, answers, TranscriptBudget())
    answers.started("r1", START_MS)
    book.begin(600)
    assert tools.wanted("r1", tool(), 700)
    tools.finished("c1", "done", None, 800)
    assert [len(turn.entries) for turn in book.turns] == [1, 0]
    assert book.changed == {0}


def test_arguments_and_output_share_the_room_of_their_turn() -> None:
    _, tools = books()
    use = tool(arguments="x" * (MAX_TURN_BYTES - 1))
    tools.wanted("r1", use, 700)
    tools.finished("c1", "done", None, 800)
    assert (len(use.arguments), use.output) == (MAX_TURN_BYTES - 1, "d" + CUT)
