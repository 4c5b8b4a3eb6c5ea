"""Keys become messages, or the result of a tool that waits for them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.agent import KeyMode, PhoneRules
from sessions.keys import (
    KEYS,
    MAX_KEYS,
    BadRequest,
    Collect,
    Collected,
    CollectEnd,
    Gathered,
    KeyMessage,
    KeyMessages,
    Keypad,
    read_request,
)

REST_MS = 2_000


def press(pad: Keypad, keys: str, at_ms: int = 0, every_ms: int = 100) -> list[Gathered]:
    """Press these keys one after the other. Returns what they have completed."""
    done = [pad.press(key, at_ms + n * every_ms) for n, key in enumerate(keys)]
    return [one for one in done if one is not None]


def words(done: list[Gathered]) -> list[str]:
    return [one.keys for one in done]


def waiting(count: int | None = None, terminator: str | None = "#", now_ms: int = 0, until_ms: int = 60_000) -> Collect:
    return Collect("call_1", count, terminator, 5_000, now_ms, until_ms)


# ---- messages


def test_the_terminator_ends_a_message_and_is_no_part_of_it() -> None:
    pad = Keypad(PhoneRules())
    assert words(press(pad, "12#3")) == ["12"]
    assert pad.gathering


def test_a_rest_ends_a_message() -> None:
    pad = Keypad(PhoneRules())
    press(pad, "12")  # the last at 100 ms
    assert pad.deadline_ms(0) == 100 + REST_MS
    assert pad.on_time(99 + REST_MS, 0) is None
    assert pad.on_time(100 + REST_MS, 0) == KeyMessage("12", 100)
    assert (pad.gathering, pad.deadline_ms(0)) == (False, None)


def test_a_terminator_with_nothing_before_it_is_an_entry_of_a_menu() -> None:
    assert words(press(Keypad(PhoneRules()), "#12##")) == ["#", "12", "#"]


def test_without_a_terminator_only_a_rest_ends_a_message() -> None:
    pad = Keypad(PhoneRules(terminator=None))
    assert press(pad, "1#2*") == []
    assert pad.on_time(300 + REST_MS, 0) == KeyMessage("1#2*", 300)


def test_endless_keys_are_told_in_pieces() -> None:
    pad = Keypad(PhoneRules())
    assert words(press(pad, "1" * (MAX_KEYS + 1), every_ms=10)) == ["1" * MAX_KEYS]


def test_what_is_left_when_the_call_ends_is_known() -> None:
    pad = Keypad(PhoneRules())
    assert pad.rest() is None
    press(pad, "12")
    assert pad.rest() == KeyMessage("12", 100)
    assert pad.rest() is None


# ---- a tool that waits


@pytest.mark.parametrize(
    ("count", "terminator", "keys", "expected"),
    [
        (4, "#", "1234", ("1234", CollectEnd.COUNT)),
        (None, "#", "12#", ("12", CollectEnd.TERMINATOR)),
        (4, "#", "12#", ("12", CollectEnd.TERMINATOR)),
        (4, "#", "#", ("", CollectEnd.TERMINATOR)),
        (3, None, "1#2", ("1#2", CollectEnd.COUNT)),
        (None, "*", "1#2*", ("1#2", CollectEnd.TERMINATOR)),
        (None, None, "1" * MAX_KEYS, ("1" * MAX_KEYS, CollectEnd.COUNT)),
    ],
)
def test_a_tool_gets_the_keys_it_waits_for(
    count: int | None, terminator: str | None, keys: str, expected: tuple[str, CollectEnd]
) -> None:
    pad = Keypad(PhoneRules())
    assert pad.wait(waiting(count, terminator), 0) is None
    assert press(pad, keys, every_ms=1) == [Collected("call_1", *expected)]
    assert pad.collect is None


def test_a_tool_stops_waiting_when_no_key_comes() -> None:
    pad = Keypad(PhoneRules())
    pad.wait(waiting(4), 0)
    press(pad, "12", at_ms=3_000)
    assert pad.deadline_ms(0) == 3_100 + 5_000
    assert pad.on_time(8_099, 0) is None
    assert pad.on_time(8_100, 0) == Collected("call_1", "12", CollectEnd.TIMEOUT)


def test_a_tool_waits_until_the_agent_has_asked() -> None:
    pad = Keypad(PhoneRules())
    pad.wait(waiting(4), 0)
    assert pad.deadline_ms(9_000) == 14_000
    assert pad.on_time(13_999, 9_000) is None


def test_a_tool_does_not_wait_for_ever() -> None:
    pad = Keypad(PhoneRules())
    pad.wait(waiting(30, until_ms=9_000), 0)
    press(pad, "123", at_ms=1_000, every_ms=3_000)
    assert pad.deadline_ms(50_000) == 9_000


def test_keys_that_came_before_the_tool_are_its_first_ones() -> None:
    pad = Keypad(PhoneRules())
    press(pad, "12")
    assert pad.wait(waiting(4, now_ms=500), 500) is None
    assert not pad.gathering
    assert press(pad, "34", at_ms=600) == [Collected("call_1", "1234", CollectEnd.COUNT)]


def test_keys_that_came_before_the_tool_may_be_all_that_it_waits_for() -> None:
    pad = Keypad(PhoneRules())
    press(pad, "123456")
    assert pad.wait(waiting(4), 600) == Collected("call_1", "1234", CollectEnd.COUNT)
    assert pad.on_time(500 + REST_MS, 0) == KeyMessage("56", 500)


def test_another_terminator_counts_for_the_tool_also_in_keys_that_came_before_it() -> None:
    pad = Keypad(PhoneRules())
    press(pad, "12*7")
    assert pad.wait(waiting(terminator="*"), 600) == Collected("call_1", "12", CollectEnd.TERMINATOR)
    assert pad.rest() == KeyMessage("7", 300)
    press(pad, "12*7")
    assert pad.wait(waiting(2, terminator="*"), 600) == Collected("call_1", "12", CollectEnd.COUNT)
    assert pad.rest() == KeyMessage("7", 300)


def test_the_terminator_behind_the_last_digit_is_no_message() -> None:
    pad = Keypad(PhoneRules())
    pad.wait(waiting(2), 0)
    assert words(press(pad, "12#")) == ["12"]
    assert words(press(pad, "#", at_ms=400)) == ["#"]  # a second one is
    pad.wait(waiting(2), 0)
    press(pad, "12")
    assert words(press(pad, "#", at_ms=100 + REST_MS)) == ["#"]  # and one that comes late


def test_a_tool_that_is_stopped_has_the_keys_so_far() -> None:
    pad = Keypad(PhoneRules())
    assert pad.stop(CollectEnd.CALLER_SPOKE, 0) is None
    pad.wait(waiting(4), 0)
    press(pad, "12")
    stopped = pad.stop(CollectEnd.CALLER_SPOKE, 300)
    assert stopped is not None
    assert orjson.loads(stopped.output()) == {"digits": "12", "ended_by": "caller_spoke"}


def test_a_tool_that_has_ended_otherwise_waits_no_more() -> None:
    pad = Keypad(PhoneRules())
    pad.wait(waiting(4), 0)
    pad.tool_over("call_2")
    assert pad.collect is not None
    pad.tool_over("call_1")
    assert pad.collect is None


@given(st.lists(st.tuples(st.sampled_from(sorted(KEYS)), st.integers(0, 3_000)), max_size=80), st.booleans())
def test_no_key_is_lost_or_told_twice(pressed: list[tuple[str, int]], collects: bool) -> None:
    pad, now_ms = Keypad(PhoneRules(terminator=None)), 0
    told: list[Gathered | None] = []
    if collects:
        pad.wait(waiting(5, None, until_ms=10_000), 0)
    for key, wait_ms in pressed:
        until_ms = now_ms + wait_ms
        while (due_ms := pad.deadline_ms(0)) is not None and due_ms <= until_ms:
            told.append(pad.on_time(due_ms, 0))
            assert told[-1] is not None
        now_ms = until_ms
        told.append(pad.press(key, now_ms))
    told += [pad.stop(CollectEnd.CALL_ENDED, now_ms), pad.rest()]
    assert "".join(one.keys for one in told if one is not None) == "".join(key for key, _ in pressed)


# ---- which messages a response knows


def test_a_response_knows_the_messages_that_the_model_has_taken() -> None:
    messages = KeyMessages()
    messages.told("a")
    messages.response_begins()
    assert not messages.known
    messages.taken("another")
    messages.response_begins()
    assert not messages.known
    messages.taken("a")
    messages.response_begins()
    assert messages.known
    messages.told("b")
    messages.leg_lost()
    messages.response_begins()
    assert messages.known


# ---- what the model asks for


@pytest.mark.parametrize(
    ("arguments", "count", "terminator", "wait_ms"),
    [
        ("", None, "#", 10_000),
        ("{}", None, "#", 10_000),
        ('{"count": 4.0, "terminator": "*", "timeout": 2.5}', 4, "*", 2_500),
        ('{"count": null, "terminator": "none", "timeout": null}', None, None, 10_000),
        ('{"terminator": ""}', None, None, 10_000),
        ('{"terminator": "#", "timeout": 60, "more": 1}', None, "#", 60_000),
    ],
)
def test_what_is_left_out_has_a_default(
    arguments: str, count: int | None, terminator: str | None, wait_ms: int
) -> None:
    assert read_request("c", arguments, "#", 90_000, 500) == Collect("c", count, terminator, wait_ms, 500, 90_500)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("[4]", "must be a JSON object"),
        ("{", "not valid JSON"),
        ('{"count": "\ud83d"}', "not valid JSON"),
        ('{"count": 0}', "count must be a number from 1 to 32"),
        ('{"count": 33}', "from 1 to 32"),
        ('{"count": "4"}', "from 1 to 32"),
        ('{"count": true}', "from 1 to 32"),
        ('{"count": 1.5}', "whole number"),
        ('{"terminator": "7"}', "terminator must be"),
        ('{"terminator": ["#"]}', "terminator must be"),
        ('{"timeout": 0.5}', "timeout must be a number from 1 to 60"),
        ('{"timeout": 61}', "from 1 to 60"),
        (f'{{"count": {"4" * 5_000}}}', "too long"),
    ],
)
def test_odd_arguments_are_refused_with_a_reason(arguments: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        read_request("c", arguments, "#", 90_000, 0)


# ---- secrets


@pytest.mark.parametrize("thing", [KeyMessage("4711", 0), Collected("c", "4711", CollectEnd.COUNT), waiting()])
def test_keys_stay_out_of_logs(thing: Any) -> None:
    if isinstance(thing, Collect):
        thing.press("4", 0)
    assert "4" not in repr(thing)


def test_where_no_keys_are_wanted_none_are_secret() -> None:
    assert Keypad(None).mode is KeyMode.OFF
