"""The stand-in model: its messages, their order, and that the types of the vendor's SDK accept them."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any

import pytest

from bench import stamp
from bench.caller import SESSION_UPDATE
from bench.model_events import ModelSession, first_frames

TAIL = stamp.speech_tails()[0]
OPENING = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio.delta",
]
CLOSING = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


def a_session(answer_frames: int = 100) -> ModelSession:
    return ModelSession(3, "gpt-realtime", expires_at=1_900_000_000, answer_frames=answer_frames)


def append(frame: int) -> bytes:
    return b'{"type":"input_audio_buffer.append","audio":"' + stamp.encode(5, frame) + TAIL + b'"}'


def say(session: ModelSession, message: bytes) -> list[dict[str, Any]]:
    return [json.loads(one) for one in session.receive(message)]


def request(model: ModelSession, **fields: Any) -> list[dict[str, Any]]:
    return say(model, json.dumps(fields).encode())


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def talk(session: ModelSession, frames: int) -> list[dict[str, Any]]:
    return [event for frame in range(frames) for event in say(session, append(frame))]


def test_each_frame_comes_back_with_its_stamp_at_once() -> None:
    session = a_session()
    for frame in range(250):
        deltas = [event for event in say(session, append(frame)) if event["type"] == "response.output_audio.delta"]
        assert [stamp.decode(event["delta"][: stamp.STAMP_CHARS].encode()) for event in deltas] == [(5, frame)]
        assert len(base64.b64decode(deltas[0]["delta"], validate=True)) == stamp.FRAME_SAMPLES * 2


@pytest.mark.parametrize(
    "message",
    [
        b'{"audio":"AAAA","type":"input_audio_buffer.append"}',
        b'{"event_id": "x", "type": "input_audio_buffer.append", "audio": "AAAA"}',
    ],
)
def test_sound_is_found_whatever_the_order_of_keys_and_the_spaces(message: bytes) -> None:
    assert say(a_session(), message)[-1]["delta"] == "AAAA"


def test_an_answer_opens_and_closes_in_the_order_of_the_protocol() -> None:
    seen = kinds(talk(a_session(), 100))
    assert seen[: len(OPENING)] == OPENING
    assert seen[-len(CLOSING) :] == CLOSING
    assert seen.count("response.output_audio.delta") == 100
    assert seen.count("response.output_audio_transcript.delta") == 10
    assert seen.count("conversation.item.input_audio_transcription.completed") == 1


def test_no_speech_is_reported_during_an_answer() -> None:
    speaking = False
    for kind in kinds(talk(a_session(), 500)):
        if kind == "response.created":
            speaking = True
        elif kind == "response.done":
            speaking = False
        elif kind.startswith("input_audio_buffer."):
            assert not speaking


def test_each_item_names_the_one_before_and_ids_are_unique() -> None:
    events = talk(a_session(), 300)
    ids = [event["event_id"] for event in events]
    assert len(ids) == len(set(ids))
    added = [event for event in events if event["type"] == "conversation.item.added"]
    assert len(added) == 6
    before = None
    for event in added:
        assert event["previous_item_id"] == before
        before = event["item"]["id"]


def test_an_answer_has_a_transcript_and_usage() -> None:
    done = talk(a_session(), 100)[-1]["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"][0]["transcript"].startswith("Certainly, there is a table")
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]


def test_a_short_answer_still_has_the_callers_transcript() -> None:
    seen = kinds(talk(a_session(answer_frames=5), 5))
    assert seen.count("conversation.item.input_audio_transcription.completed") == 1
    assert seen[-1] == "response.done"


@pytest.mark.parametrize("opened_apart_frames", [0, 1])  # all at once, or one every 20 ms
def test_the_turns_of_many_calls_end_evenly_spread(opened_apart_frames: int) -> None:
    ends = Counter((number * opened_apart_frames + first_frames(number, 100)) % 100 for number in range(1, 151))
    assert len(ends) >= 90
    assert max(ends.values()) <= 3


def test_after_a_first_answer_of_another_length_answers_have_full_length() -> None:
    session = ModelSession(3, "m", 1_900_000_000, answer_frames=10, first_answer_frames=4)
    ended = [frame for frame in range(30) if "response.done" in kinds(say(session, append(frame)))]
    assert ended == [3, 13, 23]


def test_turns_in_unison_end_with_the_first_frame_of_the_next_period() -> None:
    periods = [0]
    sessions = [ModelSession(number, "m", 1_900_000_000, 200, period=lambda: periods[0]) for number in range(1, 4)]
    for session in sessions:
        talk(session, 7 * sessions.index(session) + 1)
    periods[0] = 1
    for session in sessions:
        assert "response.done" in kinds(say(session, append(50)))
        assert "response.created" in kinds(say(session, append(51)))
        assert "response.done" not in kinds(talk(session, 20))


def test_a_session_update_is_merged_into_the_whole_session() -> None:
    session = a_session()
    update = {"type": "realtime", "instructions": "x", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
    answer = request(session, type="session.update", session=update)[0]
    assert answer["type"] == "session.updated"
    effective = answer["session"]
    assert effective["instructions"] == "x"
    assert effective["audio"]["input"]["transcription"] == {"model": "whisper-1"}
    assert effective["audio"]["input"]["turn_detection"]["interrupt_response"] is True
    assert effective["audio"]["output"]["voice"] == "marin"


def test_another_kind_of_turn_detection_replaces_the_old_one() -> None:
    turns = {"type": "semantic_vad"}
    update = {"type": "realtime", "audio": {"input": {"turn_detection": turns}}}
    answer = request(a_session(), type="session.update", session=update)[0]
    assert answer["session"]["audio"]["input"]["turn_detection"] == turns


def test_a_cancelled_answer_ends_and_the_next_frame_starts_another() -> None:
    session = a_session()
    talk(session, 30)
    cancelled = request(session, type="response.cancel")
    assert kinds(cancelled) == CLOSING
    assert cancelled[-1]["response"]["status"] == "cancelled"
    assert kinds(say(session, append(30))) == OPENING


@pytest.mark.parametrize(
    ("speaking", "kind", "code"),
    [
        (False, "response.cancel", "response_cancel_not_active"),
        (True, "response.create", "conversation_already_has_active_response"),
        (False, "conversation.item.retrieve", "unsupported_by_the_stand_in"),
    ],
)
def test_a_request_in_the_wrong_state_is_answered_with_its_error_code(speaking: bool, kind: str, code: str) -> None:
    session = a_session()
    talk(session, 3 if speaking else 0)
    answer = request(session, type=kind, event_id="mine")
    assert [(event["error"]["code"], event["error"]["event_id"]) for event in answer] == [(code, "mine")]


@pytest.mark.parametrize("message", [b"", b"nonsense", b"[]", b"\xff", b'{"type":"input_audio_buffer.append"}'])
def test_an_unknown_message_is_answered_with_an_error(message: bytes) -> None:
    session = a_session()
    assert kinds(say(session, message)) == ["error"]
    assert kinds(say(session, append(0))) == OPENING


@pytest.mark.openai_sdk
def test_every_event_parses_with_the_openai_sdk() -> None:
    realtime = pytest.importorskip("openai.types.realtime", reason="pip install openai")
    pydantic = pytest.importorskip("pydantic")
    adapter = pydantic.TypeAdapter(realtime.RealtimeServerEvent)
    session = a_session()
    messages = session.opened()
    requests: list[dict[str, Any]] = [
        {"type": "input_audio_buffer.clear"},
        {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 100},
        {"type": "conversation.item.delete", "item_id": "item_1"},
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        },
        {"type": "nothing.known"},
    ]
    messages += session.receive(SESSION_UPDATE)
    for request in requests:
        messages += session.receive(json.dumps(request).encode())
    for frame in range(220):
        messages += session.receive(append(frame))
    messages += session.receive(b'{"type":"response.cancel"}')
    seen = set()
    for message in messages:
        parsed = adapter.validate_json(message, strict=True)
        kind = json.loads(message)["type"]
        assert parsed.type == kind
        seen.add(kind)
        assert not parsed.model_extra
        if kind == "session.created":  # the fallbacks of the union must not hide a field of the wrong type
            assert type(parsed.session).__name__ == "RealtimeSessionCreateRequest"
    assert len(seen) == 22
