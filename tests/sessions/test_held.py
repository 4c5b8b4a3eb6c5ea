from __future__ import annotations

from call_driver import frame, model_setup, wire

from audio.formats import PCM16_8K, AudioFrame
from sessions.commands import AddToolOutput, CancelResponse, Configure, PassToModel, SendAudio
from sessions.events import Wire
from sessions.state import HELD_BYTES, HELD_COMMANDS, HELD_FRAMES, Held, Meter


def sound(ms: int) -> SendAudio:
    return SendAudio(frame(ms), None)


def test_all_is_kept_in_order_and_taken_once() -> None:
    held = Held()
    first, message, second = sound(20), PassToModel(wire("a")), sound(20)
    held.sound(first)
    assert held.add(message, "a")
    held.sound(second)
    assert held.told == {"a"}
    assert held.take() == [first, message, second]
    assert (held.take(), held.told) == ([], set())


def test_sound_past_the_bound_pushes_out_the_oldest_and_nothing_else() -> None:
    held = Held()
    held.add(PassToModel(wire("a")), "a")
    for _ in range(501):
        held.sound(sound(20))
    assert held.dropped_ms == 20
    taken = held.take()
    assert len(taken) == 501
    assert isinstance(taken[0], PassToModel)


def test_a_single_long_recording_is_kept_whole() -> None:
    held = Held()
    held.sound(sound(20))
    held.sound(sound(15_000))
    assert [type(command) for command in held.take()] == [SendAudio]
    assert held.dropped_ms == 20


def test_sound_in_crumbs_is_bounded_too() -> None:
    held = Held()
    for _ in range(HELD_FRAMES * 2):
        held.sound(SendAudio(AudioFrame(b"", PCM16_8K, 0), None))
    assert len(held.take()) == HELD_FRAMES


def test_messages_are_bounded_by_number() -> None:
    held = Held()
    assert all(held.add(CancelResponse(None, None), None) for _ in range(HELD_COMMANDS))
    assert not held.add(CancelResponse(None, None), None)
    assert held.add(AddToolOutput("c", "done"), "c")  # ours, and never in such numbers


def test_messages_are_bounded_by_size() -> None:
    held = Held()
    big = Wire("realtime", bytes(HELD_BYTES // 2 + 1), {})
    assert held.add(PassToModel(big), "a")
    assert not held.add(PassToModel(big), "b")
    assert held.told == {"a"}
    held.take()
    assert held.add(PassToModel(big), "b")


def test_settings_that_nothing_was_sent_under_are_overtaken() -> None:
    held = Held()
    first, second = Configure(model_setup()), Configure(model_setup(text_only=True))
    held.add(first, None)
    held.add(second, None)
    held.sound(sound(20))
    held.add(first, None)
    assert held.take() == [second, sound(20), first]


def test_sums_are_kept_across_a_change_of_rate() -> None:
    meter = Meter()
    meter.caller_rate(8_000)
    meter.caller_samples += 8_000
    meter.caller_rate(24_000)
    meter.agent_rate(8_000)
    meter.agent_samples += 4_000
    meter.agent_rate(16_000)
    assert (meter.caller_samples, meter.agent_samples) == (24_000, 8_000)
