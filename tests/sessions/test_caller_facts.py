"""The facts about a caller hold within their bounds whatever the far end says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.caller_facts import UNKNOWN_CALLER, CallerFacts, Direction

anything = st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=9) | st.text(max_size=600)


def test_nothing_is_known_of_a_caller_without_facts() -> None:
    facts = UNKNOWN_CALLER
    assert (facts.number, facts.called, facts.direction, dict(facts.metadata)) == (None, None, Direction.INBOUND, {})
    assert not facts
    assert facts == CallerFacts.of("", " ", "sideways", [])


def test_what_a_carrier_says_is_kept() -> None:
    facts = CallerFacts.of("+4930123456", "+4989123456", "outbound", {"order": "17"})
    assert (facts.number, facts.called, facts.direction) == ("+4930123456", "+4989123456", Direction.OUTBOUND)
    assert facts.metadata == {"order": "17"}


@pytest.mark.parametrize(
    ("given_id", "kept"), [(" CA17 ", "CA17"), ("x" * 500, "x" * 128), ("C\nA", "CA"), ("", None), (17, None)]
)
def test_the_carriers_id_of_the_call_is_kept_within_its_bound(given_id: object, kept: str | None) -> None:
    facts = CallerFacts.of("+4930", carrier_call_id=given_id)
    assert facts.carrier_call_id == kept
    assert dict(facts) == {"number": "+4930"}


@pytest.mark.parametrize(
    ("given_tag", "kept"), [("de-DE", "de-DE"), ("x" * 99, "x" * 35), ("d\ne", "de"), ("", None), (7, None)]
)
def test_the_language_is_kept_within_its_bound(given_tag: object, kept: str | None) -> None:
    facts = CallerFacts.of("+4930", language=given_tag)
    assert facts.language == kept
    assert dict(facts) == {"number": "+4930"}


def test_the_numbers_that_are_known_are_a_mapping() -> None:
    facts = CallerFacts.of("+4930", None, Direction.INBOUND, {"order": "17"})
    assert dict(facts) == {"number": "+4930"}
    assert (facts["number"], facts.get("called"), "called" in facts) == ("+4930", None, False)
    with pytest.raises(KeyError):
        facts["order"]


def test_the_metadata_cannot_be_changed() -> None:
    given_one = {"order": "17"}
    facts = CallerFacts.of(metadata=given_one)
    given_one["order"] = "18"
    assert facts.metadata == {"order": "17"}
    with pytest.raises(TypeError):
        facts.metadata["order"] = "19"  # type: ignore[index]


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("+" + "4" * 500, "+" + "4" * 127),
        (" +49 30\n\u202e1\x00 ", "+49 301"),
        ("caf\u00e9 \ud83d", "caf\u00e9"),
        (4930, None),
        (b"+4930", None),
        (["+4930"], None),
        ("\n", None),
    ],
)
def test_an_odd_number_is_cut_or_dropped(number: object, kept: str | None) -> None:
    assert CallerFacts.of(number).number == CallerFacts.of(None, number).called == kept


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ({"a": 1, "b": None, 3: "c", "": "d", "e": "\n", "f": "g"}, {"f": "g"}),
        ({"n" * 99: "v" * 999}, {"n" * 64: "v" * 512}),
        ({"a\n": "first", "a": "second"}, {"a": "first"}),
        ([("a", "b")], {}),
    ],
)
def test_odd_metadata_is_cut_or_dropped(metadata: object, kept: dict[str, str]) -> None:
    assert CallerFacts.of(metadata=metadata).metadata == kept


def test_only_so_many_entries_of_metadata_are_kept() -> None:
    facts = CallerFacts.of(metadata={f"name_{number}": "x" for number in range(100)})
    assert list(facts.metadata) == [f"name_{number}" for number in range(16)]


def test_the_facts_stay_out_of_logs() -> None:
    facts = CallerFacts.of("+4930", "+4989", "outbound", {"order": "17"}, "CA17", "de")
    assert repr(facts) == "CallerFacts(direction=<Direction.OUTBOUND: 'outbound'>)"


@given(anything, anything, anything, anything | st.dictionaries(st.text(max_size=80) | st.integers(), anything))
def test_no_value_is_an_error(number: Any, called: Any, direction: Any, metadata: Any) -> None:
    facts = CallerFacts.of(number, called, direction, metadata)
    assert facts == CallerFacts.of(facts.number, facts.called, facts.direction, facts.metadata)
