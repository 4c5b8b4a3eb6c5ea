"""The offline model's server: sound that arrives faster than real time."""

from __future__ import annotations

import gc
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

import pytest
from support.local.local_world import ServedCall, front_desk_brains, parts_or_skip, spoken

from audio.formats import PCM16_24K, PCMU_8K
from gateway.ids import CountingIds
from gateway.models.local.deferred_messages import (
    MOST_DEFERRED,
    MOST_DEFERRED_MS,
    DeferredMessages,
    Kind,
    SkippedSound,
    kind_of,
)
from gateway.models.local.server import LocalServer
from gateway.models.local.speech.bulk_audio import AT_ONCE_MS, SLICE_MS, SLOT_MS, WINDOW_MS, Pace, SliceSchedule
from gateway.realtime.server.server import MAX_MALFORMED

TWO_SENTENCES = ("what are your opening hours", "how are you today")


class Serve(Protocol):
    """Opens a call."""

    def __call__(self, *, manual_turns: bool = False) -> ServedCall: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    make = front_desk_brains()
    calls: list[ServedCall] = []

    def opened(*, manual_turns: bool = False) -> ServedCall:
        calls.append(ServedCall(make, manual_turns=manual_turns))
        return calls[-1]

    yield opened
    for call in calls:  # returns their decoders to the pool
        call.server.close()


def silence(ms: int) -> bytes:
    return bytes(PCM16_24K.bytes_for_ms(ms))


def two_sentences() -> bytes:
    return b"".join(spoken(line) for line in TWO_SENTENCES)


def test_a_file_in_one_message_is_processed_in_slices_with_the_same_result(serve: Serve) -> None:
    at_once, streamed = serve(), serve()
    sound = two_sentences()
    at_once.append(sound)
    assert at_once.events == []
    steps = 0
    while len(at_once.transcripts) < len(TWO_SENTENCES):
        due_ms = at_once.server.deadline_ms
        assert due_ms is not None
        at_once.advance(max(1, due_ms - at_once.now_ms))
        steps += 1
    streamed.stream(sound)
    assert at_once.transcripts == streamed.transcripts == list(TWO_SENTENCES)
    length_ms = PCM16_24K.ms_of(PCM16_24K.samples_in(len(sound)))
    assert steps > length_ms // SLICE_MS * 3 // 4
    places = "audio_start_ms", "audio_end_ms"
    assert [event[place] for event in at_once.events for place in places if place in event] == [
        event[place] for event in streamed.events for place in places if place in event
    ]


def test_messages_behind_unprocessed_sound_are_deferred(serve: Serve) -> None:
    at_once, streamed = serve(manual_turns=True), serve(manual_turns=True)
    sound = spoken("how are you today")
    at_once.append(sound)
    streamed.stream(sound)
    for call in at_once, streamed:
        call.send("input_audio_buffer.commit")
        call.send("response.create", response={"output_modalities": ["text"]})
    assert at_once.events == []
    at_once.advance(2000)
    streamed.advance(2000)
    assert at_once.transcripts == ["how are you today"]
    assert at_once.kinds() == streamed.kinds()
    assert at_once.kinds()[-1] == "response.done"


def test_a_commit_after_a_detected_turn_has_nothing_to_commit(serve: Serve) -> None:
    call = serve()
    call.append(spoken("how are you today"))
    call.send("input_audio_buffer.commit")
    call.advance(2000)
    assert call.kinds().count("conversation.item.added") == 2  # the caller's item and the answer
    assert [event["error"]["code"] for event in call.events if event["type"] == "error"] == [
        "input_audio_buffer_commit_empty"
    ]


def test_frames_in_real_time_are_not_deferred(serve: Serve) -> None:
    call = serve()
    sound = spoken("how are you today")
    step = PCM16_24K.bytes_for_ms(20)
    for begin in range(0, len(sound), step):
        call.append(sound[begin : begin + step])
        call.send("conversation.item.retrieve", item_id="none")
        assert call.events[-1]["type"] == "error"  # answered at once, so nothing is deferred
        call.now_ms += 20
    assert call.transcripts == ["how are you today"]


def test_a_burst_of_frames_leads_to_the_same_turn(serve: Serve) -> None:
    call = serve()
    sound = spoken("how are you today")
    step = PCM16_24K.bytes_for_ms(20)
    for begin in range(0, len(sound), step):
        call.append(sound[begin : begin + step])
    assert call.transcripts == []
    call.advance(2000)
    assert call.transcripts == ["how are you today"]


def test_a_clear_drops_pending_sound_and_its_length_counts(serve: Serve) -> None:
    call = serve()
    call.append(spoken("how are you today"))
    call.append(silence(1000))
    call.send("input_audio_buffer.clear")
    assert call.kinds() == ["input_audio_buffer.cleared"]
    call.stream(silence(400) + spoken("what are your opening hours"))
    assert call.transcripts == ["what are your opening hours"]
    (start_ms,) = (event["audio_start_ms"] for event in call.events if "audio_start_ms" in event)
    length_ms = PCM16_24K.ms_of(PCM16_24K.samples_in(len(spoken("how are you today"))))
    assert length_ms + 1100 < start_ms < length_ms + 1900


def test_a_clear_leaves_what_was_committed(serve: Serve) -> None:
    call = serve(manual_turns=True)
    call.append(spoken("how are you today"))
    call.send("input_audio_buffer.commit")
    call.append(spoken("what are your opening hours"))
    call.send("input_audio_buffer.clear")
    call.send("input_audio_buffer.commit")
    call.advance(3000)
    assert call.transcripts == ["how are you today"]
    assert [kind for kind in call.kinds() if kind in ("input_audio_buffer.cleared", "error")] == [
        "input_audio_buffer.cleared",
        "error",
    ]


def test_a_cancel_is_deferred_only_behind_its_own_request(serve: Serve) -> None:
    call = serve(manual_turns=True)
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Where are you?"}]}
    call.send("conversation.item.create", item=item)
    call.send("response.create")
    call.append(spoken("how are you today"))
    call.send("response.cancel")
    assert call.events[-1]["type"] == "response.done"
    assert call.events[-1]["response"]["status"] == "cancelled"
    call.events.clear()
    call.send("response.create")
    call.send("response.cancel")
    assert call.events == []
    call.advance(2000)
    assert call.kinds()[-1] == "response.done"
    assert "response.created" in call.kinds()
    assert call.events[-1]["response"]["status"] == "cancelled"


def test_a_recording_as_an_item_is_processed_in_slices_and_in_order(serve: Serve) -> None:
    call = serve()
    part = {"type": "input_audio", "audio": b64encode(spoken("tell me a joke")).decode()}
    call.send("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
    call.send("response.create", response={"output_modalities": ["text"]})
    assert call.kinds() == ["conversation.item.added", "conversation.item.done"]
    call.send("input_audio_buffer.clear")  # does not concern the item
    call.advance(1500)
    assert call.transcripts == ["tell me a joke"]
    assert call.kinds().index("response.created") > call.kinds().index(
        "conversation.item.input_audio_transcription.completed"
    )
    (text,) = (event["text"] for event in call.events if event["type"] == "response.output_text.done")
    assert "lobster" in text


def test_messages_past_the_bounds_are_refused_and_the_session_continues(serve: Serve) -> None:
    call = serve()
    minute = silence(60_000)
    for _ in range(1 + MOST_DEFERRED_MS // 60_000):
        call.append(minute)
    assert call.events == []
    for _ in range(2 * MAX_MALFORMED):
        call.append(minute)
    assert {event["error"]["code"] for event in call.events} == {"rate_limit_exceeded"}
    assert call.server.failed is None
    call.server.close()
    assert call.server.deadline_ms is None


def test_a_call_that_ends_with_pending_sound_returns_its_decoder(serve: Serve) -> None:
    call = serve()
    part = {"type": "input_audio", "audio": b64encode(two_sentences()).decode()}
    call.send("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
    call.advance(100)
    call.append(spoken("how are you today"))
    call.server.close()
    pool = parts_or_skip().decoders
    taken = [decoder for _ in range(10) if (decoder := pool.take()) is not None]
    for decoder in taken:
        pool.give_back(decoder)
    assert len(taken) == 3


def test_slots_are_booked_one_after_the_other() -> None:
    schedule = SliceSchedule()
    assert [schedule.book(100), schedule.book(100), schedule.book(101)] == [100, 100 + SLOT_MS, 100 + 2 * SLOT_MS]
    assert schedule.book(5000) == 5000


def test_late_slots_are_not_used_without_a_pause() -> None:
    schedule = SliceSchedule()
    assert [schedule.book(100) for _ in range(3)] == [100, 100 + SLOT_MS, 100 + 2 * SLOT_MS]
    late_ms = 200
    assert schedule.begin(late_ms)
    assert not schedule.begin(late_ms + 1)
    assert schedule.book(late_ms + 1) == late_ms + SLOT_MS
    assert schedule.begin(late_ms + SLOT_MS)


def test_sound_in_real_time_is_distinguished_from_faster_sound() -> None:
    pace = Pace(PCMU_8K)
    at_once_bytes = PCMU_8K.bytes_for_ms(AT_ONCE_MS)
    assert pace.allows(at_once_bytes, 0)
    assert not pace.allows(1, WINDOW_MS - 1)
    assert pace.allows(at_once_bytes, WINDOW_MS)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b'{"type":"input_audio_buffer.append","audio":"AAAA"}', (Kind.SOUND, 3)),
        (b'{"type":"input_audio_buffer.append","audio":"AAA="}', (Kind.SOUND, 2)),
        (b'{"type":"input_audio_buffer.clear"}', (Kind.CLEAR, 0)),
        (b'{"type":"response.cancel"}', (Kind.CANCEL, 0)),
        (b'{"type":"response.create"}', (Kind.RESPOND, 0)),
        (b'{"type":7}', (Kind.OTHER, 0)),
        (b"[]", (Kind.OTHER, 0)),
        (b"{", (Kind.OTHER, 0)),
        (b'{"type":"response.cancel","x":"%s"}' % (b"x" * 100_000), (Kind.OTHER, 0)),
    ],
)
def test_a_deferred_message_is_classified_by_its_type(text: bytes, kind: tuple[Kind, int]) -> None:
    assert kind_of(text) == kind


def test_deferred_messages_are_bounded_in_number_and_bytes() -> None:
    deferred = DeferredMessages()
    for _ in range(MOST_DEFERRED):
        assert not deferred.full(PCM16_24K)
        deferred.put(Kind.OTHER, 0, b"{}")
    assert deferred.full(PCM16_24K)
    deferred.clear()
    deferred.put(Kind.OTHER, 0, bytes(21 * 1024 * 1024))
    assert deferred.full(PCM16_24K)


def test_cleared_sound_leaves_its_length() -> None:
    deferred = DeferredMessages()
    deferred.put(Kind.SOUND, 2, b"a")
    deferred.put(Kind.OTHER, 0, b"b")
    deferred.put(Kind.SOUND, 4, b"c")
    deferred.put(Kind.SOUND, 6, b"d")
    deferred.drop_trailing_sound()
    assert [deferred.take() for _ in range(len(deferred))] == [b"a", b"b", SkippedSound(10)]


@pytest.mark.parametrize("moment", ["answering", "hearing", "sound waits"])
def test_a_closed_session_is_freed_without_garbage_collection(moment: str) -> None:
    kinds = ("LocalBrain", "LocalServer", "ServedSession", "Conversation", "AudioInput", "TurnFinder", "CallerSpeech")
    make = front_desk_brains()
    gc.collect()
    before = Counter(type(thing).__name__ for thing in gc.get_objects())
    gc.disable()  # garbage collections block all calls, so they are rare, while a session holds megabytes
    try:
        messages: list[bytes] = []
        server = LocalServer(make, CountingIds(), messages.append, now_ms=0, wall_s=0.0, model="local/offline")
        server.open(0)
        sound = spoken("what are your opening hours")
        sound = sound + silence(900) if moment == "answering" else sound[: PCM16_24K.bytes_for_ms(600)]
        if moment == "sound waits":
            append = {"type": "input_audio_buffer.append", "audio": b64encode(sound).decode()}
            server.receive(json.dumps(append).encode(), 0)
        else:
            for now_ms in range(0, len(sound) // PCM16_24K.bytes_for_ms(1), 20):
                begin = PCM16_24K.bytes_for_ms(now_ms)
                piece = sound[begin : begin + PCM16_24K.bytes_for_ms(20)]
                append = {"type": "input_audio_buffer.append", "audio": b64encode(piece).decode()}
                server.receive(json.dumps(append).encode(), now_ms)
                server.on_time(now_ms)
        assert (b"response.output_audio.delta" in b"".join(messages)) == (moment == "answering")
        server.close()
        del server
        after = Counter(type(thing).__name__ for thing in gc.get_objects())
        assert {kind: after[kind] - before[kind] for kind in kinds if after[kind] > before[kind]} == {}
    finally:
        gc.enable()
