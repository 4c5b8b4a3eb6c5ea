"""Latency out of the sound itself."""

from __future__ import annotations

import math
import struct

from gateway.phone.report import CallReport, TurnRow, measure


def tone(ms: int) -> bytes:
    """A sine, well above the gate."""
    return b"".join(struct.pack("<h", int(8000 * math.sin(n * 0.2))) for n in range(ms * 24))


def quiet(ms: int) -> bytes:
    """Nothing."""
    return bytes(ms * 48)


def test_latency_runs_from_the_last_audible_sample_to_the_first() -> None:
    caller = quiet(100) + tone(500) + quiet(1400)
    agent = quiet(1250) + tone(400) + quiet(350)
    turn = TurnRow(1, "x", begin_ms=0, end_ms=900)
    measure([turn], caller, agent)
    assert turn.latency_ms is not None
    assert abs(turn.latency_ms - 650) <= 5


def test_a_silent_recording_has_none_and_neither_has_a_turn_without_an_answer() -> None:
    silent = TurnRow(1, "x", begin_ms=0, end_ms=500)
    unanswered = TurnRow(2, "y", begin_ms=1000, end_ms=1500)
    measure([silent, unanswered], quiet(1000) + tone(300) + quiet(700), quiet(2000))
    assert (silent.latency_ms, unanswered.latency_ms) == (None, None)


def test_an_answer_belongs_to_the_turn_before_it() -> None:
    turns = [TurnRow(1, "x", 0, 300), TurnRow(2, "y", 1000, 1300)]
    caller = tone(300) + quiet(700) + tone(300) + quiet(1200)
    agent = quiet(1800) + tone(200) + quiet(500)
    measure(turns, caller, agent)
    assert turns[0].latency_ms is None
    assert turns[1].latency_ms is not None
    assert abs(turns[1].latency_ms - 500) <= 5


def test_a_report_has_failed_when_a_turn_has_or_there_is_none() -> None:
    assert CallReport("a").failed
    assert not CallReport("a", turns=[TurnRow(1, "x", 0)]).failed
    assert CallReport("a", turns=[TurnRow(1, "x", 0, error="no answer")]).failed
