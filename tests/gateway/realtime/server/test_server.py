"""The server half of the Realtime protocol: the served session with its parts, and the event sender."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from support.local.parrot import Caller, kinds

from audio.formats import PCM16_24K, PCMU_8K
from gateway.realtime.server.item_audio import MAX_ITEM_BYTES
from gateway.realtime.server.server import MAX_SESSION_MS

SPOKEN = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


@pytest.fixture
def caller() -> Caller:
    caller = Caller()
    caller.take()
    return caller


def error_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    assert kinds(events) == ["error"]
    error: dict[str, Any] = events[0]["error"]
    return error


def answer(caller: Caller, do: str, **response: Any) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = caller.send("response.create", response={"metadata": {"do": do}, **response})
    return events


def user_text(item_id: str | None = None, text: str = "hello") -> dict[str, Any]:
    item: dict[str, Any] = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return item if item_id is None else {"id": item_id, **item}


# ---- session


def test_session_created_is_the_first_event_and_whole() -> None:
    caller = Caller("m")
    created = caller.events[0]
    assert created["type"] == "session.created"
    session = created["session"]
    assert (session["type"], session["model"], session["id"]) == ("realtime", "m", "sess_1")
    assert session["expires_at"] == 1_900_003_600
    assert session["audio"]["input"]["turn_detection"]["interrupt_response"] is True
    assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert caller.brain.sessions == [session]


def test_an_update_is_answered_with_the_whole_session_and_reaches_the_brain(caller: Caller) -> None:
    (updated,) = caller.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
    assert updated["type"] == "session.updated"
    assert updated["session"]["instructions"] == "Be brief."
    assert caller.brain.sessions[-1] == updated["session"]


def test_the_voice_cannot_change_once_the_agent_has_spoken(caller: Caller) -> None:
    voice = {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
    assert kinds(caller.send("session.update", session=voice)) == ["session.updated"]
    answer(caller, "say:hi finish")
    assert kinds(caller.send("session.update", session=voice)) == ["session.updated"]
    voice["audio"] = {"output": {"voice": "ash"}}
    assert error_of(caller.send("session.update", session=voice))["code"] == "cannot_update_voice"


def test_a_session_ends_after_an_hour(caller: Caller) -> None:
    caller.brain.deadline_ms = 5000
    assert caller.server.deadline_ms == 5000
    caller.server.on_time(5000)
    assert caller.brain.notes == [("time", 5000)]
    caller.brain.deadline_ms = None
    end_ms = 1000 + MAX_SESSION_MS
    assert caller.server.deadline_ms == end_ms
    caller.server.on_time(end_ms)
    assert error_of(caller.take())["code"] == "session_expired"
    assert caller.server.failed == "session_expired"
    assert caller.server.deadline_ms is None
    assert caller.send("response.create") == []


def test_a_closed_server_sends_nothing(caller: Caller) -> None:
    caller.server.close()
    caller.server.on_time(9)
    assert caller.brain.closed
    assert caller.send("response.create") == []
    assert caller.server.deadline_ms is None


# ---- bad messages


def test_ten_malformed_messages_in_a_row_end_the_connection_and_nine_do_not(caller: Caller) -> None:
    for _ in range(9):
        error_of(caller.send_raw(b"{"))
    assert caller.server.failed is None
    caller.speak()
    for _ in range(10):
        caller.send("no.such.event")
    assert caller.server.failed == "malformed"
    assert caller.speak() == []


def test_errors_of_ordinary_races_are_answered_and_not_counted(caller: Caller) -> None:
    for _ in range(12):
        assert error_of(caller.send("response.cancel", event_id="mine")) == {
            "type": "invalid_request_error",
            "code": "response_cancel_not_active",
            "message": "Cancellation failed: no active response found",
            "param": None,
            "event_id": "mine",
        }
    assert caller.server.failed is None


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "output_audio_buffer.clear"}, "invalid_value", "type"),
        ({"type": "input_audio_buffer.append", "audio": "A"}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid_value", "audio"),
        ({"type": "session.update", "session": {}}, "missing_required_parameter", "session.type"),
        ({"type": "response.create", "response": {"conversation": "x"}}, "invalid_value", "response.conversation"),
        ({"type": "conversation.item.delete", "item_id": "x"}, "item_delete_invalid_item_id", "item_id"),
        ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_retrieve_invalid_item_id", "item_id"),
    ],
)
def test_an_error_names_the_field_and_the_event(caller: Caller, event: dict[str, Any], code: str, param: str) -> None:
    error = error_of(caller.send(**event, event_id="mine"))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")


# ---- speech


def test_the_events_of_a_voice_turn_have_the_protocols_order(caller: Caller) -> None:
    caller.speak(500)
    item_id = caller.brain.turns.speech_started(100)
    assert caller.brain.turns.speech_stopped(400) == item_id
    events = caller.take()
    assert kinds(events) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        *SPOKEN,
    ]
    assert {event.get("item_id") or event["item"]["id"] for event in events[:5]} == {item_id}
    assert events[3]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert events[7]["previous_item_id"] == item_id
    assert events[-1]["response"]["status"] == "completed"
    assert events[-1]["response"]["conversation_id"] == "conv_1"


def test_speech_interrupts_the_answer(caller: Caller) -> None:
    events = answer(caller, "say:hi wait say:more finish")
    response_id = events[0]["response"]["id"]
    caller.speak(200)
    caller.brain.turns.speech_started(0)
    events = caller.take()
    assert kinds(events) == ["input_audio_buffer.speech_started", *SPOKEN[6:]]
    assert events[-1]["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert events[-2]["item"]["status"] == "incomplete"
    assert caller.brain.notes[-1] == ("stopped", response_id)
    caller.brain.go_on()
    assert caller.take() == []


def test_a_session_may_turn_off_interruptions_and_automatic_answers(caller: Caller) -> None:
    detection = {"type": "server_vad", "interrupt_response": False}
    caller.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    answer(caller, "say:hi wait finish")
    caller.brain.turns.speech_started(0)
    caller.brain.turns.speech_stopped(0)
    assert kinds(caller.take())[-1] == "conversation.item.done"
    caller.brain.go_on()
    detection["create_response"] = False
    caller.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    caller.brain.turns.speech_started(0)
    caller.brain.turns.speech_stopped(0)
    assert kinds(caller.take())[-1] == "conversation.item.done"


def test_transcripts_are_sent_when_the_session_asks_for_them(caller: Caller) -> None:
    caller.speak(500)
    item_id = caller.brain.turns.speech_started(0)
    caller.brain.turns.transcribed(item_id, "unasked")
    caller.brain.turns.speech_stopped(500)
    assert "conversation.item.input_audio_transcription.completed" not in kinds(caller.take())
    heard = {"input": {"transcription": {"model": "whisper-1"}}}
    caller.send("session.update", session={"type": "realtime", "audio": heard})
    caller.speak(500)
    first = caller.brain.turns.speech_started(0)
    caller.brain.turns.transcribed_part(first, "go")
    caller.brain.turns.transcribed(first, "good day")
    caller.brain.turns.speech_stopped(500)
    (added,) = [e for e in caller.take() if e["type"] == "conversation.item.added" and e["item"]["id"] == first]
    assert added["item"]["content"][0]["transcript"] == "good day"
    caller.speak(250)
    second = caller.brain.turns.speech_started(0)
    caller.brain.turns.speech_stopped(500)
    caller.brain.turns.transcribed(second, "later")
    event = caller.take()[-1]
    assert (event["transcript"], event["usage"]) == ("later", {"type": "duration", "seconds": 0.25})
    (retrieved,) = caller.send("conversation.item.retrieve", item_id=second)
    assert retrieved["item"]["content"][0]["transcript"] == "later"
    caller.brain.turns.not_transcribed(second, "unclear", "No.")
    assert kinds(caller.take()) == ["conversation.item.input_audio_transcription.failed"]


def test_turns_that_the_client_commits(caller: Caller) -> None:
    caller.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    caller.speak(90)
    assert error_of(caller.send("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"
    caller.speak(20)
    events = caller.send("input_audio_buffer.commit")
    assert kinds(events) == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    item_id = events[0]["item_id"]
    assert caller.brain.notes == [("committed", item_id)]
    (retrieved,) = caller.send("conversation.item.retrieve", item_id=item_id)
    assert len(base64.b64decode(retrieved["item"]["content"][0]["audio"])) == 110 * 48
    caller.speak(200)
    assert kinds(caller.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert error_of(caller.send("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"
    assert [frame.start_sample for frame in caller.brain.frames] == [0, 90 * 24, 110 * 24]


def test_a_change_of_format_keeps_the_time(caller: Caller) -> None:
    caller.speak(100)
    g711 = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}}
    caller.send("session.update", session={"type": "realtime", "audio": g711})
    caller.speak(100, bytes_a_ms=8)
    assert [(frame.format, frame.start_sample) for frame in caller.brain.frames] == [(PCM16_24K, 0), (PCMU_8K, 800)]
    (delta,) = [e for e in answer(caller, "say:hi finish") if e["type"] == "response.output_audio.delta"]
    assert len(base64.b64decode(delta["delta"])) == 40 * 8


def test_a_commit_ends_open_speech_and_uses_its_item(caller: Caller) -> None:
    caller.speak(300)
    item_id = caller.brain.turns.speech_started(0)
    caller.take()
    assert caller.send("input_audio_buffer.commit")[0]["item_id"] == item_id


# ---- responses


def test_the_conversation_has_one_response_at_a_time(caller: Caller) -> None:
    first = answer(caller, "wait finish")[0]["response"]
    error = error_of(caller.send("response.create", event_id="second"))
    assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "second")
    assert first["id"] in error["message"]
    caller.brain.go_on()
    assert kinds(caller.take()) == ["response.done"]
    assert kinds(caller.send("response.create")) == SPOKEN


def test_out_of_band_responses_run_in_parallel_outside_the_conversation(caller: Caller) -> None:
    answer(caller, "say:one wait finish")
    events = answer(caller, "say:two call:f wait finish", conversation="none")
    assert not [kind for kind in kinds(events) if kind.startswith("conversation.")]
    assert events[0]["response"]["conversation_id"] is None
    assert events[0]["response"]["metadata"] == {"do": "say:two call:f wait finish"}
    (done,) = caller.send("response.cancel", response_id=events[0]["response"]["id"])
    assert [item["type"] for item in done["response"]["output"]] == ["message", "function_call"]
    assert done["response"]["status_details"]["reason"] == "client_cancelled"
    assert kinds(caller.send("response.cancel"))[-1] == "response.done"


def test_the_number_of_out_of_band_responses_is_bounded(caller: Caller) -> None:
    for _ in range(16):
        answer(caller, "wait", conversation="none")
    assert error_of(answer(caller, "wait", conversation="none"))["code"] == "rate_limit_exceeded"


def test_a_text_answer(caller: Caller) -> None:
    events = answer(caller, "say:hi long:100 finish", output_modalities=["text"])
    assert kinds(events) == [
        *SPOKEN[:4],
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    assert events[3]["part"] == {"type": "text", "text": ""}
    assert events[-2]["item"]["content"] == [{"type": "output_text", "text": "hi"}]
    assert events[-1]["response"]["output_modalities"] == ["text"]


def test_a_message_and_two_calls_in_one_answer(caller: Caller) -> None:
    events = answer(caller, "say:hi call:f call:g finish")
    assert (
        kinds(events)[len(SPOKEN) - 1 : -1]
        == [
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "conversation.item.done",
        ]
        * 2
    )
    done = [event for event in events if event["type"] == "response.function_call_arguments.done"]
    assert [(event["name"], event["arguments"], event["output_index"]) for event in done] == [
        ("f", '{"a":1}', 1),
        ("g", '{"a":1}', 2),
    ]
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message", "function_call", "function_call"]


@pytest.mark.parametrize(
    ("do", "status", "details"),
    [
        ("finish", "completed", None),
        (
            "say:a fail",
            "failed",
            {"type": "failed", "error": {"type": "server_error", "code": "broken", "message": "It broke."}},
        ),
        ("say:a incomplete", "incomplete", {"type": "incomplete", "reason": "max_output_tokens"}),
    ],
)
def test_every_end_of_a_response_is_reported_with_response_done(
    caller: Caller, do: str, status: str, details: Any
) -> None:
    response = answer(caller, do + " say:late call:late finish fail")[-1]["response"]
    assert (response["status"], response["status_details"]) == (status, details)
    assert response["usage"]["total_tokens"] == 0


def test_long_sound_is_sent_in_small_deltas(caller: Caller) -> None:
    deltas = [e for e in answer(caller, "long:1000 finish") if e["type"] == "response.output_audio.delta"]
    assert [len(base64.b64decode(delta["delta"])) for delta in deltas] == [9600] * 5


def test_input_of_a_response_is_checked(caller: Caller) -> None:
    wrong = {"type": "message", "role": "user", "content": [{"type": "text", "text": "x"}]}
    events = caller.send("response.create", response={"input": [user_text(), wrong]})
    assert error_of(events)["param"] == "response.input[1].content[0].type"
    events = caller.send("response.create", response={"input": [{"type": "item_reference", "id": "gone"}]})
    assert error_of(events)["param"] == "response.input[0].id"
    caller.send("conversation.item.create", item=user_text("here"))
    events = caller.send("response.create", response={"input": [{"type": "item_reference", "id": "here"}]})
    assert kinds(events) == SPOKEN


# ---- the conversation


def test_items_are_added_at_the_requested_place(caller: Caller) -> None:
    def create(item_id: str, **place: str) -> str | None:
        added, done = caller.send("conversation.item.create", item=user_text(item_id), **place)
        assert added["item"] == done["item"]
        assert (added["item"]["status"], added["item"]["object"]) == ("completed", "realtime.item")
        previous: str | None = added["previous_item_id"]
        return previous

    assert create("a") is None
    assert create("b") == "a"
    assert create("c", previous_item_id="root") is None
    assert create("d", previous_item_id="a") == "a"
    assert create("e") == "b"
    error = error_of(caller.send("conversation.item.create", item=user_text("f"), previous_item_id="zzz"))
    assert error["param"] == "previous_item_id"
    error = error_of(caller.send("conversation.item.create", item=user_text("a"), event_id="mine"))
    assert (error["code"], error["event_id"]) == ("item_create_duplicate_item_id", "mine")
    (deleted,) = caller.send("conversation.item.delete", item_id="a")
    assert deleted["item_id"] == "a"
    assert create("a", previous_item_id="b") == "b"


def test_an_item_without_an_id_gets_one(caller: Caller) -> None:
    added = caller.send("conversation.item.create", item=user_text())[0]
    assert added["item"]["id"]
    assert caller.brain.notes == [("item", added["item"]["id"])]


def user_sound(item_id: str, *sounds: bytes) -> dict[str, Any]:
    parts = [{"type": "input_audio", "audio": base64.b64encode(sound).decode()} for sound in sounds]
    return {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}, *parts]}


def retrieved(caller: Caller, item_id: str) -> list[dict[str, Any]]:
    """The retrieved item's parts with sound."""
    (event,) = caller.send("conversation.item.retrieve", item_id=item_id)
    assert (event["item"]["object"], event["item"]["status"]) == ("realtime.item", "completed")
    text, *sounds = event["item"]["content"]
    assert text == {"type": "input_text", "text": "x"}
    return sounds


def test_the_client_s_sound_is_retrieved_with_its_transcript_once_known(caller: Caller) -> None:
    heard = {"input": {"transcription": {"model": "whisper-1"}, "format": {"type": "audio/pcmu"}}}
    caller.send("session.update", session={"type": "realtime", "audio": heard})
    sound = bytes(range(256))
    events = caller.send("conversation.item.create", item=user_sound("heard", sound))
    parts = [event["item"]["content"][1] for event in events]
    assert parts == [{"type": "input_audio", "transcript": None}] * 2
    part = {"type": "input_audio", "audio": base64.b64encode(sound).decode()}
    assert retrieved(caller, "heard") == [{**part, "transcript": None}]
    caller.brain.turns.transcribed("heard", "good day")
    caller.take()
    assert retrieved(caller, "heard") == [{**part, "transcript": "good day"}]


def test_sound_that_is_too_long_or_in_several_parts_is_not_retrieved(caller: Caller) -> None:
    silent = {"type": "input_audio", "transcript": None}
    caller.send("conversation.item.create", item=user_sound("long", bytes(MAX_ITEM_BYTES + 2)))
    assert retrieved(caller, "long") == [silent]
    caller.send("conversation.item.create", item=user_sound("two", bytes(480), bytes(480)))
    assert retrieved(caller, "two") == [silent] * 2


def test_unknown_fields_are_harmless(caller: Caller) -> None:
    odd = {"type": "function_call", "name": "f", "arguments": "{}", "role": "assistant", "content": [1, None]}
    added = caller.send("conversation.item.create", item=odd)[0]
    item_id = added["item"]["id"]
    assert kinds(caller.send("conversation.item.retrieve", item_id=item_id)) == ["conversation.item.retrieved"]
    truncate = {"type": "conversation.item.truncate", "content_index": 0, "audio_end_ms": 0}
    assert error_of(caller.send(**truncate, item_id=item_id))["param"] == "item_id"


def test_a_truncated_item_has_the_heard_sound_and_no_words(caller: Caller) -> None:
    item_id = answer(caller, "say:hi long:400 finish")[1]["item"]["id"]
    truncate = {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0}
    error = error_of(caller.send(**truncate, audio_end_ms=441))
    assert (error["param"], error["message"]) == (
        "audio_end_ms",
        "Audio content of 440ms is already shorter than 441ms",
    )
    assert error_of(caller.send(**{**truncate, "content_index": 1}, audio_end_ms=1))["param"] == "content_index"
    (truncated,) = caller.send(**truncate, audio_end_ms=100)
    assert (truncated["item_id"], truncated["audio_end_ms"]) == (item_id, 100)
    assert caller.brain.notes[-1] == ("truncated", item_id, 100)
    (retrieved,) = caller.send("conversation.item.retrieve", item_id=item_id)
    (part,) = retrieved["item"]["content"]
    assert part["transcript"] == ""
    assert len(base64.b64decode(part["audio"])) == 4800
    assert error_of(caller.send(**truncate, audio_end_ms=101))["param"] == "audio_end_ms"


def test_only_the_agents_speech_can_be_truncated(caller: Caller) -> None:
    caller.send("conversation.item.create", item=user_text("a"))
    truncate = {"type": "conversation.item.truncate", "content_index": 0, "audio_end_ms": 0}
    assert error_of(caller.send(**truncate, item_id="a"))["param"] == "item_id"
    assert error_of(caller.send(**truncate, item_id="b"))["code"] == "item_truncate_invalid_item_id"


def test_an_item_may_be_deleted_or_truncated_while_it_is_spoken(caller: Caller) -> None:
    item_id = answer(caller, "say:hi wait say:more finish")[1]["item"]["id"]
    caller.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=20)
    caller.brain.go_on()
    (done,) = [event for event in caller.take() if event["type"] == "conversation.item.done"]
    assert done["item"]["content"] == [{"type": "output_audio", "transcript": ""}]
    item_id = answer(caller, "say:hi wait say:more finish")[1]["item"]["id"]
    caller.send("conversation.item.delete", item_id=item_id)
    caller.brain.go_on()
    assert "conversation.item.done" not in kinds(caller.take())


def test_sound_too_long_for_one_frame_is_not_retrieved(caller: Caller) -> None:
    item_id = answer(caller, "long:9000 long:1100 long:50 finish")[1]["item"]["id"]
    (retrieved,) = caller.send("conversation.item.retrieve", item_id=item_id)
    assert retrieved["item"]["content"] == [{"type": "output_audio", "transcript": ""}]
    events = caller.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=10_150)
    assert kinds(events) == ["conversation.item.truncated"]
