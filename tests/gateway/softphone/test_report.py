"""Latency computed from the sound itself."""

from __future__ import annotations

import math
import struct

from gateway.softphone.playback import Playback, Played
from gateway.softphone.report import CallReport, TurnRow, measure


def tone(ms: int) -> bytes:
    """A sine well above the gate."""
    return b"".join(struct.pack("<h", int(8000 * math.sin(n * 0.2))) for n in range(ms * 24))


def quiet(ms: int) -> bytes:
    """Silence."""
    return bytes(ms * 48)


def played(begin_ms: int, pcm: bytes) -> Played:
    """Sound of the agent that begins at this moment."""
    return Played("item", begin_ms, bytearray(pcm))


def test_latency_runs_from_the_last_audible_sample_to_the_first() -> None:
    caller = quiet(100) + tone(500) + quiet(1400)
    turn = TurnRow(1, "x", begin_ms=0, end_ms=900)
    measure([turn], caller, [played(1150, quiet(100) + tone(400))])
    assert turn.latency_ms is not None
    assert abs(turn.latency_ms - 650) <= 5


def test_an_answer_begins_where_its_own_sound_does_whenever_it_was_played() -> None:
    """Levels are computed from the first sample of the answer, as in the gateway."""
    caller, answer = tone(500) + quiet(1500), quiet(40) + tone(400)
    for begin_ms in range(700, 710):
        turn = TurnRow(1, "x", begin_ms=0, end_ms=520)
        measure([turn], caller, [played(begin_ms, answer)])
        assert turn.latency_ms == begin_ms + 40 - 500


def test_an_answer_that_continues_past_the_callers_last_frame_is_counted() -> None:
    turn = TurnRow(1, "x", begin_ms=0, end_ms=300)
    measure([turn], tone(300), [played(400, tone(200))])
    assert turn.latency_ms == 100


def test_sound_from_before_the_turns_end_is_not_its_answer() -> None:
    """In a barge-in, the agent speaks until it detects the caller, and again afterwards."""
    playback = Playback()
    playback.take("first", tone(3000), 0)
    playback.cut(1200)
    playback.take("second", tone(300), 2000)
    turn = TurnRow(1, "x", begin_ms=1000, end_ms=1500)
    measure([turn], quiet(1000) + tone(500) + quiet(1000), playback.runs)
    assert turn.latency_ms == 500


def test_a_silent_recording_and_a_turn_without_an_answer_have_no_latency() -> None:
    silent = TurnRow(1, "x", begin_ms=0, end_ms=500)
    unanswered = TurnRow(2, "y", begin_ms=1000, end_ms=1500)
    measure([silent, unanswered], quiet(1000) + tone(300) + quiet(700), [played(1400, quiet(600))])
    assert (silent.latency_ms, unanswered.latency_ms) == (None, None)


def test_an_answer_belongs_to_the_turn_before_it() -> None:
    turns = [TurnRow(1, "x", 0, 300), TurnRow(2, "y", 1000, 1300)]
    caller = tone(300) + quiet(700) + tone(300) + quiet(1200)
    measure(turns, caller, [played(1800, tone(200))])
    assert turns[0].latency_ms is None
    assert turns[1].latency_ms is not None
    assert abs(turns[1].latency_ms - 500) <= 5


def test_a_report_has_failed_when_a_turn_has_or_when_there_is_no_turn() -> None:
    assert CallReport("a").failed
    assert not CallReport("a", turns=[TurnRow(1, "x", 0)]).failed
    assert CallReport("a", turns=[TurnRow(1, "x", 0, error="no answer")]).failed


def test_a_gateway_that_breaks_the_protocol_fails_the_call() -> None:
    report = CallReport("desk", turns=[TurnRow(1, "x", 0)])
    assert not report.failed
    report.faults.append("a binary message")
    assert report.failed
    assert report.as_json()["faults"] == ["a binary message"]
