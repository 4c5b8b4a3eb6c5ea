from __future__ import annotations

import pytest
from support.calls.call_driver import frame, model_setup, wire

from audio.formats import PCM16_8K, AudioFrame
from sessions.commands import AddItem, AddToolOutput, CancelResponse, Configure, ModelCommand, PassToModel, SendAudio
from sessions.outbox import HELD_BYTES, HELD_COMMANDS, HELD_FRAMES, PendingOutbox
from sessions.past import PastMessage
from sessions.values import Wire


def sound(ms: int) -> SendAudio:
    return SendAudio(frame(ms), None)


def test_all_is_kept_in_order_and_taken_once() -> None:
    held = PendingOutbox()
    first, message, second = sound(20), PassToModel(wire("a")), sound(20)
    held.sound(first)
    assert held.add(message, "a")
    held.sound(second)
    assert held.told == {"a"}
    assert held.take() == [first, message, second]
    assert (held.take(), held.told) == ([], set())


def test_sound_past_the_bound_pushes_out_the_oldest_and_nothing_else() -> None:
    held = PendingOutbox()
    held.add(PassToModel(wire("a")), "a")
    for _ in range(501):
        held.sound(sound(20))
    assert held.dropped_ms == 20
    taken = held.take()
    assert len(taken) == 501
    assert isinstance(taken[0], PassToModel)


def test_a_single_long_recording_is_kept_whole() -> None:
    held = PendingOutbox()
    held.sound(sound(20))
    held.sound(sound(15_000))
    assert [type(command) for command in held.take()] == [SendAudio]
    assert held.dropped_ms == 20


def test_sound_in_crumbs_is_bounded_too() -> None:
    held = PendingOutbox()
    for _ in range(HELD_FRAMES * 2):
        held.sound(SendAudio(AudioFrame(b"", PCM16_8K, 0), None))
    assert len(held.take()) == HELD_FRAMES


def test_messages_are_bounded_by_number() -> None:
    held = PendingOutbox()
    assert all(held.add(CancelResponse(None, None), None) for _ in range(HELD_COMMANDS))
    assert not held.add(CancelResponse(None, None), None)
    assert not held.add(AddToolOutput("c", "done", wire("a")), "c")
    assert held.add(AddToolOutput("c", "done", None), "c", ours=True)  # never in such numbers


def test_messages_are_bounded_by_size() -> None:
    held = PendingOutbox()
    big = Wire("realtime", bytes(HELD_BYTES // 2 + 1), {})
    assert held.add(PassToModel(big), "a")
    assert not held.add(PassToModel(big), "b")
    assert held.told == {"a"}
    held.take()
    assert held.add(PassToModel(big), "b")


@pytest.mark.parametrize(
    "big",
    [
        AddItem(PastMessage("a", "user", "x" * HELD_BYTES), "create a", None),
        AddToolOutput("a", "x" * (HELD_BYTES + 1), None),
    ],
)
def test_what_has_no_message_is_measured_too(big: ModelCommand) -> None:
    assert not PendingOutbox().add(big, "a")


def test_settings_that_nothing_was_sent_under_are_overtaken() -> None:
    held = PendingOutbox()
    first, second = Configure(model_setup()), Configure(model_setup(text_only=True))
    held.add(first, None)
    held.add(second, None)
    held.sound(sound(20))
    held.add(first, None)
    assert held.take() == [second, sound(20), first]
