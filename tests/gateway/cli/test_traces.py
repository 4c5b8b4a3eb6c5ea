"""`patchbay traces send`: its options. `tests/peers/test_traces_send.py` runs it with receivers."""

from __future__ import annotations

from datetime import datetime

import pytest

from gateway.cli.traces import since_of


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("2h", 7200), ("7d", 604_800)])
def test_an_age_counts_from_now(text: str, seconds: int) -> None:
    assert since_of(text, 1_000_000.0) == 1_000_000.0 - seconds


def test_a_time_is_of_this_machines_zone_unless_it_names_one() -> None:
    assert since_of("2026-11-30T12:00+00:00", 0.0) == 1_796_040_000.0
    assert since_of("2026-11-30T12:00", 0.0) == datetime(2026, 11, 30, 12, 0).timestamp()  # noqa: DTZ001
    assert since_of("2026-11-30", 0.0) == datetime(2026, 11, 30).timestamp()  # noqa: DTZ001


@pytest.mark.parametrize("text", ["yesterday", "", "5x", "-3h", "9999999h"])
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"--since .*: write a time such as"):
        since_of(text, 0.0)
