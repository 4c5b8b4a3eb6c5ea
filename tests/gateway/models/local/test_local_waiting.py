"""gateway/models/local/waiting.py: what waits is heard in slices, each in its slot"""

from __future__ import annotations

from local_world import parts_or_skip

from audio.formats import PCM16_24K, AudioFrame
from gateway.models.local.backlog import FRAME_MS, SLICE_MS, SLOT_MS, Roster
from gateway.models.local.detector import SpeechModel
from gateway.models.local.hearing import Hearing
from gateway.models.local.mind import Spoken
from gateway.models.local.waiting import LateSound, Recording, WaitingSound


def hearing() -> Hearing:
    return Hearing(SpeechModel(parts_or_skip().speech_model), None)


def sound(ms: int) -> AudioFrame:
    return AudioFrame(bytes(PCM16_24K.bytes_for_ms(ms)), PCM16_24K, 0)


def recording(ms: int) -> Recording:
    return Recording(Spoken("item_1"), hearing(), "open", sound(ms).payload, PCM16_24K)


class Call:
    """Sound that waits, and what was heard of it."""

    def __init__(self, roster: Roster | None = None) -> None:
        self.frames: list[AudioFrame] = []
        self.recordings: list[Recording] = []
        self.waiting = WaitingSound(roster or Roster(), self.recordings.append)

    def put(self, ms: int, now_ms: int = 0) -> None:
        self.waiting.put(LateSound(sound(ms), hearing(), self.frames.append), now_ms)


def test_after_each_slice_comes_a_step_for_what_came_of_it() -> None:
    call = Call()
    call.put(2 * SLICE_MS)
    assert call.waiting.due_ms(0) == 0
    assert call.waiting.on_time(0)
    assert len(call.frames) == SLICE_MS // FRAME_MS
    assert call.waiting.due_ms(1) == 1
    assert not call.waiting.on_time(1)
    assert call.waiting.due_ms(1) == SLOT_MS
    assert not call.waiting.on_time(SLOT_MS - 1)
    assert call.waiting.on_time(SLOT_MS)
    assert len(call.frames) == 2 * SLICE_MS // FRAME_MS


def test_a_slot_that_another_call_has_just_used_is_booked_anew() -> None:
    roster = Roster()
    call = Call(roster)
    call.put(SLICE_MS)
    roster.begin(10)
    assert call.waiting.on_time(10)
    assert not call.frames
    assert call.waiting.due_ms(10) == 10 + SLOT_MS


def test_nothing_is_due_once_all_is_heard() -> None:
    call = Call()
    call.put(SLICE_MS)
    call.waiting.hear_all()
    assert not call.waiting
    assert call.waiting.due_ms(0) is None
    assert not call.waiting.on_time(0)


def test_a_recording_is_handed_on_once_it_was_heard_and_waits_in_line() -> None:
    call = Call()
    call.put(SLICE_MS)
    call.waiting.put(recording(100), 0)
    assert call.waiting.with_item
    call.waiting.hear_all()
    assert len(call.frames) == SLICE_MS // FRAME_MS
    assert [done.spoken.item_id for done in call.recordings] == ["item_1"]
    assert call.recordings[0].over is None


def test_what_is_taken_back_is_not_heard_and_recordings_stay() -> None:
    call = Call()
    call.put(100)
    call.waiting.on_time(0)
    call.waiting.put(recording(20), 0)
    (late,) = call.waiting.take_back()
    assert late.samples_left == PCM16_24K.rate_hz * (100 - SLICE_MS) // 1000
    assert call.waiting
    assert call.waiting.due_ms(SLOT_MS) is not None
    call.waiting.hear_all()
    assert len(call.frames) == SLICE_MS // FRAME_MS


def test_where_all_is_taken_back_nothing_is_due() -> None:
    call = Call()
    call.put(100)
    assert call.waiting.take_back()
    assert not call.waiting
    assert call.waiting.due_ms(0) is None


def test_after_the_call_nothing_waits() -> None:
    call = Call()
    call.put(100)
    call.waiting.put(recording(100), 0)
    call.waiting.on_time(0)
    call.waiting.close()
    assert not call.waiting
    assert call.waiting.due_ms(0) is None
