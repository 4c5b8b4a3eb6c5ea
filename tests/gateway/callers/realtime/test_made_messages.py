"""The messages for a client whose model speaks another dialect are those that a Realtime server sends."""

from __future__ import annotations

import array
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from audio.formats import PCM16_24K, AudioFrame
from gateway.callers.realtime.codec import RealtimeCallerCodec
from gateway.callers.realtime.made_messages import MAX_EXPECTED_BYTES
from gateway.callers.realtime.view import ClientView
from gateway.ids import CountingIds
from gateway.models.realtime.codec import RealtimeModelCodec
from gateway.models.scripted.brain import scripted_server
from gateway.models.scripted.file import read_script
from gateway.realtime.session import AgentSide, EffectiveSession
from sessions.agent import TurnDetection
from sessions.commands import AddItem, ModelCommand, Play, Relay, RequestResponse, SendAudio
from sessions.events import (
    AgentAudio,
    AgentItemEnded,
    AgentText,
    CallerTranscribed,
    ItemDeleted,
    ItemStarted,
    ItemTaken,
    ModelEvent,
    ModelPassed,
    ModelReady,
    ModelRefused,
    ResponseEnded,
    ResponseStarted,
    ToolOutputTaken,
    ToolWanted,
)
from sessions.past import PastMessage
from sessions.ports import JsonObject
from sessions.problems import ModelProblem
from sessions.values import ItemKind, Outcome, ResponseRequest, Wire

SCRIPT = """
model: plain
turns:
  - {when: {spoken: true}, hears: A table please., say: One moment.,
     calls: [{name: find, arguments: {n: 2}}, {name: on_screen, arguments: {}}]}
  - {when: {text: hello}, say: Good evening. How are you?}
"""
PIECES = {"response.function_call_arguments.delta", "response.mcp_call_arguments.delta"}  # no event has them
AGENT = AgentSide("Be brief.", (), None, None, TurnDetection(), {"model": "whisper-1"}, None)


class Client:
    """A Realtime client of a call, and its view; `wires` False: the model's events carry no message."""

    def __init__(self, *, wires: bool, show_tools: bool = False, **session: Any) -> None:
        self.wires = wires
        self.view = ClientView(CountingIds(), frozenset({"find"}), show_tools=show_tools)
        self.codec = RealtimeCallerCodec(
            EffectiveSession.for_agent(AGENT, "sess", 0, "desk"), self.view, CountingIds(), frozenset()
        )
        if session:
            self.reads(type="session.update", session={"type": "realtime", **session})
        self.got: list[dict[str, Any]] = []

    def reads(self, **message: Any) -> Any:
        return self.codec.read(orjson.dumps(message)).event

    def sees(self, *events: ModelEvent) -> list[dict[str, Any]]:
        """The messages for these events."""
        before = len(self.got)
        for event in events:
            for command in self._commands(event):
                self.got += [orjson.loads(message) for message in self.view.encode(command)]
        return self.got[before:]

    def _commands(self, event: ModelEvent) -> list[Play | Relay]:
        if not self.wires and isinstance(event, ModelPassed):
            return []
        if isinstance(event, AgentAudio):
            return [Play(event.response_id, event.item_id, event.frame, event.wire if self.wires else None)]
        if not self.wires and getattr(event, "wire", None) is not None:
            event = replace(event, wire=None)  # type: ignore[call-arg]
        return [Relay(event)]


def events_of_a_talk(folder: Path, **session: Any) -> list[ModelEvent]:
    """What a scripted model sends: an answer to speech that calls two functions, and an answer to text."""
    said: list[bytes] = []
    events: list[ModelEvent] = []
    codec = RealtimeModelCodec(CountingIds(), speaks_given_text=True)
    server = scripted_server(
        read_script(SCRIPT, "plain", folder), CountingIds(), said.append, lambda: None, now_ms=0, wall_s=0.0
    )
    now_ms = 0

    def passes(ms: int) -> None:
        nonlocal now_ms
        now_ms += ms
        while server.deadline_ms is not None and server.deadline_ms <= now_ms:
            server.on_time(now_ms)
        for message in said:
            event = codec.decode(message)
            if event is not None and not isinstance(event, ModelReady):
                events.append(event)
        said.clear()

    def send(command: ModelCommand) -> None:
        for message in codec.encode(command):
            server.receive(message, now_ms)
        passes(20)

    server.open(0)
    whole = {"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}, **session}
    server.receive(orjson.dumps({"type": "session.update", "session": whole}), 0)
    tone = array.array("h", (int(12_000 * math.sin(n / 20)) for n in range(480))).tobytes()
    for step in range(80):
        send(SendAudio(AudioFrame(tone if step < 20 else bytes(960), PCM16_24K, step * 480), None))
    passes(10_000)
    send(AddItem(PastMessage("text_1", "user", "hello"), "create_1", None))
    send(RequestResponse(ResponseRequest("ask_1", False, {"topic": "tables"}, None, None)))
    passes(10_000)
    return events


def shape(message: dict[str, Any]) -> Any:
    """A message without ids, times and what only the model's own session knows."""
    left_out = ("event_id", "usage", "obfuscation", "conversation_id", "audio", "voice")

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cut(inner) for key, inner in value.items() if key not in left_out}
        return [cut(inner) for inner in value] if isinstance(value, list) else value

    return cut(message)


@pytest.mark.parametrize("session", [{}, {"output_modalities": ["text"]}], ids=["spoken", "written"])
@pytest.mark.parametrize("show_tools", [False, True])
def test_a_talk_looks_the_same_with_and_without_the_models_own_messages(
    tmp_path: Path, session: dict[str, Any], show_tools: bool
) -> None:
    events = events_of_a_talk(tmp_path, **session)
    clients = [Client(wires=wires, show_tools=show_tools, **session) for wires in (True, False)]
    item: JsonObject = {
        "id": "text_1",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "hello"}],
    }
    for client in clients:
        client.reads(type="conversation.item.create", item=item)
        client.sees(*events)
    own, made = ([shape(one) for one in client.got if one["type"] not in PIECES] for client in clients)
    assert [one["type"] for one in made] == [one["type"] for one in own]
    assert made == own


def made(*events: ModelEvent, **session: Any) -> list[dict[str, Any]]:
    """The messages for events that carry none."""
    return Client(wires=False, **session).sees(*events)


def test_a_response_whose_beginning_was_missed_is_begun() -> None:
    kinds = [one["type"] for one in made(AgentText("r", "a", "Hello.", True, None), AgentItemEnded("r", "b", None))]
    assert kinds == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
    ]


def test_an_items_sound_ends_once() -> None:
    begun = (ResponseStarted("r", False, None, None), ItemStarted("r", "a", ItemKind.MESSAGE, None, None, None))
    ended = AgentItemEnded("r", "a", None)
    shown = made(*begun, *begun[1:], ended, ended, ResponseEnded("r", Outcome.COMPLETED, None, None, None), ended)
    assert [one["type"] for one in shown].count("response.output_audio.done") == 1
    assert shown[-1]["response"]["output"][0]["id"] == "a"


def test_what_is_beside_the_conversation_is_in_no_message_about_it() -> None:
    shown = made(
        ResponseStarted("r", True, {"topic": "notes"}, None),
        AgentText("r", "a", "Hello.", True, None),
        ResponseEnded("r", Outcome.COMPLETED, None, None, None),
    )
    assert not [one for one in shown if one["type"].startswith("conversation.")]
    assert (shown[0]["response"]["conversation_id"], shown[0]["response"]["metadata"]) == (None, {"topic": "notes"})


def test_a_response_that_fails_says_why() -> None:
    failed = ResponseEnded("r", Outcome.FAILED, None, None, None, ModelProblem("server_error", "server_error"))
    created, done = made(failed)
    assert created["type"] == "response.created"
    assert done["response"]["status"] == "failed"
    assert done["response"]["status_details"]["error"]["code"] == "server_error"


def test_a_function_call_without_a_beginning_is_begun() -> None:
    tools = [{"type": "function", "name": "on_screen", "parameters": {}}]
    shown = made(ToolWanted("r", "f", "call_1", "on_screen", "{}", None), tools=tools)
    assert [one["type"] for one in shown] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "conversation.item.done",
    ]
    assert shown[-1]["item"]["arguments"] == "{}"


def test_a_function_call_that_is_not_the_clients_is_hidden() -> None:
    assert [one["type"] for one in made(ToolWanted("r", "f", "call_1", "find", "{}", None))] == ["response.created"]


def test_speech_of_a_later_item_names_its_place() -> None:
    client = Client(wires=False)
    items = [ItemStarted("r", name, ItemKind.MESSAGE, None, None, None) for name in ("a", "b")]
    client.sees(ResponseStarted("r", False, None, None), *items)
    (delta,) = client.sees(AgentAudio("r", "b", AudioFrame(bytes(2), PCM16_24K, 0), None))
    assert (delta["output_index"], delta["item_id"]) == (1, "b")


def test_speech_behind_a_hidden_call_is_counted_without_it() -> None:
    client = Client(wires=False)
    client.sees(
        ResponseStarted("r", False, None, None),
        ItemStarted("r", "f", ItemKind.TOOL_CALL, "find", "call_1", None),
        ItemStarted("r", "a", ItemKind.MESSAGE, None, None, None),
    )
    (delta,) = client.sees(AgentAudio("r", "a", AudioFrame(bytes(2), PCM16_24K, 0), None))
    assert delta["output_index"] == 0


def test_what_the_client_adds_is_confirmed_as_it_wrote_it() -> None:
    client = Client(wires=False)
    output = {"id": "o", "type": "function_call_output", "call_id": "c", "output": "shown"}
    client.reads(type="conversation.item.create", item=output)
    added, done = client.sees(ToolOutputTaken("c", None), ToolOutputTaken("c", None), ItemTaken("unknown", None))
    assert [added["type"], done["type"]] == ["conversation.item.added", "conversation.item.done"]
    assert (added["item"]["id"], added["item"]["output"]) == ("o", "shown")
    (deleted,) = client.sees(ItemDeleted("o", None))
    assert (deleted["type"], deleted["item_id"]) == ("conversation.item.deleted", "o")


def test_a_large_item_is_confirmed_without_its_content() -> None:
    client = Client(wires=False)
    text = [{"type": "input_text", "text": "x" * MAX_EXPECTED_BYTES}]
    client.reads(type="conversation.item.create", item={"id": "m", "type": "message", "role": "user", "content": text})
    output = {"id": "o", "type": "function_call_output", "call_id": "c", "output": "x" * MAX_EXPECTED_BYTES}
    client.reads(type="conversation.item.create", item=output)
    confirmed = client.sees(ItemTaken("m", None), ToolOutputTaken("c", None))
    assert [one["item"].get("content", one["item"].get("output")) for one in confirmed] == [[], [], "", ""]


def test_parts_of_a_transcript_and_errors_are_told() -> None:
    delta, error = made(CallerTranscribed("u", "a ta", False, None), ModelRefused("odd", "No.", "mine", None))
    assert (delta["type"], delta["delta"]) == ("conversation.item.input_audio_transcription.delta", "a ta")
    assert (error["error"]["code"], error["error"]["event_id"]) == ("odd", "mine")


def test_a_message_of_another_dialect_is_no_message_for_the_client() -> None:
    assert Client(wires=True).sees(ModelPassed(Wire("other", b"{}", {}))) == []


def test_what_comes_after_the_end_of_a_response_has_no_message() -> None:
    client = Client(wires=False)
    ended = ResponseEnded("r", Outcome.COMPLETED, None, None, None)
    client.sees(AgentText("r", "a", "Hello.", True, None), ended)
    late = (AgentText("r", "a", "Late.", True, None, whole=True), ToolWanted("r", "f", "call_1", "find", "{}", None))
    assert client.sees(*late, AgentItemEnded("r", "a", None), ended) == []
