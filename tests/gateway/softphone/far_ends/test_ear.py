"""What a caller hears of the sound that reaches a far end."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PCM16_16K, PCMU_8K
from gateway.softphone.far_ends.ear import Ear, LinkDelay


def spoken(ms: int, letter: bytes = b"a") -> bytes:
    return letter * (8 * ms)


def test_sound_is_played_in_order_at_the_formats_speed_from_the_first_payload_on() -> None:
    ear = Ear(PCMU_8K)
    ear.sound(spoken(20, b"a"), 100)
    ear.sound(spoken(20, b"b"), 101)
    assert ear.heard(99) == b""
    assert ear.heard(110) == spoken(10, b"a")
    assert ear.heard(130) == spoken(20, b"a") + spoken(10, b"b")
    assert ear.heard(500) == spoken(20, b"a") + spoken(20, b"b")
    assert ear.held_ms(130) == 10
    assert len(ear.runs) == 1


def test_sound_that_finds_the_buffer_empty_is_played_at_once_after_a_pause() -> None:
    ear = Ear(PCMU_8K)
    ear.sound(spoken(20), 0)
    ear.sound(spoken(20), 50)
    assert [run.begin_ms for run in ear.runs] == [0, 50]
    assert ear.track(80) == spoken(20) + b"\xff" * (8 * 30) + spoken(20) + b"\xff" * 80
    assert ear.heard_bytes(60, since_ms=10) == 8 * 20


def test_a_clear_drops_what_was_not_played_and_gives_the_pending_marks() -> None:
    ear = Ear(PCMU_8K)
    ear.sound(spoken(100), 0)
    ear.mark("one", 0)
    ear.sound(spoken(100), 0)
    ear.mark("two", 0)
    assert ear.wake_ms == 100
    assert ear.reached(99) == []
    assert ear.reached(100) == ["one"]
    assert ear.clear(130) == ["two"]
    assert ear.heard_bytes(1_000) == 8 * 130
    assert (ear.held_ms(130), ear.wake_ms, ear.reached(1_000)) == (0, None, [])
    ear.sound(spoken(20), 131)
    assert ear.heard_bytes(1_000) == 8 * 150


def test_what_was_not_played_can_be_taken_back_with_its_marks() -> None:
    ear = Ear(PCMU_8K)
    ear.sound(spoken(40, b"a"), 0)
    ear.mark("one", 0)
    ear.mark("two", 0)
    ear.sound(spoken(40, b"b"), 0)
    ear.mark("three", 0)
    assert ear.take_back(30) == [spoken(10, b"a"), "one", "two", spoken(40, b"b"), "three"]
    assert ear.heard(1_000) == spoken(30, b"a")
    assert (ear.held_ms(30), ear.wake_ms, ear.take_back(31)) == (0, None, [])


def test_a_mark_without_sound_before_it_is_reached_at_once() -> None:
    ear = Ear(PCMU_8K)
    ear.mark("now", 5)
    assert ear.reached(5) == ["now"]


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    ear = Ear(PCMU_8K, max_held_ms=100)
    assert ear.sound(spoken(100), 0)
    assert not ear.sound(spoken(20), 0)
    assert ear.sound(spoken(20), 1)
    assert ear.dropped_bytes == 160
    assert ear.heard_bytes(1_000) == 8 * 120


def test_sixteen_bit_sound_is_cut_between_samples() -> None:
    ear = Ear(PCM16_16K)
    ear.sound(b"ab" * 1600, 0)
    ear.clear(0.1)
    assert ear.heard(1_000) == b"ab"


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 400), st.booleans()), max_size=30))
def test_whatever_comes_nothing_is_heard_twice_early_or_late(steps: list[tuple[int, int, bool]]) -> None:
    ear = Ear(PCMU_8K)
    now_ms, until_ms, heard_ms = 0, 0, 0
    for pause_ms, ms, clears in steps:
        now_ms += pause_ms
        if clears:
            heard_ms -= max(0, until_ms - now_ms)
            until_ms = min(until_ms, now_ms)
            ear.clear(now_ms)
        else:
            ear.sound(spoken(ms), now_ms)
            until_ms = max(until_ms, now_ms) + ms
            heard_ms += ms
        assert ear.heard_bytes(now_ms) == 8 * (heard_ms - max(0, until_ms - now_ms))
    assert ear.heard_bytes(10**9) == 8 * heard_ms


def test_a_link_delays_and_keeps_the_order() -> None:
    steady = LinkDelay(60)
    assert [steady.arrival_ms(at) for at in (0, 20, 40)] == [60, 80, 100]
    loose = LinkDelay(60, 60, random.Random(1))
    arrivals = [loose.arrival_ms(at) for at in range(0, 2_000, 5)]
    assert arrivals == sorted(arrivals)
    assert all(at <= arrival for at, arrival in zip(range(0, 2_000, 5), arrivals, strict=True))
    assert max(arrival - at for at, arrival in zip(range(0, 2_000, 5), arrivals, strict=True)) > 100
