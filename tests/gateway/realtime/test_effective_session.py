"""Tests for gateway/realtime/session.py, with session_update.py, owners.py, turn_detection.py and wire_formats.py."""

from __future__ import annotations

from typing import Any, cast

import orjson
import pytest

from audio.formats import PCM16_8K, PCM16_24K, PCMA_8K, PCMU_8K
from gateway.realtime.owners import EVERYTHING, filtered_response, item_allowed, spoken_text
from gateway.realtime.session import AgentSide, EffectiveSession
from gateway.realtime.wire_formats import read_format, write_format
from sessions.agent import TurnDetection
from sessions.errors import WireError
from sessions.setup import ToolSpec, TurnPolicy

OURS = ToolSpec("find_table", "Finds a table.", {"type": "object"})
THEIRS = {"type": "function", "name": "blink", "description": "Blinks.", "parameters": {"type": "object"}}
AGENT = AgentSide(
    instructions="Secret.",
    tools=(OURS,),
    voice="marin",
    speed=None,
    turn_detection=TurnDetection(silence_ms=400, barge_in=False),
    transcription={"model": "whisper-1", "language": "en", "prompt": "Secret."},
    max_output_tokens=800,
)


@pytest.fixture
def session() -> EffectiveSession:
    return EffectiveSession.for_agent(AGENT, "sess_1", 1_900_000_000, "front-desk")


def seen_by_client(session: EffectiveSession) -> dict[str, Any]:
    return cast("dict[str, Any]", session.as_client_sees())


def got_by_model(session: EffectiveSession) -> dict[str, Any]:
    return cast("dict[str, Any]", session.as_model_gets())


def update(**fields: Any) -> dict[str, Any]:
    return {"type": "realtime", **fields}


def heard(**fields: Any) -> dict[str, Any]:
    return update(audio={"input": fields})


def said(**fields: Any) -> dict[str, Any]:
    return update(audio={"output": fields})


def test_the_client_sees_the_whole_session_without_the_agents_fields(session: EffectiveSession) -> None:
    seen = seen_by_client(session)
    assert b"Secret" not in orjson.dumps(seen)
    assert b"find_table" not in orjson.dumps(seen)
    assert seen == {
        "type": "realtime",
        "object": "realtime.session",
        "id": "sess_1",
        "model": "front-desk",
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": 800,
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": 1_900_000_000,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "whisper-1", "language": "en"},
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 400,
                    "idle_timeout_ms": None,
                    "create_response": True,
                    "interrupt_response": False,
                },
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
        },
    }


def test_the_model_gets_only_fields_that_are_set(session: EffectiveSession) -> None:
    got = got_by_model(session.merged(update(tools=[THEIRS], reasoning={"effort": "low"})))
    assert got["instructions"] == "Secret."
    assert [tool["name"] for tool in got["tools"]] == ["find_table", "blink"]
    assert got["reasoning"] == {"effort": "low"}
    assert got["audio"]["output"] == {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"}
    assert got["audio"]["input"]["transcription"] == AGENT.transcription
    assert not got.keys() & {"id", "object", "expires_at", "model", "tracing", "prompt", "truncation", "include"}
    assert "noise_reduction" not in got["audio"]["input"]


def test_a_clients_fields_are_merged_over_the_agents(session: EffectiveSession) -> None:
    change = {
        "input": {
            "format": {"type": "audio/pcmu"},
            "noise_reduction": None,
            "turn_detection": {"type": "semantic_vad"},
        },
        "output": {"format": {"type": "audio/pcma", "rate": None}, "voice": {"id": "voice_1"}, "speed": 1.2},
    }
    merged = session.merged(update(audio=change, output_modalities=["text"], tool_choice="none"))
    setup = merged.setup()
    assert (setup.input_format, setup.output_format, setup.text_only) == (PCMU_8K, PCMA_8K, True)
    assert setup.turn_policy is TurnPolicy.MODEL_INTERRUPTS
    assert setup.session == got_by_model(merged)
    assert got_by_model(merged)["audio"]["input"]["noise_reduction"] is None
    seen = seen_by_client(merged)
    assert seen["audio"]["output"]["voice"] == {"id": "voice_1"}
    assert seen["tool_choice"] == "none"
    again = merged.merged(said(speed=None, format=None, voice=None))
    assert seen_by_client(again) == seen


def test_turn_detection_is_merged_replaced_or_turned_off(session: EffectiveSession) -> None:
    overlaid = session.merged(heard(turn_detection={"type": "server_vad", "threshold": 0.7, "odd": 1}))
    assert overlaid.turn_detection is not None
    assert (overlaid.turn_detection["threshold"], overlaid.turn_detection["silence_duration_ms"]) == (0.7, 400)
    assert overlaid.turn_policy is TurnPolicy.MODEL
    eager = overlaid.merged(heard(turn_detection={"type": "semantic_vad", "eagerness": "high"}))
    assert eager.turn_detection == {
        "type": "semantic_vad",
        "eagerness": "high",
        "create_response": True,
        "interrupt_response": True,
    }
    asked_for = eager.merged(heard(turn_detection={"type": "server_vad", "create_response": False}))
    assert asked_for.turn_policy is TurnPolicy.CLIENT_ASKS
    manual_turns = eager.merged(heard(turn_detection=None))
    assert manual_turns.setup().turn_policy is TurnPolicy.CLIENT
    assert got_by_model(manual_turns)["audio"]["input"]["turn_detection"] is None


@pytest.mark.parametrize(("kind", "expected"), [("none", None), ("semantic_vad", "semantic_vad")])
def test_the_agents_turn_detection_is_the_default(kind: str, expected: str | None) -> None:
    agent = AgentSide("", (), None, 0.9, TurnDetection(kind=kind), None, None)
    session = EffectiveSession.for_agent(agent, "s", 1, "m")
    detection = session.turn_detection
    assert (None if detection is None else detection["type"]) == expected
    seen = seen_by_client(session)
    assert (seen["max_output_tokens"], seen["audio"]["output"]["voice"]) == ("inf", "alloy")
    got = got_by_model(session)
    assert "max_output_tokens" not in got
    assert got["audio"]["output"] == {"format": {"type": "audio/pcm", "rate": 24000}, "speed": 0.9}


AGENTS_OWN = update(
    instructions="Mine.",
    model="gpt-realtime-2.1",
    prompt={"id": "p"},
    tracing="auto",
    truncation="disabled",
    max_output_tokens=5,
    audio={"input": {"transcription": {"model": "x"}}},
)


def test_the_agents_fields_are_ignored_silently(session: EffectiveSession) -> None:
    assert session.merged(AGENTS_OWN) == session
    assert session.merged(update(instructions=7, prompt=7, truncation=7, max_output_tokens="x")) == session


def test_fields_that_the_client_may_set_are_set_and_echoed(session: EffectiveSession) -> None:
    merged = session.merged(AGENTS_OWN, EVERYTHING)
    seen, got = seen_by_client(merged), got_by_model(merged)
    for face in (seen, got):
        assert face["instructions"] == "Mine."
        assert face["prompt"] == {"id": "p"}
        assert (face["tracing"], face["truncation"], face["max_output_tokens"]) == ("auto", "disabled", 5)
        assert face["audio"]["input"]["transcription"] == {"model": "x"}
    assert seen["model"] == "front-desk"
    off = merged.merged(heard(transcription=None), EVERYTHING)
    assert got_by_model(off)["audio"]["input"]["transcription"] is None
    assert got_by_model(off.merged(update(max_output_tokens="inf"), EVERYTHING))["max_output_tokens"] == "inf"


def test_the_list_of_tools_is_replaced_as_a_whole(session: EffectiveSession) -> None:
    one = session.merged(update(tools=[THEIRS]))
    assert one.merged(update(tools=[{**THEIRS, "name": "nod"}])).tools == ({**THEIRS, "name": "nod"},)
    assert one.merged(update(tools=None)).tools == (THEIRS,)
    assert one.merged(update(tools=[])).tools == ()
    mcp = {"type": "mcp", "server_label": "s", "server_url": "https://example.org"}
    assert one.merged(update(tools=[mcp], tool_choice={"type": "mcp", "server_label": "s"})).tools == (mcp,)


def test_the_voice_is_locked_once_the_agent_has_spoken(session: EffectiveSession) -> None:
    assert session.merged(said(voice="ash")).voice == "ash"
    assert session.merged(said(voice="marin"), voice_locked=True) == session
    with pytest.raises(WireError) as caught:
        session.merged(said(voice="ash"), voice_locked=True)
    assert (caught.value.code, caught.value.param) == ("cannot_update_voice", "session.audio.output.voice")


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({}, "missing_required_parameter", "session.type"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        (update(modalities=["audio"]), "unknown_parameter", "session.modalities"),
        (update(audio=[]), "invalid_type", "session.audio"),
        (update(audio={"input": 1}), "invalid_type", "session.audio.input"),
        (heard(format="pcm16"), "invalid_type", "session.audio.input.format"),
        (heard(format={"type": "audio/opus"}), "invalid_value", "session.audio.input.format.type"),
        (heard(format={"type": "audio/pcm", "rate": 16000}), "invalid_value", "session.audio.input.format.rate"),
        (said(format={"type": "audio/pcmu", "rate": 24000}), "invalid_value", "session.audio.output.format.rate"),
        (heard(turn_detection={}), "missing_required_parameter", "session.audio.input.turn_detection.type"),
        (heard(turn_detection={"type": "psychic"}), "invalid_value", "session.audio.input.turn_detection.type"),
        (
            heard(turn_detection={"type": "server_vad", "threshold": 2}),
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            heard(turn_detection={"type": "server_vad", "create_response": "yes"}),
            "invalid_type",
            "session.audio.input.turn_detection.create_response",
        ),
        (
            heard(turn_detection={"type": "server_vad", "silence_duration_ms": 0.5}),
            "invalid_type",
            "session.audio.input.turn_detection.silence_duration_ms",
        ),
        (
            heard(turn_detection={"type": "server_vad", "idle_timeout_ms": 0}),
            "invalid_value",
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            heard(turn_detection={"type": "semantic_vad", "eagerness": "very"}),
            "invalid_value",
            "session.audio.input.turn_detection.eagerness",
        ),
        (heard(noise_reduction={"type": "x"}), "invalid_value", "session.audio.input.noise_reduction.type"),
        (
            heard(noise_reduction={"type": "near_field", "strength": -1}),
            "invalid_value",
            "session.audio.input.noise_reduction.strength",
        ),
        (said(speed=2), "invalid_value", "session.audio.output.speed"),
        (said(speed="1"), "invalid_type", "session.audio.output.speed"),
        (said(voice=""), "invalid_value", "session.audio.output.voice"),
        (said(voice={}), "missing_required_parameter", "session.audio.output.voice.id"),
        (update(output_modalities=["text", "audio"]), "invalid_value", "session.output_modalities"),
        (update(tools=[{"type": "function"}]), "missing_required_parameter", "session.tools[0].name"),
        (update(tools=[{"type": "code"}]), "invalid_value", "session.tools[0].type"),
        (update(tools=[{**THEIRS, "parameters": []}]), "invalid_type", "session.tools[0].parameters"),
        (update(tools=[{**THEIRS, "description": 1}]), "invalid_type", "session.tools[0].description"),
        (update(tools=[THEIRS, {**THEIRS, "name": "find_table"}]), "invalid_value", "session.tools[1].name"),
        (update(tool_choice="some"), "invalid_value", "session.tool_choice"),
        (update(tool_choice={"type": "function"}), "missing_required_parameter", "session.tool_choice.name"),
        (update(reasoning={"effort": "max"}), "invalid_value", "session.reasoning.effort"),
        (update(parallel_tool_calls=1), "invalid_type", "session.parallel_tool_calls"),
        (update(include=[1]), "invalid_type", "session.include[0]"),
        (update(instructions=1), "invalid_type", "session.instructions"),
        (update(prompt={}), "missing_required_parameter", "session.prompt.id"),
        (update(tracing=1), "invalid_type", "session.tracing"),
        (update(truncation="never"), "invalid_value", "session.truncation"),
        (
            update(truncation={"type": "retention_ratio", "retention_ratio": 2}),
            "invalid_value",
            "session.truncation.retention_ratio",
        ),
        (update(max_output_tokens=5000), "invalid_value", "session.max_output_tokens"),
        (heard(transcription="x"), "invalid_type", "session.audio.input.transcription"),
    ],
)
def test_the_error_for_an_invalid_value_names_its_field(
    session: EffectiveSession, change: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(WireError) as caught:
        session.merged(change, EVERYTHING)
    assert (caught.value.code, caught.value.param) == (code, param)


# ---- what a client may ask for in a response


def test_a_response_request_keeps_only_the_clients_fields() -> None:
    response: dict[str, Any] = {
        "conversation": "none",
        "metadata": {"a": "b"},
        "output_modalities": ["text"],
        "audio": {"output": {"voice": "ash", "format": {"type": "audio/pcmu"}}},
        "tool_choice": "none",
        "instructions": "Mine.",
        "tools": 7,
        "prompt": 7,
        "input": 7,
        "max_output_tokens": 7,
        "pre_generated_assistant_message": 7,
        "tomorrow": 1,
        "reasoning": None,
    }
    kept = filtered_response(response, frozenset())
    assert set(kept) == {"conversation", "metadata", "output_modalities", "audio", "tool_choice", "tomorrow"}
    assert filtered_response({"instructions": "Mine."}, frozenset({"instructions"})) == {"instructions": "Mine."}


@pytest.mark.parametrize(
    ("response", "param"),
    [
        ({"conversation": "both"}, "response.conversation"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "response.metadata"),
        ({"metadata": {"k" * 65: "x"}}, "response.metadata"),
        ({"metadata": {"k": "x" * 513}}, "response.metadata.k"),
        ({"metadata": {"k": 1}}, "response.metadata.k"),
        ({"output_modalities": []}, "response.output_modalities"),
        ({"max_output_tokens": 0}, "response.max_output_tokens"),
        ({"audio": {"output": {"format": {"type": "x"}}}}, "response.audio.output.format.type"),
        ({"audio": {"output": {"voice": 1}}}, "response.audio.output.voice"),
        ({"audio": 1}, "response.audio"),
        ({"input": {}}, "response.input"),
        ({"tools": [1]}, "response.tools[0]"),
        ({"pre_generated_assistant_message": {}}, "response.pre_generated_assistant_message.content"),
        (
            {"pre_generated_assistant_message": {"content": [{"type": "text", "text": " "}]}},
            "response.pre_generated_assistant_message.content",
        ),
    ],
)
def test_the_error_for_an_invalid_response_request_names_its_field(response: dict[str, Any], param: str) -> None:
    with pytest.raises(WireError) as caught:
        filtered_response(response, EVERYTHING)
    assert caught.value.param == param


def test_system_items_count_as_instructions() -> None:
    system = {"type": "message", "role": "system", "content": []}
    assert not item_allowed(system, frozenset())
    assert item_allowed(system, frozenset({"instructions"}))
    assert item_allowed({**system, "role": "user"}, frozenset())


def test_the_parts_of_a_pre_generated_message_are_joined() -> None:
    content = [{"type": "text", "text": "Hello."}, {"type": "text", "text": "Bye."}]
    assert spoken_text({"content": content}) == "Hello. Bye."


def test_formats_are_written_as_they_are_read() -> None:
    for format in (PCM16_24K, PCMU_8K, PCMA_8K):
        assert read_format(write_format(format), "f") == format
    with pytest.raises(ValueError, match="pcm16/8000"):
        write_format(PCM16_8K)
