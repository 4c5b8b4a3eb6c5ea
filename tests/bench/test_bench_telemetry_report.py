"""The figures of servers that send telemetry: what they are compared with, their bounds and their table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bench.arrivals import Arrivals
from bench.figures import Scrape, Spread, Step
from bench.report import UNISON, Measured, Round
from bench.run import with_telemetry
from bench.telemetry_report import (
    ALL,
    DEAD,
    KINDS,
    ONE,
    telemetry_bounds,
    telemetry_json,
    telemetry_lines,
    telemetry_markdown,
)

NO_TIMES = Spread(0, 0.0, 0.0, 0.0, 0.0)
TURNS = Arrivals("/v1/traces", 1200, 0, 0, 200, 1.2, 2.5, 4.0)


def step(serving_s: float, calls: int = 150, p99_ms: float = 2.0, **changed: Any) -> Step:
    """A window of ten seconds, in which each call ends a turn every two seconds."""
    made = Step(
        calls=calls,
        seconds=10.0,
        sent=calls * 500,
        lost=0,
        doubled=0,
        crossed=0,
        errors=0,
        failed=(),
        answers=calls * 5,
        round_trip_ms=Spread(1000, 0.5, 1.0, p99_ms, p99_ms),
        slip_ms=NO_TIMES,
        created_ms=NO_TIMES,
        updated_ms=NO_TIMES,
        first_sound_ms=NO_TIMES,
        cpu_s={"load": 2.0, "model": 1.0, "server": serving_s, "serving": serving_s},
        rss_mb={"server": 90.0, "serving": 90.0},
        core_s={"server": 5.0, "load": 3.0},
    )
    return replace(made, **changed)


def sending(
    kind: str = ALL, serving_s: float = 4.0, courier_s: float = 1.0, courier_mb: float = 100.0, **changed: Any
) -> Measured:
    one = step(serving_s, **changed)
    one.cpu_s.update(courier=courier_s, server=serving_s + courier_s)
    one.rss_mb.update(courier=courier_mb, server=90.0 + courier_mb)
    return Measured(kind, one, one, 80.0, arrivals=(TURNS,), ready_cpu_s=0.7)


def plain(serving_s: float = 4.0, **changed: Any) -> Measured:
    one = step(serving_s, **changed)
    return Measured("patchbay", one, one, 80.0, ready_cpu_s=0.7)


def missed(*rounds: Round, scrape: Scrape | None = None) -> list[str]:
    return [bound.name for bound in telemetry_bounds(telemetry_lines(rounds), scrape) if not bound.met]


def test_the_serving_process_is_compared_without_its_courier_in_each_round() -> None:
    slow = Round([plain(8.0, p99_ms=4.0), sending(serving_s=8.16, courier_s=2.0, p99_ms=4.2)])
    fast = Round([plain(4.0), sending(serving_s=4.04, p99_ms=2.4)])
    (line,) = telemetry_lines([slow, fast])
    assert line.serving_ratio == pytest.approx((1.02 + 1.01) / 2)
    assert line.p99_over_ms == pytest.approx(0.3)
    assert line.courier_share == pytest.approx(0.15)
    assert line.turns_a_second == pytest.approx(75.0)


def test_a_run_within_all_bounds_misses_none() -> None:
    kinds = [sending(kind, courier_s=0.8) for kind in KINDS]
    scrape = Scrape(2004, 30, 10, 15.0, 0.9, 3.0)
    assert missed(Round([plain(), *kinds]), scrape=scrape) == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"serving_s": 4.13}, f"CPU of the serving process, {ALL} at 150 calls"),
        ({"p99_ms": 2.6}, f"p99, {ALL} at 150 calls"),
        ({"courier_s": 2.01}, f"courier, {ALL} at 150 calls"),
        ({"courier_mb": 151.0}, f"memory of the courier, {ALL} at 150 calls"),
        ({"lost": 1}, f"frames, {ALL} at 150 calls"),
        ({"failed": ("1 x dropped",)}, f"frames, {ALL} at 150 calls"),
    ],
)
def test_a_missed_bound_is_reported_with_its_name(changed: dict[str, Any], name: str) -> None:
    assert missed(Round([plain(), sending(**changed)])) == [name]


def test_a_figure_equal_to_its_bound_meets_it() -> None:
    equal = sending(serving_s=4.12, courier_s=2.0, courier_mb=150.0, p99_ms=2.5)
    assert missed(Round([plain(), equal])) == []


def test_a_courier_with_one_destination_may_take_less() -> None:
    assert missed(Round([plain(), sending(ONE, courier_s=0.81)])) == [f"courier, {ONE} at 150 calls"]


def test_a_courier_is_held_to_its_share_only_with_the_turns_of_150_calls() -> None:
    busy = sending(ONE, courier_s=3.0, calls=40)
    assert missed(Round([plain(calls=40), busy])) == []


def test_a_courier_that_does_not_run_is_a_missed_bound() -> None:
    alone = replace(plain(), server=DEAD)
    assert missed(Round([plain(), alone])) == [f"courier, {DEAD} at 150 calls"]


def test_turns_in_unison_are_not_compared_with() -> None:
    (line,) = telemetry_lines([Round([replace(plain(), turns=UNISON), sending()])])
    assert (line.serving_ratio, line.p99_over_ms) == (None, None)


def test_the_receiver_where_turns_come_last_counts() -> None:
    later = replace(TURNS, path="/api/public/otel/v1/traces", p95_s=8.1, worst_s=9.0)
    one = replace(sending(), arrivals=(TURNS, later))
    (line,) = telemetry_lines([Round([plain(), one])])
    assert (line.receiver, line.late_p95_s, line.late_worst_s, line.turns) == (later.path, 8.1, 9.0, 400)
    assert missed(Round([plain(), one])) == [f"spans of turns, {ALL} at 150 calls"]


def test_a_turn_that_never_comes_is_a_missed_bound() -> None:
    one = replace(sending(), arrivals=(replace(TURNS, missing=1),))
    assert missed(Round([plain(), one])) == [f"spans of turns, {ALL} at 150 calls"]


def test_without_a_judged_turn_there_is_no_bound_of_its_arrival() -> None:
    one = replace(sending(), arrivals=(replace(TURNS, turns=0),))
    (line,) = telemetry_lines([Round([plain(), one])])
    assert line.late_p95_s is None
    assert missed(Round([plain(), one])) == []


def test_a_late_start_and_a_long_piece_of_a_scrape_are_missed_bounds() -> None:
    slow = replace(sending(), ready_cpu_s=1.2)
    scrape = Scrape(2004, 30, 10, 15.0, 2.1, 3.0)
    assert missed(Round([plain(), slow]), scrape=scrape) == [f"ready, {ALL}", "scrape of 2004 series"]


def test_the_table_has_a_row_for_each_kind_and_is_empty_without_any() -> None:
    rounds = [Round([plain(), sending(), replace(plain(), server=DEAD)])]
    lines = telemetry_lines(rounds)
    scrape = Scrape(2004, 30, 10, 15.0, 0.9, 3.0)
    text = telemetry_markdown(lines, scrape, telemetry_bounds(lines, scrape))
    assert f"| {ALL} " in text
    assert "10.0%" in text
    assert "2.5 / 4.0" in text
    assert "the longest piece used 0.90 ms of CPU" in text
    assert "none was found" in text
    assert telemetry_lines([Round([plain()])]) == []
    assert telemetry_markdown([], None, []) == ""


def test_the_json_can_be_written() -> None:
    lines = telemetry_lines([Round([plain(), sending()])])
    found = json.loads(json.dumps(telemetry_json(lines, None, telemetry_bounds(lines, None))))
    assert found["lines"][0]["server"] == ALL
    assert found["scrape"] is None


def test_servers_with_telemetry_stand_beside_the_plain_one() -> None:
    assert with_telemetry(["relay", "patchbay", "patchbay+cosmos"]) == ["relay", "patchbay", *KINDS, "patchbay+cosmos"]
    assert with_telemetry([ALL]) == list(KINDS)
