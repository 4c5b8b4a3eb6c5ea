"""The conversation that a new session is given: what was said and what was heard, in order."""

from __future__ import annotations

from sessions.past import UNANSWERED, PastMessage, PastToolCall, history
from sessions.record import Speaker, ToolUse, Turn, Utterance


def said(speaker: Speaker, text: str, heard_text: str | None = None, images: int = 0) -> Utterance:
    heard = text if heard_text is None else heard_text
    return Utterance(f"item_{text[:5]}", speaker, text, heard, True, begin_ms=0, images=images)


def tool(output: str | None) -> ToolUse:
    return ToolUse("call_1", "item_t", "find_table", '{"people": 2}', True, 10, output=output)


def test_a_history_is_in_order_and_ends_where_the_agent_was_cut() -> None:
    first = Turn(0, 0, 10, [said(Speaker.AGENT, "Hello, how can I help?")])
    second = Turn(
        1,
        10,
        20,
        [
            said(Speaker.CALLER, "A table for two"),
            tool('{"free": true}'),
            said(Speaker.AGENT, "There is one at eight by the window", "There is one at"),
        ],
    )
    assert history([second, first]) == (
        PastMessage("item_Hello", "assistant", "Hello, how can I help?"),
        PastMessage("item_A tab", "user", "A table for two"),
        PastToolCall("item_t", "call_1", "find_table", '{"people": 2}', '{"free": true}'),
        PastMessage("item_There", "assistant", "There is one at"),
    )


def test_what_nobody_heard_or_said_is_no_history() -> None:
    turn = Turn(0, 0, 10, [said(Speaker.AGENT, "You never heard this", ""), said(Speaker.CALLER, " ")])
    assert history([turn]) == ()


def test_a_tool_without_a_result_says_so() -> None:
    (past,) = history([Turn(0, 0, 10, [tool(None)])])
    assert isinstance(past, PastToolCall)
    assert past.output == UNANSWERED


def test_an_image_without_words_leaves_a_note() -> None:
    (past,) = history([Turn(0, 0, 10, [said(Speaker.CALLER, "", images=2)])])
    assert isinstance(past, PastMessage)
    assert past.text == "[2 image(s), no longer here]"
