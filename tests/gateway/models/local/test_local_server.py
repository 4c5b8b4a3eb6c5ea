"""gateway/models/local/server.py, held.py and backlog.py: sound that comes faster than it can be heard"""

from __future__ import annotations

import gc
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

import pytest
from local_world import ServedCall, front_desk_brains, parts_or_skip, spoken

from audio.formats import PCM16_24K, PCMU_8K
from gateway.ids import CountingIds
from gateway.models.local.backlog import AT_ONCE_MS, SLICE_MS, SLOT_MS, WINDOW_MS, Pace, Roster
from gateway.models.local.held import MOST_HELD, MOST_HELD_MS, HeldMessages, Kind, Missed, kind_of
from gateway.models.local.server import LocalServer
from gateway.realtime.server import MAX_MALFORMED

TWO_SENTENCES = ("what are your opening hours", "how are you today")


class Serve(Protocol):
    """Opens a call."""

    def __call__(self, *, by_hand: bool = False) -> ServedCall: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    make = front_desk_brains()
    calls: list[ServedCall] = []

    def opened(*, by_hand: bool = False) -> ServedCall:
        calls.append(ServedCall(make, by_hand=by_hand))
        return calls[-1]

    yield opened
    for call in calls:  # or their decoders would be in use for good
        call.server.close()


def silence(ms: int) -> bytes:
    return bytes(PCM16_24K.bytes_for_ms(ms))


def two_sentences() -> bytes:
    return b"".join(spoken(line) for line in TWO_SENTENCES)


def test_a_file_in_one_message_is_heard_in_slices_and_as_if_it_were_spoken(serve: Serve) -> None:
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


def test_what_comes_behind_sound_waits_for_it(serve: Serve) -> None:
    at_once, streamed = serve(by_hand=True), serve(by_hand=True)
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


def test_a_commit_behind_a_whole_turn_finds_nothing_left_to_commit(serve: Serve) -> None:
    call = serve()
    call.append(spoken("how are you today"))
    call.send("input_audio_buffer.commit")
    call.advance(2000)
    assert call.kinds().count("conversation.item.added") == 2  # what was said, and the answer
    assert [event["error"]["code"] for event in call.events if event["type"] == "error"] == [
        "input_audio_buffer_commit_empty"
    ]


def test_frames_in_time_do_not_wait(serve: Serve) -> None:
    call = serve()
    sound = spoken("how are you today")
    step = PCM16_24K.bytes_for_ms(20)
    for begin in range(0, len(sound), step):
        call.append(sound[begin : begin + step])
        call.send("conversation.item.retrieve", item_id="none")
        assert call.events[-1]["type"] == "error"  # answered at once: nothing waits
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


def test_a_clear_takes_back_what_waits_and_its_length_counts(serve: Serve) -> None:
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
    call = serve(by_hand=True)
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


def test_a_cancel_does_not_wait_unless_for_its_answer(serve: Serve) -> None:
    call = serve(by_hand=True)
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


def test_a_recording_as_an_item_is_heard_in_slices_and_in_its_place(serve: Serve) -> None:
    call = serve()
    part = {"type": "input_audio", "audio": b64encode(spoken("tell me a joke")).decode()}
    call.send("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
    call.send("response.create", response={"output_modalities": ["text"]})
    assert call.kinds() == ["conversation.item.added", "conversation.item.done"]
    call.send("input_audio_buffer.clear")  # is not about the item
    call.advance(1500)
    assert call.transcripts == ["tell me a joke"]
    assert call.kinds().index("response.created") > call.kinds().index(
        "conversation.item.input_audio_transcription.completed"
    )
    (text,) = (event["text"] for event in call.events if event["type"] == "response.output_text.done")
    assert "lobster" in text


def test_more_than_can_wait_is_refused_and_the_session_goes_on(serve: Serve) -> None:
    call = serve()
    minute = silence(60_000)
    for _ in range(1 + MOST_HELD_MS // 60_000):
        call.append(minute)
    assert call.events == []
    for _ in range(2 * MAX_MALFORMED):
        call.append(minute)
    assert {event["error"]["code"] for event in call.events} == {"rate_limit_exceeded"}
    assert call.server.failed is None
    call.server.close()
    assert call.server.deadline_ms is None


def test_a_call_that_ends_while_sound_waits_gives_its_decoder_back(serve: Serve) -> None:
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


def test_slots_are_given_one_after_the_other() -> None:
    roster = Roster()
    assert [roster.book(100), roster.book(100), roster.book(101)] == [100, 100 + SLOT_MS, 100 + 2 * SLOT_MS]
    assert roster.book(5000) == 5000


def test_slots_that_are_late_are_not_used_up_in_one_go() -> None:
    roster = Roster()
    assert [roster.book(100) for _ in range(3)] == [100, 100 + SLOT_MS, 100 + 2 * SLOT_MS]
    late_ms = 200
    assert roster.begin(late_ms)
    assert not roster.begin(late_ms + 1)
    assert roster.book(late_ms + 1) == late_ms + SLOT_MS
    assert roster.begin(late_ms + SLOT_MS)


def test_sound_in_time_is_told_from_sound_ahead_of_it() -> None:
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
def test_a_held_message_is_known_by_its_type(text: bytes, kind: tuple[Kind, int]) -> None:
    assert kind_of(text) == kind


def test_held_messages_are_bounded_in_number_and_bytes() -> None:
    held = HeldMessages()
    for _ in range(MOST_HELD):
        assert not held.full(PCM16_24K)
        held.put(Kind.OTHER, 0, b"{}")
    assert held.full(PCM16_24K)
    held.clear()
    held.put(Kind.OTHER, 0, bytes(21 * 1024 * 1024))
    assert held.full(PCM16_24K)


def test_sound_that_is_taken_back_leaves_its_length() -> None:
    held = HeldMessages()
    held.put(Kind.SOUND, 2, b"a")
    held.put(Kind.OTHER, 0, b"b")
    held.put(Kind.SOUND, 4, b"c")
    held.put(Kind.SOUND, 6, b"d")
    held.forget_sound()
    assert [held.take() for _ in range(len(held))] == [b"a", b"b", Missed(10)]


@pytest.mark.parametrize("moment", ["answering", "hearing", "sound waits"])
def test_a_session_that_is_closed_is_freed_without_a_collection_of_garbage(moment: str) -> None:
    kinds = ("LocalBrain", "LocalServer", "ServedSession", "Conversation", "Listening", "Ears", "Hearing")
    make = front_desk_brains()
    gc.collect()
    before = Counter(type(thing).__name__ for thing in gc.get_objects())
    gc.disable()  # a collection stops every call, so they are rare; and a session holds megabytes
    try:
        told: list[bytes] = []
        server = LocalServer(make, CountingIds(), told.append, now_ms=0, wall_s=0.0, model="local/offline")
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
        assert (b"response.output_audio.delta" in b"".join(told)) == (moment == "answering")
        server.close()
        del server
        after = Counter(type(thing).__name__ for thing in gc.get_objects())
        assert {kind: after[kind] - before[kind] for kind in kinds if after[kind] > before[kind]} == {}
    finally:
        gc.enable()
