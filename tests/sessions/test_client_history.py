"""Items that a client adds in another's name: kept in their places, within bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sessions import client_history
from sessions.client_history import ClientHistory
from sessions.past import PastMessage, PastToolCall


def message(item_id: str, text: str = "Good evening.") -> PastMessage:
    return PastMessage(item_id, "assistant", text)


def call(item_id: str, output: str = "") -> PastToolCall:
    return PastToolCall(item_id, f"call of {item_id}", "find", "{}", output)


def ids(items: ClientHistory, *said: str, order: tuple[str, ...] = ()) -> list[str]:
    past = [PastMessage(item_id, "user", "Hello") for item_id in said]
    return [entry.item_id for entry in items.among(past, order or said)]


def test_each_stands_behind_what_was_said_before_it() -> None:
    items = ClientHistory()
    items.add(message("w1"), None)
    items.add(message("w2"), None)
    items.add(message("w3"), "said 1")
    items.add(message("w4"), "said 2")
    assert ids(items, "said 1", "said 2", "said 3") == ["w1", "w2", "said 1", "w3", "said 2", "w4", "said 3"]
    assert ids(ClientHistory(), "said 1") == ["said 1"]


def test_behind_something_that_nobody_is_told_of_it_keeps_its_place() -> None:
    items = ClientHistory()
    items.add(message("w1"), "unheard")
    assert ids(items, "said 1", "said 2", order=("said 1", "unheard", "said 2")) == ["said 1", "w1", "said 2"]


def test_behind_something_that_is_gone_it_follows_what_was_written_before_it() -> None:
    items = ClientHistory()
    items.add(message("w1"), "said 1")
    items.add(message("w2"), "withdrawn")
    assert ids(items, "said 1", "said 2") == ["said 1", "w1", "w2", "said 2"]


def test_a_call_is_told_with_its_result() -> None:
    items = ClientHistory()
    items.add(call("c1"), None)
    assert ids(items) == []
    assert items.answer("call of c1", "done") == call("c1", "done")
    assert items.among([], []) == [call("c1", "done")]
    assert items.answer("call of c2", "done") is None
    assert items.answer("call of c1", "done again") is None
    items.forget("c1")
    assert items.answer("call of c1", "done") is None


def test_a_second_call_of_one_id_takes_nothing_from_the_first() -> None:
    items = ClientHistory()
    items.add(call("c1"), None)
    items.add(replace(call("c2"), call_id="call of c1"), None)
    items.forget("c2")
    assert items.answer("call of c1", "done") == call("c1", "done")


def test_what_the_model_refused_is_forgotten() -> None:
    items = ClientHistory()
    items.add(message("w1"), None)
    items.forget("w1")
    items.forget("w1")
    assert "w1" not in items
    assert ids(items) == []


def test_past_the_bound_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_history, "MAX_CHARS", 100)
    monkeypatch.setattr(client_history, "ITEM_CHARS", 5)
    items = ClientHistory()
    items.add(message("w1", "x" * 35), None)
    items.add(call("c1"), None)
    items.answer("call of c1", "y" * 35)
    assert ids(items) == ["w1", "c1"]
    items.add(message("w2", "z" * 25), None)
    assert ids(items) == ["c1", "w2"]
    items.add(call("c2"), None)
    items.answer("call of c2", "y" * 65)
    assert ids(items) == ["c2"]
    assert items.answer("call of c1", "late") is None
