"""Latency out of the sound itself."""

from __future__ import annotations

import math
import struct

from gateway.phone.playback import Playback, Played
from gateway.phone.report import CallReport, TurnRow, measure


def tone(ms: int) -> bytes:
    """A sine, well above the gate."""
    return b"".join(struct.pack("<h", int(8000 * math.sin(n * 0.2))) for n in range(ms * 24))


def quiet(ms: int) -> bytes:
    """Nothing."""
    return bytes(ms * 48)


def played(begin_ms: int, pcm: bytes) -> Played:
    """Sound of the agent from this moment on."""
    return Played("item", begin_ms, bytearray(pcm))


def test_latency_runs_from_the_last_audible_sample_to_the_first() -> None:
    caller = quiet(100) + tone(500) + quiet(1400)
    turn = TurnRow(1, "x", begin_ms=0, end_ms=900)
    measure([turn], caller, [played(1150, quiet(100) + tone(400))])
    assert turn.latency_ms is not None
    assert abs(turn.latency_ms - 650) <= 5


def test_an_answer_begins_where_its_own_sound_does_whenever_it_was_played() -> None:
    """The levels lie as they do in the gateway, which takes them from the first sample of the answer."""
    caller, answer = tone(500) + quiet(1500), quiet(40) + tone(400)
    for begin_ms in range(700, 710):
        turn = TurnRow(1, "x", begin_ms=0, end_ms=520)
        measure([turn], caller, [played(begin_ms, answer)])
        assert turn.latency_ms == begin_ms + 40 - 500


def test_an_answer_that_sounds_on_past_the_last_frame_of_the_caller_is_counted() -> None:
    turn = TurnRow(1, "x", begin_ms=0, end_ms=300)
    measure([turn], tone(300), [played(400, tone(200))])
    assert turn.latency_ms == 100


def test_sound_from_before_the_turn_ended_is_no_answer_to_it() -> None:
    """A barge-in: the agent spoke until it heard the caller, and again afterwards."""
    playback = Playback()
    playback.take("first", tone(3000), 0)
    playback.cut(1200)
    playback.take("second", tone(300), 2000)
    turn = TurnRow(1, "x", begin_ms=1000, end_ms=1500)
    measure([turn], quiet(1000) + tone(500) + quiet(1000), playback.runs)
    assert turn.latency_ms == 500


def test_a_silent_recording_has_none_and_neither_has_a_turn_without_an_answer() -> None:
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


def test_a_report_has_failed_when_a_turn_has_or_there_is_none() -> None:
    assert CallReport("a").failed
    assert not CallReport("a", turns=[TurnRow(1, "x", 0)]).failed
    assert CallReport("a", turns=[TurnRow(1, "x", 0, error="no answer")]).failed
