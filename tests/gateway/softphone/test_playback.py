"""The caller's playback: one timeline, cut where the caller barges in."""

from __future__ import annotations

from gateway.softphone.playback import Playback

SECOND = b"\x01\x00" * 24_000


def test_speech_plays_at_once_or_after_what_is_still_playing() -> None:
    ear = Playback()
    ear.take("a", SECOND, now_ms=100)
    ear.take("a", SECOND, now_ms=200)
    ear.take("b", SECOND, now_ms=300)
    assert [(run.item_id, run.begin_ms) for run in ear.runs] == [("a", 100), ("b", 2100)]
    assert ear.until_ms == 3100


def test_a_cut_returns_what_was_heard_and_drops_the_rest() -> None:
    ear = Playback()
    ear.take("a", SECOND, now_ms=0)
    ear.take("b", SECOND, now_ms=10)
    assert ear.cut(1500) == ("b", 500)
    assert ear.until_ms == 1500
    ear.take("c", SECOND, now_ms=2000)
    track = ear.track(4000)
    assert len(track) == 4000 * 48
    assert track[1500 * 48 : 2000 * 48] == bytes(500 * 48)
    assert track[2000 * 48 : 2000 * 48 + 2] == b"\x01\x00"


def test_silence_cannot_be_cut() -> None:
    ear = Playback()
    assert ear.cut(100) is None
    ear.take("a", SECOND, now_ms=0)
    ear.complete()
    assert ear.cut(1000) is None


def test_late_speech_can_be_cut_in_its_gap() -> None:
    ear = Playback()
    ear.take("a", SECOND, now_ms=0)
    assert ear.cut(1300) == ("a", 1000)
    assert ear.until_ms == 1000
    assert ear.cut(1400) is None


def test_speech_that_is_playing_is_cut_before_speech_that_is_scheduled() -> None:
    ear = Playback()
    ear.take("a", SECOND, now_ms=0)
    ear.complete()
    ear.take("b", SECOND, now_ms=10)
    assert ear.cut(500) == ("a", 500)


def test_a_pause_within_an_item_does_not_count_as_heard() -> None:
    ear = Playback()
    ear.take("a", SECOND, now_ms=0)
    ear.take("a", SECOND, now_ms=3000)
    assert ear.cut(3500) == ("a", 1500)
