from __future__ import annotations

import pytest

from sessions.playback import MARKS_LAG_MS, PlaybackLedger, SpokenItem
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
    assert ledger.mark_name("a") == "0:0:a"


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


def test_a_mark_tells_what_was_heard_at_least() -> None:
    ledger = ledger_of(("a", 100))
    mark = ledger.mark_name("a")
    ledger.sent("a", 800, 8_000, 0)
    assert name_of(ledger.echoed(mark)) == "a"
    assert heard(ledger, "a", 150) == (100, Heard.MARKED)
    assert ledger.plays_until_ms == 200  # it plays on
    assert name_of(ledger.sounding(150)) == "a"
    assert not item(ledger, "a").settled(199 + MARKS_LAG_MS)
    assert item(ledger, "a").settled(200 + MARKS_LAG_MS)
    assert name_of(ledger.echoed(ledger.mark_name("a"))) == "a"
    assert item(ledger, "a").settled(200)


def test_marks_echoed_by_a_clear_are_not_heard() -> None:
    ledger = ledger_of(("a", 100))
    mark = ledger.mark_name("a")
    ledger.cleared(40)
    assert ledger.echoed(mark) is None
    assert heard(ledger, "a", 9_000) == (40, Heard.ESTIMATED)


@pytest.mark.parametrize(
    "name", ["", "a", "0:a", "0:10", "1:10:a", "0:x:a", "0:²:a", "0:-1:a", "0:" + "9" * 5_000 + ":a"]
)
def test_marks_that_are_not_ours_mean_nothing(name: str) -> None:
    ledger = ledger_of(("a", 100))
    assert ledger.echoed(name) is None


def test_a_mark_never_claims_more_than_was_sent() -> None:
    ledger = ledger_of(("a", 100))
    ledger.echoed("0:900:a")
    assert heard_ms(ledger, "a", 0) == 100
