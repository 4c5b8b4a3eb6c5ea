"""gateway/models/local/thinking.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models.local.thinking import ThinkingFilter


def spoken(*pieces: str) -> str:
    """The text to be spoken of a text that arrives in these pieces."""
    thinking, said = ThinkingFilter(), ""
    for piece in pieces:
        was_thinking, text = thinking.feed(piece)
        said = text if was_thinking else said + text
    return said + thinking.end()


THOUGHTS = [
    ("<think>x</think> Hello.", " Hello."),
    ("<think>\nx > 1 and y < 2\n</think>\n\nHello.", "\n\nHello."),
    ("<thinking>x</thinking>Hello.", "Hello."),
    ("<Answer>x</THOUGHT>Hello.", "Hello."),
    ('<reasoning lang="en">x</reasoning >Hello.', "Hello."),
    ("<scratchpad>x</scratchpad>Hello.", "Hello."),
    ("<seed:think>x</seed:think>Hello.", "Hello."),
    ("[THINK]x[/THINK]Hello.", "Hello."),
    ("◁think▷x◁/think▷Hello.", "Hello."),
    ("<think>x</think>One. <think>y</think>Two.", "One. Two."),
    ("One. <think>y</think><think>z</think>Two.", "One. Two."),
    ("x</think>Hello.", "Hello."),
    ("One. <think>never closed. Two.", "One. "),
    ("<think>never closed", ""),
    ("<think/>Hello.", "Hello."),
    ("<think></think>Hello.", "Hello."),
    ("5 < 6 and 7 > 6.", "5 < 6 and 7 > 6."),
    ("<thinker> is no tag", "<thinker> is no tag"),
    ("<b>Hello</b>", "<b>Hello</b>"),
    ("Is a < b", "Is a < b"),
    ("It ends in <thin", "It ends in <thin"),
    ("[thing]", "[thing]"),
]


@pytest.mark.parametrize(("text", "rest"), THOUGHTS)
def test_thinking_between_tags_is_not_spoken(text: str, rest: str) -> None:
    assert spoken(text) == rest


@pytest.mark.parametrize(("text", "rest"), THOUGHTS)
def test_thinking_is_not_spoken_wherever_the_text_is_split(text: str, rest: str) -> None:
    assert spoken(*text) == rest
    for at in range(len(text)):
        assert spoken(text[:at], text[at:]) == rest


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", ">", "/", "think", "a ", "</thinking x>", "[", "◁"])))
def test_any_split_gives_the_same_text(parts: list[str]) -> None:
    text = "".join(parts)
    assert spoken(*parts) == spoken(text) == spoken(*text)


def test_text_that_is_not_a_tag_is_spoken_at_once() -> None:
    thinking = ThinkingFilter()
    assert thinking.feed("Hello. <b") == (False, "Hello. <b")
    assert thinking.feed("ut then <th") == (False, "ut then ")
    assert thinking.feed("at is all") == (False, "<that is all")
