from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.pacing import LATE_FRAMES, MAX_COUNTED_MS, AheadPace, ExactPace, Pace

FRAME_MS = 20


def frames(pace: Pace, now_ms: int, waiting: int) -> int:
    """Send as many of the waiting frames as may leave now, or where silence is due a frame of it: returns how many."""
    sent = 0
    while room_ms := pace.room_ms(now_ms):
        speech = min(int(room_ms) // FRAME_MS, waiting - sent)
        pace.sent(speech * FRAME_MS, now_ms)
        if isinstance(pace, ExactPace):
            return max(speech, 1)
        if not speech:
            break
        sent += speech
    return sent


def sent_at(pace: Pace, *times_ms: int, waiting: int = 50) -> list[int]:
    return [frames(pace, now_ms, waiting) for now_ms in times_ms]


def test_exact_pacing_sends_one_frame_in_each_frames_time() -> None:
    pace = ExactPace(FRAME_MS)
    assert pace.wake_ms(True) is None
    assert sent_at(pace, 0, 1, 9, 20, 21, 40, 60) == [1, 0, 0, 1, 0, 1, 1]
    assert pace.wake_ms(False) == 80


def test_a_tick_may_be_half_a_frame_early() -> None:
    assert sent_at(ExactPace(FRAME_MS), 0, 10, 40, 49) == [1, 1, 1, 0]


def test_a_late_tick_is_caught_up_with_and_moves_no_other() -> None:
    assert sent_at(ExactPace(FRAME_MS), 0, 27, 41, 99, 100, 120) == [1, 1, 1, 2, 1, 1]


def test_after_a_stall_missed_times_are_skipped_on_the_same_grid() -> None:
    pace = ExactPace(FRAME_MS)
    assert sent_at(pace, 0, 507, 508, 520) == [1, 1, 0, 1]
    assert pace.wake_ms(True) == 540


def test_silence_that_was_missed_is_not_caught_up_with() -> None:
    pace = ExactPace(FRAME_MS)
    assert sent_at(pace, 0, waiting=0) == [1]
    assert sent_at(pace, 67, 80) == [1, 1]


def test_a_clear_leaves_exact_pacing_on_its_grid() -> None:
    pace = ExactPace(FRAME_MS)
    frames(pace, 0, 5)
    pace.clear()
    assert sent_at(pace, 1, 65, 80) == [0, 1, 1]


def test_sound_begins_to_be_played_at_the_grids_time() -> None:
    pace = ExactPace(FRAME_MS)
    assert pace.next_ms(7) == 7
    assert pace.sent(20, 7) == 7
    assert [pace.next_ms(now_ms) for now_ms in (8, 27, 60, 106, 107, 200)] == [27, 27, 27, 27, 107, 187]


def test_a_far_end_that_holds_sound_is_filled_at_once_and_refilled_when_half_is_gone() -> None:
    pace = AheadPace(FRAME_MS, 400, None)
    assert sent_at(pace, 0, 1, 180, 189) == [20, 0, 0, 0]
    assert pace.wake_ms(True) == 200
    assert pace.wake_ms(False) is None
    assert sent_at(pace, 200, 380, 400) == [10, 0, 10]


def test_a_slow_model_is_not_waited_for() -> None:
    pace = AheadPace(FRAME_MS, 400, None)
    assert sent_at(pace, 0, 20, 40, waiting=1) == [1, 1, 1]


def test_a_far_end_that_has_run_dry_begins_anew() -> None:
    pace = AheadPace(FRAME_MS, 100, None)
    assert (sent_at(pace, 0, waiting=3), pace.next_ms(30), pace.next_ms(90)) == ([3], 60, 90)
    assert sent_at(pace, 75) == [5]
    assert pace.next_ms(75) == 175


def test_after_a_clear_the_far_end_is_filled_again() -> None:
    pace = AheadPace(FRAME_MS, 100, None)
    frames(pace, 0, 9)
    pace.clear()
    assert (pace.next_ms(1), pace.wake_ms(True)) == (1, None)
    assert frames(pace, 1, 9) == 5


def test_what_leaves_in_one_step_is_limited() -> None:
    pace = AheadPace(FRAME_MS, 400, 200)
    rooms = []
    while room_ms := pace.room_ms(0):
        rooms.append(room_ms)
        pace.sent(room_ms, 0)
    assert rooms == [200, 200]


@given(
    ahead_ms=st.sampled_from((0, 40, 200, 400)),
    steps=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 30)), min_size=1, max_size=60),
)
def test_sending_is_never_further_ahead_than_allowed(ahead_ms: int, steps: list[tuple[int, int]]) -> None:
    pace: Pace = AheadPace(FRAME_MS, ahead_ms, None) if ahead_ms else ExactPace(FRAME_MS)
    now_ms, waiting, played_ms = 0, 0, 0.0
    for step_ms, arrived in steps:
        now_ms += step_ms
        waiting += arrived
        sent = frames(pace, now_ms, waiting)
        waiting = max(0, waiting - sent)
        if sent:
            # The far end's own view: sound is played behind what it has, and what is missing is missed.
            played_ms = max(played_ms, now_ms) + sent * FRAME_MS
        # With exact pacing: what was missed, the frame that is due, and two ticks that came half a frame early.
        assert played_ms - now_ms <= (ahead_ms or (LATE_FRAMES + 3) * FRAME_MS)
        assert ahead_ms == 0 or not waiting or played_ms - now_ms >= ahead_ms / 2 - FRAME_MS


@pytest.mark.parametrize("pace", [ExactPace(FRAME_MS), AheadPace(FRAME_MS, 400, None)])
def test_asking_changes_nothing(pace: Pace) -> None:
    assert [pace.room_ms(5) for _ in range(3)] == [pace.room_ms(5)] * 3
    assert pace.next_ms(7) == 7


def test_a_far_end_that_plays_slower_than_the_clock_is_waited_for() -> None:
    pace = AheadPace(FRAME_MS, 200, None)
    assert frames(pace, 0, 99) == 10
    pace.holds(400, 100)  # by the clock it should hold 100
    assert (pace.next_ms(100), frames(pace, 200, 99), frames(pace, 400, 99)) == (500, 0, 5)


@pytest.mark.parametrize("held_ms", [0, 100, 150, 200])
def test_a_count_that_is_about_right_changes_nothing(held_ms: int) -> None:
    pace = AheadPace(FRAME_MS, 200, None)
    frames(pace, 0, 99)
    pace.holds(held_ms, 100)
    assert pace.next_ms(100) == 200


def test_a_count_that_cannot_be_right_delays_speech_by_two_seconds_at_most() -> None:
    pace = AheadPace(FRAME_MS, 200, None)
    pace.holds(20_000, 0)
    assert pace.next_ms(0) == MAX_COUNTED_MS


def test_what_one_without_a_store_counts_changes_nothing() -> None:
    pace = ExactPace(FRAME_MS)
    frames(pace, 0, 9)
    pace.holds(400, 1)
    assert pace.next_ms(20) == 20
