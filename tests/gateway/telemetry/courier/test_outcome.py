"""Receivers' answers, and the pace of retries."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.telemetry.courier.outcome import (
    DENIED_S,
    RETRY_AFTER_MAX_S,
    Outcome,
    Pace,
    Result,
    outcome_of,
    retry_after_s,
)

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.TAKEN),
        (202, Result.TAKEN),
        (302, Result.REFUSED),
        (400, Result.REFUSED),
        (401, Result.DENIED),
        (403, Result.DENIED),
        (404, Result.REFUSED),
        (413, Result.REFUSED),
        (429, Result.LATER),
        (500, Result.LATER),
        (503, Result.LATER),
        (504, Result.LATER),
    ],
)
def test_each_status_has_its_result(status: int, result: Result) -> None:
    assert outcome_of(status, {}).result is result


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0", 0.0),
        ("99999", RETRY_AFTER_MAX_S),
        ("-1", None),
        ("soon", None),
        ("Mon, 30 Nov 2026 12:00:20 GMT", 20.0),
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0.0),
    ],
)
def test_a_receiver_may_say_when_to_come_again(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


def test_pauses_double_up_to_a_minute_and_begin_anew_after_a_success() -> None:
    pace, later = Pace(), Outcome(Result.LATER)
    assert [pace.wait_s(later, 0.5) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    pace.succeeded()
    assert pace.wait_s(later, 0.0) == 0.8
    assert round(pace.wait_s(later, 1.0), 3) == 2.4


def test_the_receivers_wish_and_a_wrong_key_have_their_own_pauses() -> None:
    pace = Pace()
    assert pace.wait_s(Outcome(Result.LATER, after_s=7.0), 0.5) == 7.0
    assert pace.wait_s(Outcome(Result.LATER, after_s=0.0), 0.5) == 0.1
    assert pace.wait_s(Outcome(Result.DENIED), 0.5) == DENIED_S
