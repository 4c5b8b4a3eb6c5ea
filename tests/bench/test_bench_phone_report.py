"""Medians, ratios, bounds and the table of the telephone rows."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from bench.figures import Spread
from bench.phone_callers import AUDIOSOCKET, TWILIO
from bench.phone_figures import PhoneStep, phone_step_from_json
from bench.phone_report import PhoneMeasured, phone_bounds, phone_lines, phone_markdown, phones_as_json
from bench.phone_servers import FLOOR, PATCHBAY, WIDE

NONE = Spread(0, 0.0, 0.0, 0.0, 0.0)


def at(p50: float, p99: float) -> Spread:
    return Spread(1000, p50, p99, p99, p99)


STEP = PhoneStep(
    calls=40,
    seconds=10.0,
    sent=20_000,
    bursts=800,
    bursts_back=800,
    back_ms=399_500.0,
    messages=20_000,
    failed=(),
    round_trip_ms=at(0.5, 2.0),
    late_ms=NONE,
    slip_ms=at(0.1, 0.2),
    set_up_ms=at(5.0, 9.0),
    cpu_s={"load": 1.0, "model": 1.0, "server": 1.0},
    rss_mb={"server": 60.0},
    core_s={"server": 1.2, "load": 2.0},
)
DIRECT = replace(STEP, round_trip_ms=at(0.2, 0.4))


def measured(server: str, protocol: str = TWILIO, cpu_s: float = 1.0, **changed: Any) -> PhoneMeasured:
    step = replace(STEP, cpu_s={"load": 1.0, "model": 1.0, "server": cpu_s}, **changed)
    return PhoneMeasured(protocol, server, step, DIRECT, idle_rss_mb=40.0)


def audiosocket(server: str, cpu_s: float = 1.0, calls: int = 50, late_p99: float = 2.0) -> PhoneMeasured:
    trips = {} if server == PATCHBAY else {"round_trip_ms": NONE, "bursts_back": 0}
    late = {"late_ms": at(0.1, late_p99), "calls": calls}
    return measured(server, AUDIOSOCKET, cpu_s, **late, **trips)


def missed(*rounds: list[PhoneMeasured]) -> list[str]:
    return [bound.name for bound in phone_bounds(phone_lines(rounds)) if not bound.met]


def test_a_step_can_be_written_as_json_and_read_back() -> None:
    step = replace(STEP, failed=("2 x dropped by the server",))
    assert phone_step_from_json(json.loads(json.dumps(asdict(step)))) == step


def test_a_line_has_the_cpu_of_a_call_second_the_ratio_and_the_added_delay() -> None:
    floor, line = phone_lines([[measured(PATCHBAY, cpu_s=1.8), measured(FLOOR)]])
    assert (floor.server, floor.cpu_ms, floor.cpu_ratio) == (FLOOR, 2.5, None)
    assert (line.cpu_ms, line.cpu_ratio) == (pytest.approx(4.5), pytest.approx(1.8))
    assert (line.added_p50_ms, line.added_p99_ms) == (pytest.approx(0.3), pytest.approx(1.8))
    assert (line.mb_a_call, line.late_p99_ms) == (0.5, None)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    rounds = [
        [measured(FLOOR, cpu_s=floor_s), measured(PATCHBAY, cpu_s=server_s)]
        for floor_s, server_s in ((1.0, 1.0), (2.0, 3.0), (1.0, 4.0))
    ]
    assert phone_lines(rounds)[1].cpu_ratio == 1.5


def test_lines_stand_by_protocol_calls_and_server() -> None:
    found = [
        audiosocket(PATCHBAY),
        measured(WIDE),
        measured(PATCHBAY, calls=150),
        measured(FLOOR),
        audiosocket(FLOOR),
        measured(PATCHBAY),
    ]
    assert [(line.protocol, line.calls, line.server) for line in phone_lines([found])] == [
        (TWILIO, 40, FLOOR),
        (TWILIO, 40, PATCHBAY),
        (TWILIO, 40, WIDE),
        (TWILIO, 150, PATCHBAY),
        (AUDIOSOCKET, 50, FLOOR),
        (AUDIOSOCKET, 50, PATCHBAY),
    ]


@pytest.mark.parametrize(
    ("server", "protocol", "cpu_s", "met"),
    [
        (PATCHBAY, TWILIO, 2.0, True),
        (PATCHBAY, TWILIO, 2.1, False),
        (WIDE, TWILIO, 3.0, True),
        (WIDE, TWILIO, 3.1, False),
        (PATCHBAY, AUDIOSOCKET, 3.0, True),
        (PATCHBAY, AUDIOSOCKET, 3.1, False),
    ],
)
def test_each_row_has_its_bound_of_cpu(server: str, protocol: str, cpu_s: float, met: bool) -> None:
    found = missed([measured(FLOOR, protocol), measured(server, protocol, cpu_s)])
    assert [name.startswith("CPU") for name in found] == ([] if met else [True])


def test_twilio_may_add_10_ms() -> None:
    assert missed([measured(FLOOR), measured(PATCHBAY, round_trip_ms=at(0.5, 10.2))]) == []
    assert missed([measured(FLOOR), measured(PATCHBAY, round_trip_ms=at(0.5, 10.3))]) == [
        "added delay, twilio at 40 calls"
    ]


def test_frames_of_50_calls_leave_within_3_ms_and_those_of_100_within_a_frame() -> None:
    assert missed([audiosocket(FLOOR), audiosocket(PATCHBAY, late_p99=3.0)]) == []
    assert missed([audiosocket(FLOOR), audiosocket(PATCHBAY, late_p99=3.1)]) == [
        "frames leave, audiosocket at 50 calls"
    ]
    assert missed([audiosocket(PATCHBAY, calls=100, late_p99=19.0)]) == []
    assert missed([audiosocket(PATCHBAY, calls=100, late_p99=21.0)]) == [
        "frames leave, audiosocket at 100 calls on one core"
    ]


@pytest.mark.parametrize("flaw", [{"bursts_back": 799}, {"back_ms": 398_000.0}, {"failed": ("1 x set-up",)}])
def test_sound_that_does_not_come_back_is_missed(flaw: dict[str, Any]) -> None:
    assert missed([measured(PATCHBAY, **flaw)]) == ["sound, twilio at 40 calls"]


def test_a_floor_is_judged_by_nothing() -> None:
    assert phone_bounds(phone_lines([[audiosocket(FLOOR, late_p99=9.0), measured(FLOOR, failed=("x",))]])) == []


def test_the_table_and_the_json_name_every_row_and_what_was_wrong() -> None:
    rounds = [[measured(FLOOR), measured(PATCHBAY, cpu_s=9.0, failed=("1 x set-up",)), audiosocket(FLOOR)]]
    lines = phone_lines(rounds)
    text = phone_markdown(lines, phone_bounds(lines))
    assert "| twilio      | patchbay | 40 " in text
    assert "0.30 / 1.80" in text
    assert "- twilio, patchbay at 40 calls: 1 x set-up" in text
    assert "9.00 x" in text
    assert "**no**" in text
    found = json.loads(json.dumps(phones_as_json(rounds)))
    assert [line["server"] for line in found["lines"]] == [FLOOR, PATCHBAY, FLOOR]
    assert len(found["rounds"][0]) == 3


def test_other_work_on_the_machine_is_reported() -> None:
    lines = phone_lines([[measured(PATCHBAY, core_s={"server": 5.0, "load": 2.0})]])
    assert "the machine was not quiet" in phone_markdown(lines, [])
