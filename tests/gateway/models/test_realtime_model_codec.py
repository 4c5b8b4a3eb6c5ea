from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.formats import PCM16_24K, PCMU_8K, AudioFormat, AudioFrame
from gateway.ids import CountingIds
from gateway.models.realtime_codec import RealtimeModelCodec
from sessions.commands import (
    AddToolOutput,
    CancelResponse,
    Configure,
    PassToModel,
    RequestResponse,
    Seed,
    SendAudio,
    TruncateItem,
)
from sessions.errors import WireError
from sessions.events import (
    AgentAudio,
    AgentText,
    CallerTranscribed,
    CallerTurnTaken,
    ItemKind,
    ItemStarted,
    ItemTaken,
    ModelLost,
    ModelPassed,
    ModelReady,
    ModelRefused,
    Outcome,
    ResponseEnded,
    ResponseRequest,
    ResponseStarted,
    SpeechEnded,
    SpeechStarted,
    ToolOutputTaken,
    ToolWanted,
    Wire,
)
from sessions.past import PastMessage, PastToolCall
from sessions.ports import JsonObject
from sessions.problems import ModelProblem
from sessions.setup import ModelSetup
from sessions.usage import TokenUsage

PLACE = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}


def new_codec(**changes: Any) -> RealtimeModelCodec:
    return RealtimeModelCodec(CountingIds(), **{"speaks_given_text": False, **changes})


def message(kind: str, **fields: Any) -> bytes:
    return orjson.dumps({"type": kind, "event_id": "event_1", **fields})


def setup(session: JsonObject | None = None, output: AudioFormat = PCM16_24K) -> ModelSetup:
    return ModelSetup({"type": "realtime", **(session or {})}, PCM16_24K, output, False, True, True, None)


def sent(codec: RealtimeModelCodec, command: Any) -> list[dict[str, Any]]:
    return [orjson.loads(text) for text in codec.encode(command)]


def ready_codec(**changes: Any) -> RealtimeModelCodec:
    codec = new_codec(**changes)
    codec.encode(Configure(setup()))
    assert codec.decode(message("session.updated", session={})) == ModelReady()
    return codec


def delta(sound: bytes, item_id: str = "item_1", response_id: str = "resp_1") -> bytes:
    fields = {**PLACE, "item_id": item_id, "response_id": response_id}
    return message("response.output_audio.delta", **fields, delta=base64.b64encode(sound).decode())


def speech(codec: RealtimeModelCodec, text: bytes) -> AgentAudio:
    event = codec.decode(text)
    assert isinstance(event, AgentAudio)
    return event


def request(**changes: Any) -> RequestResponse:
    fields: dict[str, Any] = {"out_of_band": False, "metadata": None, "say": None, "wire": None, **changes}
    return RequestResponse(ResponseRequest("pb_ask", **fields))


# ---- sound from the model


def test_speech_keeps_its_bytes_and_counts_samples_from_its_items_start() -> None:
    codec = new_codec()
    text = delta(bytes(480))
    first, second = speech(codec, text), speech(codec, delta(bytes(960)))
    assert first == AgentAudio("resp_1", "item_1", AudioFrame(bytes(480), PCM16_24K, 0), text)
    assert second.frame.start_sample == 240
    assert speech(codec, delta(bytes(4), "item_2")).frame.start_sample == 0
    assert speech(codec, delta(bytes(4))).frame.start_sample == 720


def test_speech_is_read_whatever_its_layout() -> None:
    codec = new_codec()
    text = (
        b'{ "delta": "AAAA\\u0041AAA", "type": "response.output_audio.delta", "item_id": "i", "response_id": "r",'
        b' "output_index": 0, "content_index": 0 }'
    )
    assert speech(codec, text).frame.payload == bytes(6)


def test_half_a_sample_waits_for_its_other_half() -> None:
    codec = new_codec()
    first = speech(codec, delta(b"\x01\x02\x03"))
    second = speech(codec, delta(b"\x04\x05\x06"))
    assert (first.frame.payload, second.frame.payload) == (b"\x01\x02", b"\x03\x04\x05\x06")
    assert second.frame.start_sample == 1


def test_sound_has_the_format_that_its_response_names() -> None:
    codec = ready_codec()
    named = {"id": "resp_1", "audio": {"output": {"format": {"type": "audio/pcmu"}}}, "conversation_id": "conv_1"}
    codec.decode(message("response.created", response=named))
    assert speech(codec, delta(b"\xff\xff\xff")).frame.format == PCMU_8K


def test_a_change_of_format_holds_once_the_model_has_confirmed_it() -> None:
    codec = ready_codec()
    codec.encode(Configure(setup(output=PCMU_8K)))
    assert speech(codec, delta(bytes(4))).frame.format == PCM16_24K
    codec.decode(message("session.updated", session={"audio": {"output": {"format": {"type": "audio/pcmu"}}}}))
    assert speech(codec, delta(bytes(4), "item_2", "resp_2")).frame.format == PCMU_8K


def test_sound_that_is_not_base64_is_malformed() -> None:
    text = message("response.output_audio.delta", **PLACE, delta="%%%")
    with pytest.raises(WireError, match="base64") as caught:
        new_codec().decode(text)
    assert caught.value.param == "delta"


# ---- what the model says


def test_a_session_is_ready_when_the_model_has_confirmed_the_set_up() -> None:
    codec = new_codec()
    assert codec.decode(message("session.created", session={})) is None
    assert codec.decode(message("session.updated", session={})) is None
    codec.encode(Configure(setup()))
    assert codec.decode(message("session.updated", session={})) == ModelReady()
    assert codec.decode(message("session.updated", session={})) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            message("input_audio_buffer.speech_started", audio_start_ms=40, item_id="i"),
            lambda wire: SpeechStarted("i", 40, wire),
        ),
        (
            message("input_audio_buffer.speech_stopped", audio_end_ms=90, item_id="i"),
            lambda wire: SpeechEnded("i", 90, wire),
        ),
        (
            message("input_audio_buffer.committed", item_id="i", previous_item_id=None),
            lambda wire: CallerTurnTaken("i", wire),
        ),
        (
            message("conversation.item.input_audio_transcription.delta", item_id="i", delta="Hel"),
            lambda wire: CallerTranscribed("i", "Hel", False, wire),
        ),
        (
            message("conversation.item.input_audio_transcription.completed", item_id="i", transcript="Hello"),
            lambda wire: CallerTranscribed("i", "Hello", True, wire),
        ),
        (
            message(
                "conversation.item.input_audio_transcription.failed", item_id="i", error={"code": "c", "type": "t"}
            ),
            lambda wire: ModelRefused("c", "The model refused a message.", None, wire, ModelProblem("c", "t")),
        ),
        (
            message("conversation.item.added", item={"id": "i", "type": "function_call_output", "call_id": "c"}),
            lambda wire: ToolOutputTaken("c", wire),
        ),
        (
            message("conversation.item.added", item={"id": "i", "type": "message", "role": "assistant"}),
            lambda wire: ItemTaken("i", wire),
        ),
        (
            message("conversation.item.added", item={"id": "i", "type": "function_call", "name": "f"}),
            lambda wire: ItemTaken("i", wire),
        ),
        (message("conversation.item.added", item={"id": "i", "type": "mcp_call"}), ModelPassed),
        (
            message("response.created", response={"id": "r", "conversation_id": "c", "metadata": {"a": "b"}}),
            lambda wire: ResponseStarted("r", False, {"a": "b"}, wire),
        ),
        (
            message("response.output_item.added", response_id="r", item={"id": "i", "type": "message"}),
            lambda wire: ItemStarted("r", "i", ItemKind.MESSAGE, None, None, wire),
        ),
        (
            message(
                "response.output_item.added",
                response_id="r",
                item={"id": "i", "type": "function_call", "name": "f", "call_id": "c"},
            ),
            lambda wire: ItemStarted("r", "i", ItemKind.TOOL_CALL, "f", "c", wire),
        ),
        (
            message("response.output_item.added", response_id="r", item={"id": "i", "type": "mcp_call"}),
            lambda wire: ItemStarted("r", "i", ItemKind.OTHER, None, None, wire),
        ),
        (
            message("response.output_audio_transcript.delta", **PLACE, delta="Hi"),
            lambda wire: AgentText("resp_1", "item_1", "Hi", True, wire),
        ),
        (
            message("response.output_text.delta", **PLACE, delta="Hi"),
            lambda wire: AgentText("resp_1", "item_1", "Hi", False, wire),
        ),
        (message("rate_limits.updated", rate_limits=[]), ModelPassed),
        (message("response.of.the.future", anything=1), ModelPassed),
    ],
)
def test_a_message_becomes_the_event_that_it_means(text: bytes, expected: Any) -> None:
    assert new_codec().decode(text) == expected(Wire("realtime", text, orjson.loads(text)))


def call_done(status: str = "completed") -> bytes:
    item = {"id": "i", "type": "function_call", "name": "f", "call_id": "c", "arguments": "{}", "status": status}
    return message("response.output_item.done", response_id="r", output_index=0, item=item)


def test_a_function_is_called_once_and_only_when_its_arguments_are_complete() -> None:
    codec = new_codec()
    assert isinstance(codec.decode(call_done("incomplete")), ItemStarted)
    wanted = codec.decode(call_done())
    assert isinstance(wanted, ToolWanted)
    assert (wanted.call_id, wanted.name, wanted.arguments) == ("c", "f", "{}")
    assert isinstance(codec.decode(call_done()), ModelPassed)


@pytest.mark.parametrize(
    ("status", "details", "outcome", "reason"),
    [
        ("completed", None, Outcome.COMPLETED, None),
        ("cancelled", {"type": "cancelled", "reason": "turn_detected"}, Outcome.CANCELLED, "turn_detected"),
        ("incomplete", {"type": "incomplete", "reason": "content_filter"}, Outcome.INCOMPLETE, "content_filter"),
        ("failed", {"type": "failed", "error": {"code": "insufficient_quota"}}, Outcome.FAILED, "insufficient_quota"),
        ("in_a_new_way", None, Outcome.FAILED, None),
    ],
)
def test_a_response_ends_in_its_own_way(
    status: str, details: JsonObject | None, outcome: Outcome, reason: str | None
) -> None:
    response = {"id": "r", "status": status, "status_details": details, "usage": None}
    ended = new_codec().decode(message("response.done", response=response))
    assert isinstance(ended, ResponseEnded)
    assert (ended.outcome, ended.reason, ended.usage) == (outcome, reason, None)


def test_tokens_are_counted_as_the_model_counts_them() -> None:
    usage = {
        "total_tokens": 99,
        "input_token_details": {"text_tokens": 1, "audio_tokens": 2, "image_tokens": 3, "cached_tokens": 4},
        "output_token_details": {"text_tokens": 5, "audio_tokens": "many"},
    }
    ended = new_codec().decode(message("response.done", response={"id": "r", "status": "completed", "usage": usage}))
    assert isinstance(ended, ResponseEnded)
    assert ended.usage == TokenUsage(1, 2, 3, 4, 5, 0)


def test_words_that_come_in_one_piece_only_are_heard() -> None:
    codec = new_codec()
    whole = codec.decode(message("response.output_audio_transcript.done", **PLACE, transcript="Hello."))
    assert isinstance(whole, AgentText)
    assert whole.text == "Hello."
    pieces = {**PLACE, "item_id": "item_2"}
    codec.decode(message("response.output_text.delta", **pieces, delta="Hel"))
    assert isinstance(codec.decode(message("response.output_text.done", **pieces, text="Hello")), ModelPassed)


def test_a_response_is_beside_the_conversation_only_if_one_was_asked_for() -> None:
    codec = new_codec()
    text = message("response.created", response={"id": "r", "conversation_id": None})
    first = codec.decode(text)
    assert isinstance(first, ResponseStarted)
    assert not first.out_of_band
    codec.encode(request(out_of_band=True))
    second, third = codec.decode(text), codec.decode(text)
    assert isinstance(second, ResponseStarted)
    assert isinstance(third, ResponseStarted)
    assert (second.out_of_band, third.out_of_band) == (True, False)


@pytest.mark.parametrize(
    ("beta", "now"),
    [
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
        ("response.text.delta", "response.output_text.delta"),
        ("response.audio.done", "response.output_audio.done"),
    ],
)
def test_names_of_the_beta_are_put_right(beta: str, now: str) -> None:
    event = new_codec().decode(message(beta, **PLACE, delta="AAAA"))
    assert isinstance(event, AgentAudio | AgentText | ModelPassed)
    wire = event.wire
    text = wire if isinstance(wire, bytes) else wire.text if wire is not None else b""
    assert orjson.loads(text)["type"] == now


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"no":"type"}',
        b'{"type":7}',
        message("response.created"),
        message("response.created", response={}),
        message("response.done"),
        message("response.output_audio.delta", delta="AAAA"),
        message("response.output_audio_transcript.delta", **PLACE),
        message("response.output_item.done", response_id="r", item={"id": "i", "type": "function_call", "name": "f"}),
        message("input_audio_buffer.speech_started", audio_start_ms=1),
        message("input_audio_buffer.speech_stopped", audio_end_ms=1),
        message("input_audio_buffer.committed"),
        b'{"type":"x","deep":' + b"[" * 300 + b"]" * 300 + b"}",
    ],
)
def test_a_message_of_the_wrong_shape_is_malformed(text: bytes) -> None:
    with pytest.raises(WireError):
        new_codec().decode(text)


# ---- halves of surrogate pairs


def piece(delta: str, kind: str = "response.output_audio_transcript.delta", item_id: str = "item_1") -> bytes:
    return json.dumps({"type": kind, "event_id": "e", **PLACE, "item_id": item_id, "delta": delta}).encode()


def words_of(codec: RealtimeModelCodec, *texts: bytes) -> list[str]:
    events = [codec.decode(text) for text in texts]
    assert all(isinstance(event, AgentText | CallerTranscribed) for event in events)
    return [event.text for event in events]  # type: ignore[union-attr]


def test_half_an_emoji_in_a_models_words_is_a_replacement_character() -> None:
    codec, text = new_codec(), piece("Hi \ude00")
    event = codec.decode(text)
    assert isinstance(event, AgentText)
    assert event.wire is not None
    assert (event.text, event.wire.text, event.wire.parsed["delta"]) == ("Hi \ufffd", text, "Hi \ufffd")


@pytest.mark.parametrize(
    "kind",
    [
        "response.output_audio_transcript.delta",
        "response.audio_transcript.delta",
        "response.output_text.delta",
        "conversation.item.input_audio_transcription.delta",
    ],
)
def test_an_emoji_that_was_cut_in_two_is_whole_in_the_words(kind: str) -> None:
    codec = new_codec()
    assert words_of(codec, piece("Hi \ud83d", kind), piece("there", kind, "item_2")) == ["Hi ", "there"]
    assert words_of(codec, piece("\ude00!", kind), piece("?", kind)) == ["😀!", "?"]


def test_a_half_that_is_still_missing_at_the_end_is_a_replacement_character() -> None:
    codec = new_codec()
    codec.decode(piece("Hi \ud83d"))
    done = json.dumps({"type": "response.output_audio_transcript.done", **PLACE, "transcript": "Hi \ud83d"}).encode()
    event = codec.decode(done)
    assert isinstance(event, AgentText)
    assert (event.text, event.whole) == ("\ufffd", True)
    assert isinstance(codec.decode(done), ModelPassed)


def test_no_half_gets_into_what_a_model_wants_or_refuses() -> None:
    codec = new_codec()
    item = {"id": "i", "type": "function_call", "name": "f", "call_id": "c", "arguments": '{"who":"\ud83d"}'}
    wanted = codec.decode(json.dumps({"type": "response.output_item.done", "response_id": "r", "item": item}).encode())
    assert isinstance(wanted, ToolWanted)
    assert wanted.arguments == '{"who":"\ufffd"}'
    said = {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i", "transcript": "\ude00"}
    assert words_of(codec, json.dumps(said).encode()) == ["\ufffd"]


def test_a_message_in_which_a_half_and_a_deep_nest_stand_is_malformed() -> None:
    for depth in (100, 2_000, 50_000):
        deep = b"[" * depth + b"]" * depth
        with pytest.raises(WireError):
            new_codec().decode(b'{"type":"x","half":"\\ud83d","deep":' + deep + b"}")


# ---- errors


def refusal(code: str | None, event_id: str | None, param: str | None = None) -> bytes:
    error = {"type": "invalid_request_error", "code": code, "message": "No.", "param": param, "event_id": event_id}
    return message("error", error=error)


def test_an_error_names_the_message_that_it_is_about() -> None:
    text = refusal("response_cancel_not_active", "mine")
    wire = Wire("realtime", text, orjson.loads(text))
    problem = ModelProblem("response_cancel_not_active", "invalid_request_error")
    assert new_codec().decode(text) == ModelRefused("response_cancel_not_active", "No.", "mine", wire, problem)


@pytest.mark.parametrize(("code", "retryable"), [("session_expired", True), ("invalid_api_key", False)])
def test_some_errors_are_the_end_of_the_leg(code: str, retryable: bool) -> None:
    problem = ModelProblem(code, "invalid_request_error")
    assert ready_codec().decode(refusal(code, None)) == ModelLost(code, retryable, problem)


def test_a_field_that_the_service_does_not_know_is_left_out_from_then_on() -> None:
    codec = new_codec()
    session: JsonObject = {"tracing": "auto", "audio": {"input": {"noise_reduction": None, "format": {}}}}
    first = sent(codec, Configure(setup(session)))[0]
    path = "session.audio.input.noise_reduction"
    assert codec.decode(refusal("unknown_parameter", first["event_id"], path)) is None
    assert codec.settings.retry is not None
    again = orjson.loads(codec.settings.retry)
    assert again["session"]["audio"] == {"input": {"format": {}}}
    assert codec.decode(refusal("unknown_parameter", again["event_id"], "session.tracing")) is None
    assert codec.decode(message("session.updated", session={})) == ModelReady()
    later = sent(codec, Configure(setup(session)))[0]
    assert later["session"] == {"type": "realtime", "audio": {"input": {"format": {}}}}


def test_a_set_up_that_cannot_be_mended_ends_the_leg() -> None:
    codec = new_codec()
    first = sent(codec, Configure(setup()))[0]
    assert codec.decode(refusal("invalid_value", first["event_id"], "session.voice")) == ModelLost(
        "the model refused the session: invalid_value", False, ModelProblem("invalid_value", "invalid_request_error")
    )


def test_a_later_change_that_is_refused_does_not_end_the_leg() -> None:
    codec = ready_codec()
    change = sent(codec, Configure(setup()))[0]
    assert isinstance(codec.decode(refusal("cannot_update_voice", change["event_id"])), ModelRefused)


# ---- commands


def frame(start_ms: int, ms: int = 20) -> AudioFrame:
    return AudioFrame(bytes(PCM16_24K.bytes_for_ms(ms)), PCM16_24K, start_ms * 24)


def test_sound_goes_on_as_the_message_that_it_came_in() -> None:
    codec = new_codec()
    for text in (
        b'{"type":"input_audio_buffer.append","audio":"AAAA"}',
        b'{"event_id":"x","audio":"AAAA","type":"input_audio_buffer.append"}',
    ):
        assert codec.encode(SendAudio(frame(0), text)) == (text,)


@pytest.mark.parametrize("wire", [None, b'{"event":"media","media":{"payload":"AAAA"}}'])
def test_sound_of_another_dialect_is_written_anew(wire: bytes | None) -> None:
    made = sent(new_codec(), SendAudio(AudioFrame(b"\x01\x02", PCM16_24K, 0), wire))
    assert made == [{"type": "input_audio_buffer.append", "audio": "AQI="}]


def test_positions_are_the_callers_own_on_a_later_leg() -> None:
    codec = new_codec()
    codec.encode(SendAudio(frame(7000), None))
    event = codec.decode(message("input_audio_buffer.speech_started", audio_start_ms=5, item_id="i"))
    assert isinstance(event, SpeechStarted)
    assert event.at_ms == 7005
    assert event.wire is not None
    assert orjson.loads(event.wire.text)["audio_start_ms"] == event.wire.parsed["audio_start_ms"] == 7005
    both = message("input_audio_buffer.timeout_triggered", audio_start_ms=1, audio_end_ms=2, item_id="i")
    passed = codec.decode(both)
    assert isinstance(passed, ModelPassed)
    assert passed.wire.parsed["audio_end_ms"] == 7002


def test_the_session_goes_out_without_what_the_service_does_not_take() -> None:
    codec = new_codec(voids=frozenset({"tracing"}), semantic_vad=False)
    detection: JsonObject = {"type": "semantic_vad", "eagerness": "low", "interrupt_response": False}
    session: JsonObject = {"model": "gpt-x", "tracing": None, "audio": {"input": {"turn_detection": detection}}}
    made = sent(codec, Configure(setup(session)))[0]
    assert made["type"] == "session.update"
    assert made["event_id"].startswith("pb_")
    assert made["session"] == {
        "type": "realtime",
        "audio": {"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}},
    }


def test_a_request_carries_the_name_by_which_a_refusal_is_known() -> None:
    codec = new_codec()
    body: JsonObject = {"type": "response.create", "response": {"metadata": {"k": "v"}}}
    named: JsonObject = {**body, "event_id": "pb_ask"}
    text = orjson.dumps(named)
    assert codec.encode(request(wire=Wire("realtime", text, named))) == (text,)
    assert sent(codec, request(wire=Wire("realtime", orjson.dumps(body), body))) == [named]
    assert sent(codec, request(metadata={"k": "v"}, out_of_band=True)) == [
        {**named, "response": {"metadata": {"k": "v"}, "conversation": "none"}}
    ]


def test_given_text_is_spoken_as_the_model_can() -> None:
    told = sent(new_codec(), request(say="Hello."))[0]["response"]
    assert told["instructions"].endswith("Hello.")
    assert told["tool_choice"] == "none"
    given_text = sent(new_codec(speaks_given_text=True), request(say="Hello."))[0]["response"]
    assert given_text["pre_generated_assistant_message"]["content"] == [{"type": "text", "text": "Hello."}]


def test_what_the_client_wrote_goes_on_as_it_is() -> None:
    wire = Wire("realtime", b'{"type":"x"}', {"type": "x"})
    codec = new_codec()
    for command in (PassToModel(wire), CancelResponse(None, wire), TruncateItem("i", 5, wire)):
        assert codec.encode(command) == (wire.text,)
    assert codec.encode(PassToModel(Wire("other", b"{}", {}))) == ()


def test_what_the_gateway_makes_has_its_own_ids() -> None:
    codec = new_codec()
    assert sent(codec, CancelResponse("r", None)) == [
        {"type": "response.cancel", "event_id": "pb_1", "response_id": "r"}
    ]
    assert sent(codec, TruncateItem("i", 5, None))[0] == {
        "type": "conversation.item.truncate",
        "event_id": "pb_2",
        "item_id": "i",
        "content_index": 0,
        "audio_end_ms": 5,
    }
    output = sent(codec, AddToolOutput("c", "done"))[0]
    assert output["item"] == {"id": "pb_3", "type": "function_call_output", "call_id": "c", "output": "done"}
    assert output["event_id"] == "pb_4"


def test_a_fresh_session_is_told_the_past_under_the_same_ids_and_the_client_is_not() -> None:
    codec = new_codec()
    past = (
        PastMessage("item_a", "user", "Hello"),
        PastMessage("item_b", "assistant", "Hi"),
        PastToolCall("item_c", "call_1", "f", "{}", "done"),
        PastMessage("x" * 40, "user", "More"),
    )
    items = [one["item"] for one in sent(codec, Seed(past))]
    assert [item["id"] for item in items[:3]] == ["item_a", "item_b", "item_c"]
    assert all(item["id"].startswith("pb_") for item in items[3:])
    assert [item["content"][0]["type"] for item in items if item["type"] == "message"] == [
        "input_text",
        "output_text",
        "input_text",
    ]
    assert items[3]["call_id"] == "call_1"
    for kind in ("conversation.item.added", "conversation.item.done"):
        assert codec.decode(message(kind, item={"id": "item_a", "type": "message"})) is None
    assert sent(codec, Seed((PastMessage("item_d", "user", "Hello?"),), frozenset({"item_d"}))) != []
    for kind in ("conversation.item.added", "conversation.item.done"):
        assert codec.decode(message(kind, item={"id": "item_d", "type": "message"})) is not None
    # Hidden by its id, on the client's side: what stands behind it must not name it.
    assert codec.decode(message("conversation.item.added", item=items[4])) is not None


# ---- nonsense

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TYPES = [
    "error",
    "session.updated",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.created",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.delta",
    "input_audio_buffer.committed",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.timeout_triggered",
    "response.audio.delta",
    "response.created",
    "response.done",
    "response.output_audio.delta",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.done",
    "unheard.of",
]
KEYS = [
    "item_id", "response_id", "item", "response", "delta", "error", "audio_start_ms", "audio_end_ms", "transcript",
    "text", "session", "output_index", "content_index",
]  # fmt: skip
BODY = st.dictionaries(
    st.sampled_from(["id", "type", "status", "name", "call_id", "arguments", "usage", "metadata", "audio", "code"]),
    JSON | st.sampled_from(["completed", "function_call", "function_call_output", "message", "unknown_parameter"]),
)
MESSAGES = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(KEYS), JSON | BODY | st.sampled_from(["i", "AAAA"])),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(MESSAGES, max_size=6))
def test_no_message_of_a_known_type_does_more_than_be_malformed(messages: list[dict[str, Any]]) -> None:
    codec = new_codec()
    codec.encode(Configure(setup()))
    codec.encode(SendAudio(frame(9000), None))
    for one in messages:
        try:
            text = orjson.dumps(one)
        except TypeError:
            continue  # an integer beyond 64 bits
        with suppress(WireError):
            codec.decode(text)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_do_more_than_be_malformed(text: bytes) -> None:
    with suppress(WireError):
        new_codec().decode(text)


def test_no_half_of_an_emoji_keeps_the_model_from_being_told() -> None:
    codec = new_codec()
    (output,) = sent(codec, AddToolOutput("c", "a \ud83d"))
    assert output["item"]["output"] == "a \ufffd"
    told = sent(codec, Seed((PastMessage("i", "user", "\ude00"), PastToolCall("k", "c", "f", '{"\ud83d"}', "\ud83d"))))
    assert [one["item"].get("output") for one in told] == [None, None, "\ufffd"]
    assert sent(codec, Configure(setup({"instructions": "\ud83d", "\ud83d": ["\ude00"]})))[0]["session"] == {
        "type": "realtime",
        "instructions": "\ufffd",
        "\ufffd": ["\ufffd"],
    }
    assert sent(codec, request(say="Hi \ud83d"))[0]["response"]["instructions"].endswith("Hi \ufffd")
