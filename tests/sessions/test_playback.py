from __future__ import annotations

import pytest

from audio.departures import Departure
from sessions.playback import PlaybackLedger, SpokenItem
from sessions.record import Heard, PlayedSpan


def ledger_of(*items: tuple[str, int], now_ms: int = 0) -> PlaybackLedger:
    """A ledger to which items of so many milliseconds were sent at once."""
    ledger = PlaybackLedger()
    for name, ms in items:
        ledger.sent(name, ms * 8, 8_000, now_ms)
    return ledger


def item(ledger: PlaybackLedger, name: str) -> SpokenItem:
    found = ledger.find(name)
    assert found is not None
    return found


def heard(ledger: PlaybackLedger, name: str, now_ms: int) -> tuple[int, Heard]:
    return item(ledger, name).heard_ms(now_ms), item(ledger, name).label


def heard_ms(ledger: PlaybackLedger, name: str, now_ms: int) -> int:
    return item(ledger, name).heard_ms(now_ms)


def name_of(found: SpokenItem | None) -> str | None:
    return found.item_id if found is not None else None


def test_speech_sent_ahead_sounds_one_piece_after_the_other() -> None:
    ledger = PlaybackLedger()
    assert ledger.sent("a", 800, 8_000, 0) == 0
    assert ledger.sent("a", 800, 8_000, 10) == 100
    assert ledger.sent("b", 800, 8_000, 20) == 200
    assert ledger.plays_until_ms == 300
    assert [heard_ms(ledger, name, 250) for name in "ab"] == [200, 50]
    assert ledger.spans(250) == (PlayedSpan("a", 0, 200), PlayedSpan("b", 200, 50))
    assert [name_of(ledger.sounding(now_ms)) for now_ms in (199, 200, 300)] == ["a", "b", None]


def test_after_a_pause_speech_sounds_at_once() -> None:
    ledger = ledger_of(("a", 100))
    assert ledger.sent("b", 80, 8_000, 5_000) == 5_000


def test_crumbs_of_sound_add_up() -> None:
    ledger = PlaybackLedger()
    for _ in range(8_000):
        ledger.sent("a", 1, 8_000, 0)
    assert (item(ledger, "a").sent_ms, ledger.plays_until_ms) == (1_000, 1_000)


def test_an_item_whose_rate_changes_keeps_its_length() -> None:
    ledger = PlaybackLedger()
    ledger.sent("a", 8_000, 8_000, 0)
    ledger.sent("a", 24_000, 24_000, 0)
    assert item(ledger, "a").sent_ms == 2_000


def test_of_an_item_never_sent_nothing_is_known() -> None:
    ledger = PlaybackLedger()
    assert ledger.find("a") is None
    assert not ledger.reported("a", 100, 0)
    assert ledger.echoed("a", 100, 0) is None
    ledger.left([departed("a", 0, 100, 0)])
    assert ledger.spans(100) == ()


def test_an_interruption_stops_what_sounds_and_what_waits() -> None:
    ledger = ledger_of(("a", 100), ("b", 100), ("c", 100))
    ledger.interrupted(150)
    assert [heard_ms(ledger, name, 9_000) for name in "abc"] == [100, 50, 0]
    assert ledger.plays_until_ms == 150


def test_sound_that_comes_after_the_cut_is_sent_but_not_heard() -> None:
    ledger = ledger_of(("a", 100))
    ledger.interrupted(50)
    ledger.sent("a", 800, 8_000, 60)
    assert heard_ms(ledger, "a", 9_000) == 50
    assert item(ledger, "a").sent_ms == 200
    assert ledger.plays_until_ms == 50


def test_a_report_is_believed_over_every_estimate() -> None:
    ledger = ledger_of(("a", 100), ("b", 100))
    assert ledger.reported("a", 40, 60)
    assert heard(ledger, "a", 9_000) == (40, Heard.REPORTED)
    assert heard(ledger, "b", 9_000) == (0, Heard.ESTIMATED)
    ledger.reported("a", 70, 9_000)
    assert heard_ms(ledger, "a", 9_000) == 70


def test_a_report_of_a_cut_item_leaves_later_ones_alone() -> None:
    ledger = ledger_of(("a", 100))
    ledger.interrupted(50)
    ledger.sent("b", 800, 8_000, 60)
    ledger.reported("a", 40, 80)
    assert heard_ms(ledger, "b", 9_000) == 100


# ---- marks


def marked_ledger(took_ms: int = 60, **items: int) -> PlaybackLedger:
    """A ledger with items, sent at 0, whose first second was marked: each mark takes as long to come back."""
    ledger = ledger_of(*items.items())
    for position_ms in range(200, 1_200, 200):
        ledger.echoed("a", position_ms, position_ms + took_ms)
    return ledger


@pytest.mark.parametrize("took_ms", [0, 60, 900])
def test_the_clock_is_right_between_marks_however_long_they_take(took_ms: int) -> None:
    ledger = marked_ledger(took_ms, a=3_000)
    assert heard(ledger, "a", 1_399) == (1_399, Heard.MARKED)


def test_a_mark_that_is_later_than_usual_moves_the_clock_back_by_the_difference() -> None:
    ledger = marked_ledger(60, a=3_000, b=500)
    assert ledger.echoed("a", 1_200, 1_560) is item(ledger, "a")  # 300 ms later
    assert heard(ledger, "a", 1_600) == (1_300, Heard.MARKED)
    assert item(ledger, "b").begin_ms == 3_300
    assert ledger.plays_until_ms == 3_800
    ledger.echoed("a", 1_400, 1_760)  # as late as the clock now expects
    assert heard_ms(ledger, "a", 1_800) == 1_500


def test_a_mark_never_moves_the_clock_forward() -> None:
    ledger = marked_ledger(60, a=3_000)
    ledger.echoed("a", 1_900, 1_100)
    assert heard_ms(ledger, "a", 1_100) == 1_100


def test_a_late_mark_at_the_start_says_when_playback_began() -> None:
    ledger = marked_ledger(60, a=1_000, b=1_000)
    ledger.echoed("b", 0, 1_260)
    assert (item(ledger, "a").heard_ms(1_300), item(ledger, "b").begin_ms) == (1_000, 1_200)
    assert heard_ms(ledger, "b", 1_300) == 100


def test_what_counted_as_over_is_played_still_where_a_mark_says_so() -> None:
    ledger = marked_ledger(60, a=1_400)
    assert item(ledger, "a").settled(1_400)
    ledger.echoed("a", 1_000, 1_560)
    assert not item(ledger, "a").settled(1_560)
    assert name_of(ledger.sounding(1_560)) == "a"
    ledger.interrupted(1_600)
    assert heard(ledger, "a", 9_000) == (1_100, Heard.MARKED)


def test_a_mark_of_speech_that_was_stopped_means_nothing() -> None:
    ledger = ledger_of(("a", 100))
    ledger.interrupted(40)
    assert ledger.echoed("a", 100, 50) is None
    assert heard(ledger, "a", 9_000) == (40, Heard.ESTIMATED)


@pytest.mark.parametrize("position_ms", [-50, 900, 10**9])
def test_a_mark_never_claims_more_than_was_sent(position_ms: int) -> None:
    ledger = ledger_of(("a", 100))
    ledger.echoed("a", position_ms, 20)
    assert heard(ledger, "a", 20) == (20, Heard.MARKED)
    assert heard_ms(ledger, "a", 9_000) == 100


# ---- what has left the play-out


def departed(item_id: str, start_ms: int, ms: int, at_ms: float, *, kept: bool = False) -> Departure:
    return Departure(item_id, start_ms * 8, ms * 8, 8_000, at_ms, kept)


def test_the_clock_counts_from_the_first_frame_that_leaves_to_at_most_what_has_left() -> None:
    ledger = ledger_of(("a", 1_000))
    ledger.left([departed("a", 0, 400, 30)])
    assert [heard_ms(ledger, "a", now_ms) for now_ms in (30, 230, 430, 5_000)] == [0, 200, 400, 400]
    assert ledger.plays_until_ms == 1_030
    assert not item(ledger, "a").settled(5_000)  # the rest waits


def test_what_leaves_late_is_heard_late_and_so_is_all_that_follows() -> None:
    ledger = ledger_of(("a", 400), ("b", 400))
    ledger.left([departed("a", 0, 200, 0), departed("a", 200, 0, 350), departed("a", 200, 200, 350)])
    assert heard_ms(ledger, "a", 400) == 250
    assert item(ledger, "b").begin_ms == 550
    assert ledger.plays_until_ms == 950
    ledger.left([departed("b", 0, 400, 550)])
    assert [heard_ms(ledger, "b", now_ms) for now_ms in (550, 600)] == [0, 50]
    assert item(ledger, "b").settled(950)


def test_a_far_end_that_holds_nothing_plays_all_that_has_left() -> None:
    ledger = ledger_of(("a", 400), ("b", 400))
    ledger.left([departed("a", 0, 60, 10, kept=True)])
    ledger.interrupted(52)
    assert [heard_ms(ledger, name, 9_000) for name in "ab"] == [60, 0]
    ledger.left([departed("a", 60, 20, 70, kept=True)])
    assert heard_ms(ledger, "a", 9_000) == 60


# ---- what the far end has dropped


@pytest.mark.parametrize(("played_ms", "expected_ms"), [(340, 340), (430, 430), (0, 0), (-20, 0), (10**9, 500)])
def test_what_the_far_end_had_played_at_a_clear_replaces_the_estimate(played_ms: int, expected_ms: int) -> None:
    ledger = ledger_of(("a", 1_000))
    ledger.left([departed("a", 0, 500, 0)])
    ledger.interrupted(380)
    assert ledger.dropped("a", played_ms)
    assert heard(ledger, "a", 9_000) == (expected_ms, Heard.REPORTED)


def test_an_item_that_counted_as_over_was_stopped_where_some_of_it_was_dropped() -> None:
    ledger = ledger_of(("a", 200), ("b", 200))
    ledger.left([departed("a", 0, 200, 0), departed("b", 0, 100, 200)])
    ledger.interrupted(210)
    assert ledger.dropped("a", 180)
    assert ledger.dropped("b", 0)
    assert [heard(ledger, name, 9_000) for name in "ab"] == [(180, Heard.REPORTED), (0, Heard.REPORTED)]
    assert item(ledger, "a").settled(0)


def test_an_item_that_was_played_whole_stays_as_it_is_and_an_unknown_one_is_nothing() -> None:
    ledger = ledger_of(("a", 200))
    ledger.left([departed("a", 0, 200, 0)])
    ledger.interrupted(300)
    assert not ledger.dropped("a", 200)
    assert not ledger.dropped("b", 100)
    assert heard(ledger, "a", 9_000) == (200, Heard.ESTIMATED)
    assert ledger.find("b") is None


def test_an_item_that_plays_already_is_not_pushed_by_one_before_it() -> None:
    ledger = ledger_of(("a", 100), ("b", 100), ("a", 100))
    ledger.left([departed("a", 0, 100, 0), departed("b", 0, 100, 100), departed("a", 100, 100, 200)])
    assert [heard_ms(ledger, name, 250) for name in "ab"] == [150, 100]
    assert ledger.plays_until_ms == 300
