"""Tests for gateway/models/realtime/endings.py: the class of what ended a leg."""

from __future__ import annotations

import orjson
import pytest

from gateway.models.realtime.endings import closing, turned_away
from gateway.net.dial import DialFailed
from sessions.accounts import LegError


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (401, {}, LegError.AUTH),
        (403, {"code": "something_else"}, LegError.AUTH),
        (429, {}, LegError.QUOTA),
        (400, {"code": "insufficient_quota"}, LegError.QUOTA),
        (404, {"code": "model_not_found"}, LegError.REFUSED),
        (500, {}, LegError.REFUSED),
        (None, {}, LegError.UNREACHABLE),
    ],
)
def test_a_dial_that_fails_has_a_class(status: int | None, error: dict[str, str], expected: LegError) -> None:
    answer = orjson.dumps({"error": error})
    assert turned_away(DialFailed("no", retryable=True, status=status, answer=answer)).error is expected


@pytest.mark.parametrize(
    ("code", "expected"), [(1000, LegError.CLOSED), (1011, LegError.CLOSED), (1008, LegError.REFUSED)]
)
def test_a_close_has_a_class(code: int, expected: LegError) -> None:
    assert closing(code).error is expected
