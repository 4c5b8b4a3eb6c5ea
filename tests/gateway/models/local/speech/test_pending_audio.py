"""gateway/models/local/speech/pending_audio.py: pending sound is processed in slices, each in its slot"""

from __future__ import annotations

from support.local.local_world import parts_or_skip

from audio.formats import PCM16_24K, AudioFrame
from gateway.models.local.dialogue.answerer import Spoken
from gateway.models.local.speech.bulk_audio import FRAME_MS, SLICE_MS, SLOT_MS, SliceSchedule
from gateway.models.local.speech.caller_speech import CallerSpeech
from gateway.models.local.speech.detector import SpeechModel
from gateway.models.local.speech.pending_audio import BulkAudio, PendingAudio, Recording


def caller_speech() -> CallerSpeech:
    return CallerSpeech(SpeechModel(parts_or_skip().speech_model), None)


def sound(ms: int) -> AudioFrame:
    return AudioFrame(bytes(PCM16_24K.bytes_for_ms(ms)), PCM16_24K, 0)


def recording(ms: int) -> Recording:
    return Recording(Spoken("item_1"), caller_speech(), "open", sound(ms).payload, PCM16_24K)


class Call:
    """One call's pending sound, and the frames and recordings that were processed."""

    def __init__(self, schedule: SliceSchedule | None = None) -> None:
        self.frames: list[AudioFrame] = []
        self.recordings: list[Recording] = []
        self.waiting = PendingAudio(schedule or SliceSchedule(), self.recordings.append)

    def put(self, ms: int, now_ms: int = 0) -> None:
        self.waiting.put(BulkAudio(sound(ms), caller_speech(), self.frames.append), now_ms)


def test_after_each_slice_one_step_is_left_for_its_results() -> None:
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


def test_a_slot_that_another_call_has_just_used_is_booked_again() -> None:
    schedule = SliceSchedule()
    call = Call(schedule)
    call.put(SLICE_MS)
    schedule.begin(10)
    assert call.waiting.on_time(10)
    assert not call.frames
    assert call.waiting.due_ms(10) == 10 + SLOT_MS


def test_nothing_is_due_once_all_sound_is_processed() -> None:
    call = Call()
    call.put(SLICE_MS)
    call.waiting.process_all()
    assert not call.waiting
    assert call.waiting.due_ms(0) is None
    assert not call.waiting.on_time(0)


def test_a_recording_is_processed_in_its_order_and_then_handed_on() -> None:
    call = Call()
    call.put(SLICE_MS)
    call.waiting.put(recording(100), 0)
    assert call.waiting.has_recording
    call.waiting.process_all()
    assert len(call.frames) == SLICE_MS // FRAME_MS
    assert [done.spoken.item_id for done in call.recordings] == ["item_1"]
    assert call.recordings[0].over is None


def test_removed_stream_audio_is_not_processed_and_recordings_stay() -> None:
    call = Call()
    call.put(100)
    call.waiting.on_time(0)
    call.waiting.put(recording(20), 0)
    (late,) = call.waiting.remove_stream_audio()
    assert late.samples_left == PCM16_24K.rate_hz * (100 - SLICE_MS) // 1000
    assert call.waiting
    assert call.waiting.due_ms(SLOT_MS) is not None
    call.waiting.process_all()
    assert len(call.frames) == SLICE_MS // FRAME_MS


def test_nothing_is_due_once_all_sound_is_removed() -> None:
    call = Call()
    call.put(100)
    assert call.waiting.remove_stream_audio()
    assert not call.waiting
    assert call.waiting.due_ms(0) is None


def test_after_the_call_nothing_is_pending() -> None:
    call = Call()
    call.put(100)
    call.waiting.put(recording(100), 0)
    call.waiting.on_time(0)
    call.waiting.close()
    assert not call.waiting
    assert call.waiting.due_ms(0) is None
