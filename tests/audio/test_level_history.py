"""Tests for levels and their times: stretches that begin, move and end."""

from __future__ import annotations

from audio.level_history import GATE, WINDOW_MS, LevelHistory


def history(*stretches: tuple[float, list[int]]) -> LevelHistory:
    """Make a history; each stretch is given as its start in ms and its levels."""
    made = LevelHistory()
    for begin_ms, levels in stretches:
        made.begin_stretch(len(made.levels), begin_ms)
        made.levels.extend(levels)
    return made


LOUD = [GATE] * 4
QUIET = [GATE - 1] * 4


def test_audible_sound_has_the_time_of_its_stretch() -> None:
    made = history((1000, QUIET + LOUD), (2000, LOUD))
    assert (made.first_audible_ms(None, GATE), made.last_audible_ms(None, GATE)) == (1020, 2020)
    assert made.first_audible_ms(1041, GATE) == 2000
    assert made.last_audible_ms(1999, GATE) == 1040
    assert made.first_audible_ms(None, GATE + 1) is None
    assert made.loud_now


def test_a_stretch_without_windows_is_replaced_by_the_next() -> None:
    made = history((1000, QUIET), (2000, []), (3000, LOUD))
    assert made.first_audible_ms(None, GATE) == 3000


def test_a_stretch_that_moves_back_moves_the_earlier_ones_too() -> None:
    made = history((0, LOUD), (100, LOUD), (200, LOUD))
    made.move_back(50)
    assert made.first_audible_ms(110, GATE) == 110
    assert made.last_audible_ms(149, GATE) == 120
    made.move_back(100)
    assert (made.first_audible_ms(None, GATE), made.last_audible_ms(None, GATE)) == (0, 70)
    made.move_back(60)
    assert (made.first_audible_ms(None, GATE), made.last_audible_ms(None, GATE)) == (-50, 10)


def test_the_oldest_windows_are_dropped_and_the_rest_keep_their_times() -> None:
    made = history((0, LOUD), (100, LOUD))
    made.trim(11)
    assert (made.first_audible_ms(None, GATE), made.last_audible_ms(None, GATE)) == (10, 120)
    assert len(made.levels) == 6
    made.drop_oldest(0)
    made.trim(105)
    assert (made.first_audible_ms(None, 1), len(made.levels)) == (105, 3)
    made.trim(5000)
    assert len(made.levels) == 0


def test_the_newest_windows_can_be_removed() -> None:
    made = history((0, LOUD), (100, LOUD))
    assert [made.begun_by(ms) for ms in (-1, 1, 20, 99, 101, 900)] == [0, 1, 4, 4, 5, 8]
    made.keep_oldest(4)
    assert made.last_audible_ms(None, GATE) == 4 * WINDOW_MS
    made.begin_stretch(4, 500)
    made.levels.extend(LOUD)
    assert made.last_audible_ms(None, GATE) == 520
    made.keep_oldest(0)
    assert made.first_audible_ms(None, GATE) is None
    assert not made.loud_now
