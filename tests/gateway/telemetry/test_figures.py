"""What is counted, and how it is kept: labels, buckets, readers."""

from __future__ import annotations

import re
from pathlib import Path

from support.shown_figures import shown

from gateway.telemetry.figures import Distribution, Figures
from gateway.telemetry.labels import MAX_CHARACTERS, MAX_VALUES
from gateway.telemetry.names import (
    CALL_DURATION,
    CALLS_BROKEN,
    CALLS_ENDED,
    CALLS_STARTED,
    FAMILIES,
    LIVE_CALLS,
    LOOP_LAG,
    STORE_HEALTHY,
    TURNS,
    Kind,
)

HOSTILE = ('a"b\\c\nd', "\ud800", "\x00\x1b[31m", "é\u202e", "名" * 300, "x" * 100_000, "", " ", "{}", "#")


def values(figures: Figures) -> dict[tuple[str, ...], float | Distribution]:
    return {one.labels: one.value for one in figures.series(CALLS_STARTED)}


def test_a_counter_grows_for_each_of_its_labels() -> None:
    figures = Figures()
    figures.add(CALLS_STARTED, "desk", "realtime")
    figures.add(CALLS_STARTED, "desk", "realtime", by=2)
    figures.add(CALLS_STARTED, "desk", "twilio")
    assert values(figures) == {("desk", "realtime"): 3, ("desk", "twilio"): 1}
    assert figures.total(CALLS_STARTED) == 4


def test_a_bound_belongs_to_the_bucket_below_it() -> None:
    figures = Figures()
    for seconds in (9.5, 10, 10.5, 7200, 7201):
        figures.observe(CALL_DURATION, seconds, "desk")
    (one,) = figures.series(CALL_DURATION)
    assert isinstance(one.value, Distribution)
    assert dict(one.value.buckets()) == {
        "10.0": 2, "30.0": 3, "60.0": 3, "120.0": 3, "300.0": 3, "600.0": 3, "900.0": 3, "1200.0": 3, "1800.0": 3,
        "3600.0": 3, "7200.0": 4, "+Inf": 5,
    }  # fmt: skip
    assert one.value.sum == 14_431


def test_past_two_hundred_values_of_a_label_all_others_are_counted_together() -> None:
    figures = Figures()
    for number in range(MAX_VALUES + 50):
        figures.add(TURNS, f"agent_{number}", "completed")
    found = {one.labels[0]: one.value for one in figures.series(TURNS)}
    assert len(found) == MAX_VALUES + 1
    assert (found["agent_0"], found[f"agent_{MAX_VALUES - 1}"], found["other"]) == (1, 1, 50)
    # An agent that has a name in one family has it in all, and one that has none has none.
    figures.add(CALLS_ENDED, "agent_7", "realtime", "over")
    figures.add(CALLS_ENDED, "agent_240", "realtime", "over")
    assert {one.labels[0] for one in figures.series(CALLS_ENDED)} == {"agent_7", "other"}


def test_names_of_any_kind_become_short_printable_labels() -> None:
    figures = Figures()
    for name in HOSTILE:
        figures.add(TURNS, name, "completed")
        figures.add(TURNS, name, "completed")
    assert figures.total(TURNS) == 2 * len(HOSTILE)
    labels = [one.labels[0] for one in figures.series(TURNS)]
    assert len(labels) == len(HOSTILE)
    assert all(len(label) <= MAX_CHARACTERS and label.isprintable() for label in labels)
    assert all(label.encode() is not None for label in labels)


def test_what_is_read_is_read_whenever_it_is_shown() -> None:
    figures, calls = Figures(), {("desk", "realtime"): 2}
    figures.read(LIVE_CALLS, lambda: calls.items())
    figures.read(LIVE_CALLS, lambda: [(("desk", "realtime"), 1)] if calls else [])
    figures.read_one(STORE_HEALTHY, lambda: True)
    assert shown(figures, "patchbay_live", "patchbay_store") == {
        "patchbay_live_calls['desk', 'realtime']": 3,
        "patchbay_store_healthy": 1,
    }
    calls.clear()
    assert [(one.labels, one.value) for one in figures.series(LIVE_CALLS)] == [(("desk", "realtime"), 0)]


def test_what_has_no_labels_is_shown_from_the_start() -> None:
    figures = Figures()
    assert [one.value for one in figures.series(CALLS_BROKEN)] == [0]
    assert len(list(figures.series(LOOP_LAG))) == 1
    assert list(figures.series(CALLS_STARTED)) == []


def test_telemetry_counts_itself() -> None:
    figures = Figures()
    figures.telemetry_items("traces", "langfuse", "sent", 3)
    figures.telemetry_items("traces", "langfuse", "sent", 4)
    figures.telemetry_dropped("logs", "buffer_full", 2)
    figures.telemetry_up("langfuse", True)
    figures.telemetry_up("otlp", False)
    assert shown(figures) == {
        "patchbay_telemetry_items_total['traces', 'langfuse', 'sent']": 7,
        "patchbay_telemetry_dropped_total['logs', 'buffer_full']": 2,
        "patchbay_telemetry_up['langfuse']": 1,
    }


def test_the_table_is_in_order() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert family.help.endswith("."), family.name
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert bool(family.buckets) == (family.kind is Kind.HISTOGRAM)
        assert list(family.buckets) == sorted(set(family.buckets))


def test_the_documents_have_every_name_with_its_kind_labels_and_meaning() -> None:
    text = (Path(__file__).parents[3] / "docs/telemetry.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+)[ \w$]* \| (.*) \| (.*) \|$", text, re.MULTILINE)
    told = {name: (kind, re.findall(r"`(\w+)`", labels), help) for name, kind, labels, help in rows}
    assert told == {one.name: (one.kind, list(one.labels), one.help) for one in FAMILIES}
