"""One figure and one line of the log for a destination, whatever its signals."""

from __future__ import annotations

import pytest

from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.courier.standing import Standing
from gateway.telemetry.link.wire import Report

DENIED = Outcome(Result.DENIED, reason="HTTP 401")
LATER = Outcome(Result.LATER, reason="timeout")


def test_a_key_that_is_denied_for_three_signals_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    report = Report()
    standing = Standing("otlp", report)
    for signal in ("logs", "traces", "metrics", "traces"):
        standing.failed(signal, DENIED)
    assert report.up == {"otlp": False}
    assert [(line.levelname, getattr(line, "reason", None)) for line in caplog.records] == [("ERROR", "HTTP 401")]
    standing.failed("traces", LATER)
    assert len(caplog.records) == 2


def test_a_destination_is_up_when_it_takes_all_signals_again(caplog: pytest.LogCaptureFixture) -> None:
    report = Report()
    standing = Standing("otlp", report)
    standing.failed("traces", DENIED)
    standing.taken("metrics")
    assert report.up == {"otlp": False}  # it still has no traces
    standing.taken("traces")
    standing.taken("metrics")
    assert report.up == {"otlp": True}
    assert [line.levelname for line in caplog.records] == ["ERROR", "WARNING"]
