"""gateway/models/local/chat_reader.py: any input gives text and calls, or one AnswerFault"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.chat_reader import MOST_TEXT_CHARS, ChatReader


def chunk(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


def read(*chunks: Any) -> ChatReader:
    """A reader after these chunks and the end of the answer."""
    reader = ChatReader(["lookup"])
    for one in chunks:
        reader.take(one)
    reader.end()
    return reader


READ: list[tuple[list[Any], str]] = [
    ([chunk(content="Hi")], "Hi"),
    ([chunk(content=[{"type": "text", "text": "Hi"}])], "Hi"),
    ([chunk(content=[{"type": "output_text", "text": "H"}, "i", None, {"text": "!"}])], "Hi!"),
    ([chunk(content={"type": "text", "text": "Hi"})], "Hi"),
    ([chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}, {"type": "text"}])], ""),
    ([chunk(content=None, reasoning_content="x", reasoning="y", reasoning_details=[{}], refusal="No.")], ""),
    ([chunk(content="<think>x</think> Hello.")], " Hello."),
    ([chunk(content="<thi"), chunk(content="nk>x</th"), chunk(content="ink> Hello.")], " Hello."),
    ([chunk(content="thought</think>Hello.")], "Hello."),
    ([{"choices": None}, {"choices": []}, {"choices": [None]}, {"choices": [{"delta": None}]}, chunk()], ""),
    ([{}, {"usage": {}}, {"type": "ping"}, {"choices": [{}]}, {"error": None}], ""),
    ([{"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}], "Hi"),
    ([{"choices": [{"index": 1, "delta": {"content": "other"}}, {"delta": {"content": "Hi"}}]}], "Hi"),
    ([chunk(content="a\ud83d"), chunk(content="\ude00b")], "a\U0001f600b"),
    ([chunk(content="a\ud83d"), chunk(content=None), chunk(content="b\ude00\ud83d")], "a\ufffdb\ufffd\ufffd"),
    ([chunk(content="a\0b")], "ab"),
]


@pytest.mark.parametrize(("chunks", "text"), READ)
def test_deviations_of_compatible_services_are_read(chunks: list[Any], text: str) -> None:
    reader = read(*chunks)
    assert (reader.text, reader.unspoken) == (text, text)
    reader.text.encode()


ODD: list[Any] = [
    None,
    [],
    "words",
    7,
    True,
    {"error": {"message": "no"}},
    {"error": "no"},
    {"choices": {}},
    {"choices": "words"},
    {"choices": 7},
    {"choices": [7]},
    {"choices": [[]]},
    {"choices": ["words"]},
    {"choices": [{"delta": 7}]},
    {"choices": [{"delta": []}]},
    {"choices": [{"delta": "words"}]},
    {"choices": [{"delta": {}, "finish_reason": 7}]},
    {"choices": [{"delta": {}, "finish_reason": "error"}]},
    chunk(content=7),
    chunk(content=True),
    chunk(content=[7]),
    chunk(content=[[]]),
    chunk(content=[{"type": "text", "text": 7}]),
    chunk(content=[{"type": 7, "text": "Hi"}]),
    chunk(content={"type": "text", "text": {}}),
    chunk(tool_calls="words"),
    chunk(function_call=7),
]


@pytest.mark.parametrize("odd", ODD)
def test_anything_else_is_a_fault(odd: Any) -> None:
    with pytest.raises(AnswerFault):
        read(odd)


@pytest.mark.parametrize("text", ["", "{", "words", "[" * 100_000, '{"a": ' * 100_000, "1" * 5000, "\ud83d"])
def test_a_text_that_is_not_json_is_a_fault(text: str) -> None:
    with pytest.raises(AnswerFault):
        ChatReader().read(text)


surrogates = st.text(st.characters() | st.sampled_from("\ud83d\ude00<>/think. \0"), max_size=12)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | surrogates,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(surrogates, inner, max_size=3),
    max_leaves=8,
)
parts = st.fixed_dictionaries({}, optional={"type": st.just("text") | anything, "text": surrogates | anything})
functions = st.fixed_dictionaries(
    {}, optional={"name": st.just("lookup") | anything, "arguments": surrogates | anything}
)
entries = st.fixed_dictionaries({}, optional={"index": anything, "id": anything, "function": functions | anything})
deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": surrogates | st.lists(parts | anything, max_size=3) | anything,
        "tool_calls": st.lists(entries | anything, max_size=3) | anything,
        "refusal": anything,
    },
)
choices = st.fixed_dictionaries({}, optional={"index": anything, "delta": deltas | anything, "finish_reason": anything})
chunks = st.fixed_dictionaries({}, optional={"choices": st.lists(choices | anything, max_size=2), "error": st.none()})


@given(st.lists(chunks | anything, max_size=5))
def test_any_json_is_read_or_raises_one_fault(given_chunks: list[Any]) -> None:
    reader = ChatReader(["lookup"])
    for one in given_chunks:
        try:
            reader.read(json.dumps(one))
        except AnswerFault:
            break
    reader.end()
    reader.text.encode()
    assert type(reader.text) is type(reader.unspoken) is str
    for call in reader.requested():
        assert type(call.tool) is type(call.arguments) is str
        (call.tool + call.arguments).encode()


def test_a_word_has_a_letter_or_a_digit() -> None:
    for text in ("", " \n", "...", "—", "<think>words</think>", "\U0001f600", "*"):
        assert not read(chunk(content=text)).has_words
    for text in ("a", "7", "é", "你"):
        assert read(chunk(content=text)).has_words


def test_a_text_is_cut_at_the_longest_answer() -> None:
    reader = read(chunk(content="a" * (MOST_TEXT_CHARS - 1)))
    assert not reader.full
    reader.take(chunk(content="b" * 100_000))
    assert reader.full
    assert len(reader.text) == MOST_TEXT_CHARS


def test_an_incomplete_call_of_a_cut_answer_is_left_out() -> None:
    call = {"index": 0, "function": {"name": "lookup", "arguments": '{"a": '}}
    for reason in (None, "length", "content_filter"):
        assert read({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": reason}]}).requested() == []
    assert len(read({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}).requested()) == 1
