"""Interruptions at every telephone far end, and the table that is made of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.calls.interruptions import FAR_ENDS, Interruption, Link, interruptions

from bench.interruptions import ERROR_MS, delays_ms, main, markdown, row

N_CALLS = 6


@dataclass(frozen=True)
class Found:
    error_ms: float
    stopped_ms: float


def links(jitter_ms: float) -> list[Link]:
    return [Link(delay_ms, jitter_ms, random.Random(number)) for number, delay_ms in enumerate(delays_ms(N_CALLS))]


@pytest.mark.parametrize("far_end", FAR_ENDS)
def test_an_interruption_is_recorded_as_the_far_end_has_played_it(far_end: str, tmp_path: Path) -> None:
    found = interruptions(far_end, tmp_path, links(0.0))
    assert len(found) == N_CALLS
    for one in found:
        assert 300 < one.played_ms < 4_000  # the greeting takes longer, so it was interrupted
        assert one.error_ms <= 20  # without jitter there is nothing to guess
        assert one.stopped_ms <= 20
    assert len({one.played_ms for one in found}) > N_CALLS // 2


@pytest.mark.parametrize("far_end", ["twilio", "acs"])
def test_jitter_makes_the_record_less_certain_at_far_ends_that_hold_sound(far_end: str, tmp_path: Path) -> None:
    plain, shaken = (interruptions(far_end, tmp_path / str(jitter_ms), links(jitter_ms)) for jitter_ms in (0.0, 65.0))
    assert max(one.error_ms for one in shaken) > max(one.error_ms for one in plain) + 10


def test_jitter_makes_no_difference_where_the_far_end_counts_what_it_drops(tmp_path: Path) -> None:
    assert max(one.error_ms for one in interruptions("chan_websocket", tmp_path, links(65.0))) <= 1


def test_an_error_counts_in_both_directions() -> None:
    assert Interruption(50.0, 900.0, 930, 0.0).error_ms == Interruption(50.0, 960.0, 930, 0.0).error_ms == 30.0


def test_delays_are_between_20_and_150_ms_and_the_same_each_time() -> None:
    found = delays_ms(200)
    assert found == delays_ms(200)
    assert 20 <= min(found) < 30
    assert 140 < max(found) <= 150


def test_every_far_end_has_a_bound() -> None:
    assert set(FAR_ENDS) <= set(ERROR_MS)


@pytest.mark.parametrize(
    ("error_ms", "stopped_ms", "met"), [(40.0, 20.0, True), (40.1, 0.0, False), (0.0, 20.1, False)]
)
def test_a_row_is_judged_by_the_p95_of_its_error_and_by_its_slowest_stop(
    error_ms: float, stopped_ms: float, met: bool
) -> None:
    found = [Found(error_ms, stopped_ms)] * 18 + [Found(0.0, 0.0)] * 2
    judged = row("twilio", 20.0, found)
    assert judged.met is met
    assert ("**no**" in markdown([judged])) is not met


def test_the_jitter_of_65_ms_has_no_bound() -> None:
    judged = row("twilio", 65.0, [Found(500.0, 0.0)])
    assert judged.met
    text = markdown([row("twilio", 20.0, [Found(1.0, 0.0)]), judged])
    assert text.count("n = 1 interruptions") == 2
    assert "500.0 / 500.0 / 500.0" in text
    assert text.count("error p95 <= 40") == 1


def test_an_unknown_far_end_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--far-ends", "semaphore"])
    assert "there is no far end semaphore" in capsys.readouterr().err


def test_a_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "2", "--jitter", "20", "--far-ends", "audiosocket", "--check"]) == 0
    assert "| audiosocket | 0.0 / 0.0 / 0.0" in capsys.readouterr().out
