from __future__ import annotations

from support.calls.call_driver import frame

from audio.formats import PCM16_16K, AudioFrame
from sessions.timing import TRIM_EVERY_MS, CallTimeouts, Stopwatch


def hear(watch: Stopwatch, sound: AudioFrame, at_ms: int) -> None:
    watch.caller_track(sound.format).feed(sound, at_ms)


def spoken(watch: Stopwatch, until_ms: int, ms: int = 200, *, loud: bool = True) -> None:
    """Caller sound that has arrived by then, in frames of 20 ms."""
    for at_ms in range(until_ms - ms + 20, until_ms + 1, 20):
        hear(watch, frame(20, loud=loud), at_ms)


def test_latency_is_counted_between_what_both_sides_can_hear() -> None:
    watch = Stopwatch()
    spoken(watch, 1_000)
    spoken(watch, 1_500, 500, loud=False)
    watch.answer_begins()
    assert watch.agent_sound(frame(100, loud=False), 1_600) is None
    assert watch.agent_sound(frame(20), 1_700) == 700


def test_an_answer_is_measured_once() -> None:
    watch = Stopwatch()
    spoken(watch, 1_000)
    watch.answer_begins()
    assert watch.agent_sound(frame(20), 1_200) == 200
    assert not watch.listening
    assert watch.agent_sound(frame(20), 1_220) is None


def test_typed_text_ends_a_turn_at_once() -> None:
    watch = Stopwatch()
    spoken(watch, 1_000)
    watch.caller_typed(3_000)
    watch.answer_begins()
    assert watch.agent_sound(frame(20), 3_400) == 400


def test_a_caller_who_speaks_after_typing_is_measured_by_speech() -> None:
    watch = Stopwatch()
    watch.caller_typed(500)
    watch.caller_speaks()
    spoken(watch, 1_000)
    watch.answer_begins()
    assert watch.text_answer(1_100) is None
    assert watch.agent_sound(frame(20), 1_200) == 200


def test_a_written_answer_to_typed_text_is_measured_once() -> None:
    watch = Stopwatch()
    watch.caller_typed(500)
    assert watch.text_answer(600) is None  # no answer has begun
    watch.answer_begins()
    assert watch.text_answer(700) == 200
    assert watch.text_answer(800) is None


def test_without_a_caller_there_is_no_latency() -> None:
    watch = Stopwatch()
    watch.answer_begins()
    assert watch.agent_sound(frame(20), 100) is None
    assert watch.caller_audible_ms is None


def test_an_answer_that_began_before_the_caller_ended_took_no_time() -> None:
    watch = Stopwatch()
    watch.caller_typed(1_000)
    watch.answer_begins()
    assert watch.agent_sound(frame(20), 900) == 0


def test_a_long_silent_lead_in_is_found_its_end() -> None:
    watch = Stopwatch()
    spoken(watch, 1_000)
    watch.answer_begins()
    for n in range(TRIM_EVERY_MS // 10):
        assert watch.agent_sound(frame(20, loud=False), 1_000 + n * 20) is None
    assert watch.agent_sound(frame(20), 3_000) == 2_000


def test_a_change_of_format_begins_a_new_track() -> None:
    watch = Stopwatch()
    spoken(watch, 1_000)
    hear(watch, AudioFrame(bytes(640), PCM16_16K, 0), 1_020)
    assert watch.caller_audible_ms is None
    watch.answer_begins()
    watch.agent_sound(frame(20, loud=False), 1_100)
    assert watch.agent_sound(AudioFrame(bytes(640), PCM16_16K, 0), 1_120) is None


def test_the_caller_was_last_audible() -> None:
    watch = Stopwatch()
    spoken(watch, 1_000)
    spoken(watch, 1_500, 500, loud=False)
    assert watch.caller_audible_ms == 1_000


def test_a_call_has_a_length() -> None:
    limits = CallTimeouts(100, 1_000, None)
    assert limits.deadline_ms == 1_100
    assert (limits.reached(1_099), limits.reached(1_100)) == (None, "length_limit")


def test_a_silence_has_a_length_and_starts_again() -> None:
    limits = CallTimeouts(0, 10_000, 500)
    assert (limits.deadline_ms, limits.reached(500)) == (500, "idle_limit")
    limits.active(300)
    limits.active(200)
    assert (limits.active_ms, limits.deadline_ms, limits.reached(500)) == (300, 800, None)
    limits.active(9_900)
    assert limits.deadline_ms == 10_000
