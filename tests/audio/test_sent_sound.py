from __future__ import annotations

import pytest

from audio.formats import PCM16_24K, PCMU_8K
from audio.sent_sound import MAX_PIECES, SentSound
from audio.sound_queue import Stretch


def sent(*stretches: tuple[str, int, int]) -> SentSound:
    """Sound that has left, each run in milliseconds of mu-law."""
    made = SentSound(PCMU_8K)
    for item_id, start_ms, ms in stretches:
        made.left([Stretch(item_id, start_ms * 8, ms * 8)])
    return made


@pytest.mark.parametrize(("dropped_ms", "played_ms"), [(0, 400), (60, 340), (400, 0)])
def test_what_was_dropped_was_not_played(dropped_ms: int, played_ms: int) -> None:
    assert sent(("a", 0, 200), ("a", 200, 200)).played_ms(dropped_ms) == (("a", played_ms),)


@pytest.mark.parametrize(
    ("dropped_ms", "played_ms"),
    [
        (0, (("a", 300), ("b", 40), ("c", 100))),
        (90, (("a", 300), ("b", 40), ("c", 10))),
        (120, (("a", 300), ("b", 20), ("c", 0))),
        (200, (("a", 240), ("b", 0), ("c", 0))),
    ],
)
def test_what_was_dropped_may_reach_back_into_items_before(
    dropped_ms: int, played_ms: tuple[tuple[str, int], ...]
) -> None:
    assert sent(("a", 0, 300), ("b", 0, 40), ("c", 0, 100)).played_ms(dropped_ms) == played_ms


def test_a_far_end_cannot_drop_more_than_has_left() -> None:
    assert sent(("a", 0, 100)).played_ms(101) == ()
    assert sent().played_ms(0) == sent().played_ms(20) == ()


def test_silence_behind_an_item_counts_where_it_leaves() -> None:
    made = SentSound(PCMU_8K)
    made.padded(50 * 8, 10 * 8)  # while 50 ms wait
    made.left([Stretch("a", 0, 50 * 8), Stretch("b", 0, 40 * 8)])
    assert made.played_ms(0) == (("a", 50), ("b", 40))
    assert made.played_ms(40) == (("a", 50), ("b", 0))
    assert made.played_ms(50) == (("a", 50), ("b", 0))
    assert made.played_ms(60) == (("a", 40), ("b", 0))
    made.padded(0, 20 * 8)
    made.left([Stretch("b", 40 * 8, 20 * 8)])
    assert made.played_ms(20) == (("a", 50), ("b", 40))
    assert made.played_ms(40) == (("a", 50), ("b", 40))
    assert made.played_ms(60) == (("a", 50), ("b", 20))


def test_an_item_that_goes_on_behind_another_is_played_up_to_its_first_gap() -> None:
    made = sent(("a", 0, 100), ("b", 0, 100), ("a", 100, 100))
    assert made.played_ms(50) == (("a", 150), ("b", 100))
    assert made.played_ms(150) == (("a", 100), ("b", 50))
    assert made.played_ms(250) == (("a", 50), ("b", 0))


def test_positions_count_from_the_items_first_sample_in_any_format() -> None:
    made = SentSound(PCM16_24K)
    made.left([Stretch("a", 24_000, 2_400)])
    assert made.played_ms(40) == (("a", 1_060),)


def test_of_a_long_call_only_the_last_items_are_known() -> None:
    made = sent(*((f"item {number}", 0, 20) for number in range(100)))
    played_ms = dict(made.played_ms(30))
    assert len(played_ms) == MAX_PIECES
    assert [played_ms[f"item {number}"] for number in (97, 98, 99)] == [20, 10, 0]
