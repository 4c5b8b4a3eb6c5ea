"""Percentiles, medians, ratios, bounds and the table that are made from steps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bench.figures import (
    Churn,
    Held,
    LoopLateness,
    Spread,
    Step,
    churn_from_json,
    lateness_from_json,
    median,
    percentile,
    spread,
    step_from_json,
    to_json,
)
from bench.report import COSMOS, UNISON, Bound, Measured, Round, as_json, bounds, find_knee, summarise
from bench.table import markdown, table

MACHINE: dict[str, Any] = {
    "date": "2026-01-02",
    "cpu": "A CPU",
    "cores": 2,
    "python": "3.11.7",
    "versions": {"picows": "2.3.1"},
    "rounds": 3,
    "seconds": 10.0,
}


def at(p50: float, p99: float) -> Spread:
    return Spread(1000, p50, (p50 + p99) / 2, p99, p99)


STEP = Step(
    calls=40,
    seconds=10.0,
    sent=20_000,
    lost=0,
    doubled=0,
    crossed=0,
    errors=0,
    failed=(),
    answers=200,
    round_trip_ms=at(0.3, 0.5),
    slip_ms=at(0.02, 0.1),
    created_ms=at(1.0, 2.0),
    updated_ms=at(2.0, 4.0),
    first_sound_ms=at(10.0, 20.0),
    cpu_s={"load": 1.0, "model": 1.0, "server": 1.0},
    rss_mb={"model": 30.0, "server": 50.0},
    core_s={"server": 1.2, "load": 2.0},
)
CHURN = Churn(8, 5.0, 5000, (), at(3.0, 9.0), {"load": 2.0, "model": 1.0, "server": 5.0})
DIRECT = replace(STEP, round_trip_ms=at(0.2, 0.3), cpu_s={"load": 1.0, "model": 1.0}, rss_mb={})


def step(cpu_s: float = 1.0, p99_ms: float = 0.5, load_s: float = 1.0, **changed: Any) -> Step:
    used = {"load": load_s, "model": 1.0, "server": cpu_s}
    return replace(STEP, cpu_s=used, round_trip_ms=at(0.3, p99_ms), **changed)


def measured(server: str, **changed: Any) -> Measured:
    return Measured(server, step(**changed), DIRECT, idle_rss_mb=42.0)


def a_lateness(*held: tuple[str, int, float, float]) -> LoopLateness:
    return LoopLateness(3.0, at(0.1, 4.0), tuple(Held(*one) for one in held))


def missed(*rounds: Round, ready: tuple[float, ...] = ()) -> list[str]:
    return [bound.name for bound in bounds(summarise(rounds, ready)) if not bound.met]


def beside_floor(**changed: Any) -> Round:
    return Round([measured("relay"), measured("patchbay", **changed)])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)])
def test_a_percentile_is_a_value_that_occurred(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 101)], share) == expected


def test_one_slow_frame_in_fifty_is_the_p99() -> None:
    seen = spread([40.0, *[1.0] * 49])
    assert (seen.p50, seen.p95, seen.p99, seen.max) == (1.0, 1.0, 40.0, 40.0)


def test_no_values_have_no_percentile_and_an_empty_spread() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
    assert spread([]) == Spread(0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("values", "expected"), [([3.0, 1.0, 2.0], 2.0), ([4.0, 1.0], 2.5), ([7.0], 7.0)])
def test_the_median_is_the_middle(values: list[float], expected: float) -> None:
    assert median(values) == expected


def test_figures_can_be_written_as_json_and_read_back() -> None:
    failed = replace(STEP, failed=("2 x OSError: refused",))
    assert step_from_json(json.loads(json.dumps(to_json(failed)))) == failed
    assert churn_from_json(json.loads(json.dumps(to_json(CHURN)))) == CHURN
    late = a_lateness(("gateway.calls.running:take", 2, 30.0, 20.0))
    assert lateness_from_json(json.loads(json.dumps(to_json(late)))) == late


@pytest.mark.parametrize("flaw", [{"lost": 1}, {"doubled": 1}, {"crossed": 1}, {"failed": ("1 x dropped",)}])
def test_a_step_with_a_flaw_is_not_whole(flaw: dict[str, Any]) -> None:
    assert STEP.whole()
    assert not step(**flaw).whole()


def test_other_work_on_a_core_is_its_busy_time_without_the_measured_processes() -> None:
    assert STEP.others("server", "server") == pytest.approx(0.02)
    assert STEP.others("load", "load", "model") == 0.0
    assert STEP.others("nowhere", "server") == 0.0


def test_other_work_on_the_machine_in_any_round_is_reported() -> None:
    summary = summarise([beside_floor(), beside_floor(core_s={"server": 4.0, "load": 2.0}), beside_floor()], [])
    assert "patchbay at 40 calls: other work took up to 30% of the server's core" in markdown(summary, MACHINE, [])


def test_figures_of_a_server_are_per_call_and_relative_to_the_direct_load() -> None:
    one = measured("patchbay")
    assert one.cpu_ms == pytest.approx(2.5)
    assert one.added_p50_ms == pytest.approx(0.1)
    assert one.added_p99_ms == pytest.approx(0.3)
    assert one.mb_a_call == pytest.approx(0.2)


def test_a_ratio_is_computed_in_each_round() -> None:
    slow_machine = Round([measured("relay", cpu_s=2.0), measured("patchbay", cpu_s=3.0)])
    fast_machine = Round([measured("relay", cpu_s=1.0), measured("patchbay", cpu_s=1.4)])
    lines = {line.server: line for line in summarise([slow_machine, fast_machine, fast_machine], []).lines}
    assert lines["patchbay"].cpu_ratio == pytest.approx(1.4)
    assert lines["patchbay"].cpu_ms == pytest.approx(3.5)
    assert lines["relay"].cpu_ratio is None


def test_turns_in_unison_have_their_own_row_and_no_bound() -> None:
    part = beside_floor()
    part.measured += [replace(one, turns=UNISON) for one in beside_floor(p99_ms=300.0, cpu_s=9.0).measured]
    summary = summarise([part], [])
    assert [(line.server, line.turns) for line in summary.lines] == [
        ("relay", "spread"),
        ("patchbay", "spread"),
        ("relay", "unison"),
        ("patchbay", "unison"),
    ]
    assert summary.lines[1].cpu_ratio == pytest.approx(1.0)
    assert summary.lines[3].cpu_ratio == pytest.approx(9.0)
    assert all(bound.met for bound in bounds(summary))
    assert len(bounds(summary)) == len(bounds(summarise([beside_floor()], [])))
    assert "| patchbay | 40    | unison |" in markdown(summary, MACHINE, [])


def test_what_held_a_loop_is_summed_over_the_rounds_and_reported_with_the_round_trip() -> None:
    first = a_lateness(("recorder:write", 3, 60.0, 30.0), ("gc", 1, 10.0, 10.0))
    second = a_lateness(("gc", 2, 90.0, 50.0))
    rounds = [
        Round([replace(measured("patchbay"), late=late, watched=step(p99_ms=9.0))])
        for late in (first, second, a_lateness())
    ]
    summary = summarise(rounds, [])
    line = summary.lines[0]
    assert line.held == (Held("gc", 3, 100.0, 50.0), Held("recorder:write", 3, 60.0, 30.0))
    assert (line.late_p99_ms, line.late_worst_ms, line.watched_p99_ms) == (4.0, 4.0, 9.0)
    assert "gc: 3 x, 100 ms, worst 50; recorder:write: 3 x, 60 ms, worst 30" in markdown(summary, MACHINE, [])


def test_a_watched_loop_without_a_stall_is_reported_and_one_that_was_not_watched_is_not() -> None:
    watched = Round([replace(measured("patchbay"), late=a_lateness(), watched=step())])
    assert "nothing for 5 ms" in markdown(summarise([watched], []), MACHINE, [])
    no_frames = replace(step(), round_trip_ms=spread([]))
    watched.measured = [replace(watched.measured[0], watched=no_frames)]
    assert "no frame" in markdown(summarise([watched], []), MACHINE, [])
    assert "loop late" not in markdown(summarise([beside_floor()], []), MACHINE, [])


def test_lost_frames_of_all_rounds_are_summed() -> None:
    summary = summarise([beside_floor(), beside_floor(lost=3), beside_floor()], [])
    assert [line.lost for line in summary.lines if line.server == "patchbay"] == [3]


def test_a_run_within_all_bounds_misses_none() -> None:
    part = beside_floor()
    part.knees["patchbay"] = [step(calls=220), step(calls=250), step(calls=280, p99_ms=30.0)]
    assert missed(part, ready=(0.8, 0.9, 1.4)) == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"cpu_s": 2.01}, "CPU at 40 calls"),
        ({"p99_ms": 3.6}, "p99 at 40 calls"),
        ({"rss_mb": {"server": 54.1}}, "memory at 40 calls"),
        ({"updated_ms": at(10.0, 21.0)}, "set-up at 40 calls"),
        ({"lost": 1}, "frames at 40 calls"),
        ({"crossed": 1}, "frames at 40 calls"),
        ({"failed": ("1 x dropped",)}, "frames at 40 calls"),
    ],
)
def test_a_missed_bound_is_reported_with_its_name(changed: dict[str, Any], name: str) -> None:
    assert missed(beside_floor(**changed)) == [name]


def test_a_figure_equal_to_its_bound_meets_it() -> None:
    assert missed(beside_floor(cpu_s=2.0, p99_ms=3.5, rss_mb={"server": 54.0})) == []


def test_a_slow_start_is_judged_by_its_median() -> None:
    assert missed(beside_floor(), ready=(0.9, 1.1, 1.2)) == ["ready"]
    assert missed(beside_floor(), ready=(0.9, 0.95, 9.0)) == []


def test_a_low_knee_misses_the_bound_even_if_the_load_was_the_limit() -> None:
    part = beside_floor()
    part.knees["patchbay"] = [step(calls=180), step(calls=220, p99_ms=30.0, load_s=8.0)]
    assert missed(part) == ["knee"]


def test_without_a_floor_there_is_no_bound_relative_to_it() -> None:
    names = {bound.name for bound in bounds(summarise([Round([measured("patchbay")])], []))}
    assert names == {"memory at 40 calls", "set-up at 40 calls", "frames at 40 calls"}


def test_the_floor_alone_has_no_bounds() -> None:
    assert bounds(summarise([Round([measured("relay")])], [])) == []


def test_the_knee_ends_where_the_delay_passes_its_bound() -> None:
    steps = [step(calls=180), step(calls=220), step(calls=260, p99_ms=20.1)]
    assert find_knee(steps) == (220, False, "p99 20.1 ms at 260")


def test_the_knee_ends_at_the_first_lost_frame() -> None:
    calls, at_least, why = find_knee([step(calls=180), step(calls=220, lost=2)])
    assert (calls, at_least, why) == (180, False, "2 of 20000 frames lost at 220")


def test_a_knee_that_the_load_limited_is_only_a_lower_bound() -> None:
    calls, at_least, why = find_knee([step(calls=180), step(calls=220, p99_ms=25.0, load_s=7.5)])
    assert (calls, at_least) == (180, True)
    assert why == "limited by the load, 85% busy at 220"


def test_a_knee_that_was_not_reached_is_only_a_lower_bound() -> None:
    assert find_knee([step(calls=180), step(calls=220)]) == (220, True, "there was no further step")


def test_a_server_that_fails_at_once_has_no_knee() -> None:
    assert find_knee([step(calls=180, failed=("180 x OSError: refused",))])[0] == 0


def test_the_knee_of_a_run_is_its_median_round() -> None:
    rounds = [Round(knees={"relay": [step(calls=180), *more]}) for more in ([], [step(calls=220)], [step(calls=220)])]
    assert summarise(rounds, []).knees[0].calls == 220


def test_the_columns_of_a_table_have_even_width() -> None:
    assert table(["a", "bb"], [["ccc", "d"]]) == "| a   | bb |\n| --- | -- |\n| ccc | d  |"


def test_the_report_names_problems() -> None:
    part = Round([measured("relay"), measured("patchbay", crossed=2, answers=0, load_s=8.0)], {"relay": CHURN})
    part.knees["relay"] = [step(calls=180), step(calls=220, p99_ms=30.0, load_s=8.0)]
    summary = summarise([part], [0.7])
    report = markdown(summary, MACHINE, bounds(summary))
    for text in (
        "2 frames in another's call",
        "no answer was completed",
        "the load's core was 90% busy",
        ">= 180",
        "limited by the load, 90% busy at 220",
        "0.70 s of CPU time",
        "**no**",
        "A CPU, 2 cores, Python 3.11.7",
    ):
        assert text in report


def test_the_json_contains_all_rounds() -> None:
    part = Round([measured("relay")], {"relay": CHURN}, {"relay": [STEP]})
    result = json.loads(json.dumps(as_json(summarise([part], []), [part], MACHINE, [])))
    assert result["rounds"][0]["measured"][0]["step"]["sent"] == 20_000
    assert result["machine"] == MACHINE
    assert result["summary"]["lines"][0]["server"] == "relay"


def test_a_bound_has_the_required_and_the_measured_value() -> None:
    found = bounds(summarise([beside_floor(cpu_s=2.2)], []))
    assert found[0] == Bound("CPU at 40 calls", "<= 2.0 x floor", "2.20 x", met=False)


def test_the_cost_of_cosmos_db_is_shown_beside_sqlite_of_the_same_round() -> None:
    counted = {"requests.batch": 210.0, "requests.read": 10.0, "charge.batch": 4_000.0, "charge.read": 10.0}
    rounds = [
        Round([Measured("patchbay", step(1.0, 0.5), DIRECT, 0.0), Measured(COSMOS, mine, DIRECT, 0.0)])
        for mine in (
            step(1.21, 1.5, counted=counted),
            step(1.42, 2.5, counted=counted),
            step(1.21, 5.5, counted=counted),
        )
    ]
    (use,) = summarise(rounds, []).store_uses
    assert (use.calls, use.batches_a_turn, use.other_requests_a_turn, use.ru_a_turn) == (40, 1.05, 0.05, 20.05)
    assert use.cpu_over_ms == pytest.approx(0.21 * 1000 / 400)
    assert use.cpu_a_batch_ms == pytest.approx(1.0)
    assert use.p99_over_ms == pytest.approx(2.0)
    found = {bound.name: bound.met for bound in bounds(summarise(rounds, []))}
    assert found["batches a turn on Cosmos DB at 40 calls"]
    assert found["CPU on Cosmos DB at 40 calls"]
    assert found["p99 on Cosmos DB at 40 calls"]
    assert "| 1.05 " in markdown(summarise(rounds, []), MACHINE, [])


def test_without_sqlite_in_the_run_the_cost_of_cosmos_db_has_no_differences() -> None:
    alone = [Round([Measured(COSMOS, step(counted={"requests.batch": 400.0}), DIRECT, 0.0)])]
    (use,) = summarise(alone, []).store_uses
    assert (use.batches_a_turn, use.cpu_over_ms, use.p99_over_ms) == (2.0, None, None)
    assert [bound.met for bound in bounds(summarise(alone, []))] == [False]
