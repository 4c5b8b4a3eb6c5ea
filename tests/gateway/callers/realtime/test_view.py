"""What a Realtime client sees of a call and of the agent's tools, and what is hidden from it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audio.formats import PCM16_24K, AudioFrame
from gateway.callers.realtime.view import ClientView
from gateway.ids import CountingIds
from gateway.models.realtime.codec import RealtimeModelCodec
from sessions.commands import EndCall, LegReplaced, Play, Refuse, Relay, ResponseGone, ToolEnded, ToolRunning, Truncated
from sessions.errors import WireError
from sessions.events import AgentAudio, ModelEvent, ModelLost, ModelPassed, ModelReady
from sessions.problems import ModelProblem
from sessions.values import Wire

SERVER_TOOLS = frozenset({"book_table"})


class Far:
    """A model's messages, as the client gets them through the view."""

    def __init__(self, *, show_tools: bool = False) -> None:
        self.view = ClientView(CountingIds(), SERVER_TOOLS, show_tools=show_tools)
        self.codec = RealtimeModelCodec(CountingIds(), speaks_given_text=False)

    def says(self, **event: Any) -> list[dict[str, Any]]:
        """The client's messages for one of the model's."""
        text = orjson.dumps({"event_id": "event_x", **event})
        read = self.codec.decode(text)
        assert read is not None
        return self.relays(read)

    def relays(self, event: ModelEvent) -> list[dict[str, Any]]:
        """The same for an event."""
        if isinstance(event, AgentAudio):
            command: Any = Play(event.response_id, event.item_id, event.frame, event.wire)
        else:
            command = Relay(event)
        return [orjson.loads(message) for message in self.view.encode(command)]

    def starts(self, response_id: str = "resp_1") -> None:
        """A response begins."""
        self.says(
            type="response.created", response={"id": response_id, "status": "in_progress", "conversation_id": "c"}
        )

    def calls(self, name: str, item_id: str, index: int) -> list[dict[str, Any]]:
        """The response opens a function call."""
        item = {"id": item_id, "type": "function_call", "name": name, "call_id": f"call_{item_id}", "arguments": ""}
        return self.says(type="response.output_item.added", response_id="resp_1", output_index=index, item=item)


def test_a_message_goes_on_as_the_bytes_that_came() -> None:
    far = Far()
    text = b'{"type":"vendor.new_thing","event_id":"e1",  "odd" : [1,2]}'
    event = far.codec.decode(text)
    assert event is not None
    assert far.view.encode(Relay(event)) == (text,)


def test_a_server_side_call_leaves_no_trace() -> None:
    far = Far()
    far.starts()
    assert far.calls("book_table", "fc_1", 0) == []
    delta = {"response_id": "resp_1", "item_id": "fc_1", "output_index": 0, "call_id": "call_fc_1"}
    assert far.says(type="response.function_call_arguments.delta", delta="{", **delta) == []
    assert far.says(type="response.function_call_arguments.done", arguments="{}", name="book_table", **delta) == []
    item = {"id": "fc_1", "type": "function_call", "name": "book_table", "call_id": "call_fc_1", "arguments": "{}"}
    done = {**item, "status": "completed"}
    assert far.says(type="response.output_item.done", response_id="resp_1", output_index=0, item=done) == []
    assert far.says(type="conversation.item.added", previous_item_id="item_0", item=item) == []
    output = {"id": "pb_7", "type": "function_call_output", "call_id": "call_fc_1", "output": "{}"}
    assert far.says(type="conversation.item.added", previous_item_id="fc_1", item=output) == []


def test_what_stands_behind_a_hidden_item_moves_up() -> None:
    far = Far()
    user = {"id": "item_1", "type": "message", "role": "user", "content": []}
    far.says(type="conversation.item.added", previous_item_id=None, item=user)
    far.starts()
    far.calls("book_table", "fc_1", 0)
    call = {"id": "fc_1", "type": "function_call", "name": "book_table", "call_id": "call_fc_1", "arguments": "{}"}
    far.says(type="conversation.item.added", previous_item_id="item_1", item=call)
    answer = {"id": "item_2", "type": "message", "role": "assistant", "content": [], "status": "in_progress"}
    [added] = far.says(type="response.output_item.added", response_id="resp_1", output_index=1, item=answer)
    assert added["output_index"] == 0
    [item] = far.says(type="conversation.item.added", previous_item_id="fc_1", item=answer)
    assert item["previous_item_id"] == "item_1"
    sound = {"response_id": "resp_1", "item_id": "item_2", "output_index": 1, "content_index": 0, "delta": "AAAA"}
    [delta] = far.says(type="response.output_audio.delta", **sound)
    assert delta["output_index"] == 0
    [ended] = far.says(type="response.done", response={"id": "resp_1", "status": "completed", "output": [call, answer]})
    assert [entry["id"] for entry in ended["response"]["output"]] == ["item_2"]


def test_a_client_function_is_seen_whole() -> None:
    far = Far()
    far.starts()
    [added] = far.calls("open_door", "fc_9", 0)
    assert added["item"]["name"] == "open_door"


def test_a_function_that_nobody_declared_leaves_no_trace_either() -> None:
    far = Far()
    far.view.tools.client_tools = frozenset({"open_door"})
    far.starts()
    assert far.calls("close_door", "fc_1", 0) == []
    assert far.calls("open_door", "fc_2", 1)[0]["output_index"] == 0


def test_an_item_that_the_client_named_is_seen_and_one_that_the_gateway_named_is_not() -> None:
    far = Far()
    far.view.names.wrote("pb_mine")
    for item_id, seen in (("pb_mine", 1), ("pb_ours", 0)):
        item = {"id": item_id, "type": "message", "role": "user", "content": []}
        for kind in ("conversation.item.added", "conversation.item.done", "conversation.item.retrieved"):
            assert len(far.says(type=kind, previous_item_id=None, item=item)) == seen
        assert len(far.says(type="conversation.item.deleted", item_id=item_id)) == seen


def test_an_error_names_the_message_as_the_client_does() -> None:
    far = Far()
    told = far.view.names.towards_model({"type": "conversation.item.delete", "event_id": "pb_e", "item_id": "a"})
    wrong = {"type": "invalid_request_error", "code": "no", "message": "No.", "param": None}
    [error] = far.says(type="error", error={**wrong, "event_id": told["event_id"]})
    assert error["error"] == {**wrong, "event_id": "pb_e"}
    text = orjson.dumps({"event_id": "e", "type": "error", "error": {**wrong, "event_id": "ok_e"}})
    event = far.codec.decode(text)
    assert event is not None
    assert far.view.encode(Relay(event)) == (text,)


@pytest.mark.parametrize("show_tools", [False, True])
@pytest.mark.parametrize("name", ["book_table", "close_door"])
def test_a_call_that_the_client_wrote_is_its_own_whatever_it_calls(name: str, show_tools: bool) -> None:
    far = Far(show_tools=show_tools)
    far.view.tools.client_tools = frozenset({"open_door"})
    far.starts()
    far.calls("book_table", "fc_1", 0)
    far.view.names.wrote("past")
    far.view.names.wrote("past_output")
    call = {"id": "past", "type": "function_call", "name": name, "call_id": "call_fc_1", "arguments": "{}"}
    for kind in ("conversation.item.added", "conversation.item.done", "conversation.item.retrieved"):
        [shown] = far.says(type=kind, previous_item_id=None, item=call)
        assert shown["item"] == call
    output = {"id": "past_output", "type": "function_call_output", "call_id": "call_fc_1", "output": "{}"}
    [added] = far.says(type="conversation.item.added", previous_item_id="past", item=output)
    assert (added["previous_item_id"], added["item"]) == ("past", output)
    assert far.says(type="conversation.item.deleted", item_id="past")


def test_a_client_that_asked_sees_server_side_calls_as_mcp_calls() -> None:
    far = Far(show_tools=True)
    far.starts()
    [added] = far.calls("book_table", "fc_1", 0)
    assert added["item"]["type"] == "mcp_call"
    assert added["item"]["output"] is None
    delta = {"response_id": "resp_1", "item_id": "fc_1", "output_index": 0, "call_id": "call_fc_1"}
    [part] = far.says(type="response.function_call_arguments.delta", delta='{"a"', **delta)
    assert (part["type"], part["obfuscation"]) == ("response.mcp_call_arguments.delta", "")
    running = ToolRunning("call_fc_1", "fc_1", "book_table", '{"a":1}')
    [progress] = [orjson.loads(message) for message in far.view.encode(running)]
    assert progress["type"] == "response.mcp_call.in_progress"
    ended = ToolEnded("call_fc_1", "fc_1", "book_table", '{"a":1}', "booked", None)
    completed, item_done, in_conversation = [orjson.loads(message) for message in far.view.encode(ended)]
    assert completed["type"] == "response.mcp_call.completed"
    assert item_done["item"]["output"] == "booked"
    assert in_conversation["type"] == "conversation.item.done"
    retrieved = far.view.kept.retrieve("fc_1")
    assert retrieved is not None
    assert orjson.loads(retrieved)["item"]["output"] == "booked"


def test_a_failed_tool_is_shown_as_failed() -> None:
    far = Far(show_tools=True)
    far.starts()
    far.calls("book_table", "fc_1", 0)
    failed = ToolEnded("call_fc_1", "fc_1", "book_table", "{}", "no such table", "timeout")
    first, done, _ = [orjson.loads(message) for message in far.view.encode(failed)]
    assert first["type"] == "response.mcp_call.failed"
    assert done["item"]["output"] is None
    assert done["item"]["error"]["message"] == "no such table"


def test_a_lost_response_is_ended_with_all_that_it_was_shown_with() -> None:
    far = Far()
    shown = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "metadata": {"a": "b"}}
    far.says(type="response.created", response={**shown, "conversation_id": "c"})
    [done] = [orjson.loads(message) for message in far.view.encode(ResponseGone("resp_1"))]
    assert done["response"]["status"] == "failed"
    assert done["response"]["metadata"] == {"a": "b"}
    assert done["response"]["status_details"]["error"]["code"] == "model_lost"


def test_refusals_and_the_end_carry_the_protocols_words() -> None:
    view = ClientView(CountingIds(), frozenset(), show_tools=False)
    [refused] = [orjson.loads(message) for message in view.encode(Refuse("some_code", "Why.", "client_1"))]
    assert refused["error"] == {
        "type": "invalid_request_error",
        "code": "some_code",
        "message": "Why.",
        "param": None,
        "event_id": "client_1",
    }
    assert view.encode(EndCall("idle_limit", "Too long.", None)) == ()
    [lost] = [orjson.loads(message) for message in view.encode(EndCall("model_lost", "Lost.", "model_lost"))]
    assert lost["error"]["type"] == "server_error"
    [cut] = [orjson.loads(message) for message in view.encode(Truncated("item_1", 700))]
    assert (cut["item_id"], cut["audio_end_ms"]) == ("item_1", 700)


def test_speech_of_another_dialect_becomes_a_delta() -> None:
    view = ClientView(CountingIds(), frozenset(), show_tools=False)
    frame = AudioFrame(b"\x01\x00", PCM16_24K, 0)
    [delta] = [orjson.loads(message) for message in view.encode(Play("resp_1", "item_1", frame, None))]
    assert (delta["type"], delta["delta"]) == ("response.output_audio.delta", "AQA=")


def test_speech_behind_a_hidden_item_goes_on_whatever_stands_in_its_message() -> None:
    far = Far()
    far.starts()
    far.calls("book_table", "item_1", 0)
    text = (
        b'{"type":"response.output_audio.delta","event_id":"\\ud83d","response_id":"resp_1","item_id":"item_2",'
        b'"output_index":1,"content_index":0,"delta":"AAAA"}'
    )
    (seen,) = far.relays(AgentAudio("resp_1", "item_2", AudioFrame(bytes(2), PCM16_24K, 0), text))
    assert (seen["output_index"], seen["event_id"]) == (0, "\ufffd")


def test_a_lost_model_is_told_of_with_the_models_own_code() -> None:
    far = Far()
    end = EndCall("model_lost", "Lost.", "model_lost", ModelProblem("insufficient_quota", "x"))
    (error,) = (orjson.loads(text)["error"] for text in far.view.encode(end))
    assert (error["code"], error["model_problem"]) == ("model_lost", {"code": "insufficient_quota", "type": "x"})


def test_half_an_emoji_in_a_tools_result_reaches_a_client_as_a_replacement_character() -> None:
    far = Far(show_tools=True)
    far.starts()
    far.calls("book_table", "item_1", 0)
    ended = ToolEnded("call_item_1", "item_1", "book_table", "{}", "full \ud83d", None)
    seen = [orjson.loads(text) for text in far.view.encode(ended)]
    assert "full \ufffd" in [event["item"]["output"] for event in seen if "item" in event]


ODD = st.sampled_from([[], {}, None, 7, "i", [1], {"a": 1}, True])
ITEMS = st.dictionaries(
    st.sampled_from(["id", "type", "name", "call_id", "arguments", "status", "content"]),
    ODD | st.sampled_from(["function_call", "function_call_output", "message", "book_table"]),
)
RESPONSES = st.sampled_from(
    [{"id": "r"}, {"id": "r", "status": "completed", "output": [{"type": "function_call"}, 7, None]}]
)
TYPES = [
    "conversation.item.added",
    "conversation.item.deleted",
    "conversation.item.done",
    "conversation.item.retrieved",
    "error",
    "input_audio_buffer.committed",
    "response.content_part.added",
    "response.created",
    "response.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.added",
    "response.output_item.done",
]
KEYS = ["item", "item_id", "response_id", "call_id", "response", "error", "previous_item_id", "output_index", "delta"]


@given(
    st.lists(
        st.builds(
            lambda kind, fields: {"type": kind, **fields},
            st.sampled_from(TYPES),
            st.dictionaries(st.sampled_from(KEYS), ODD | ITEMS | RESPONSES | st.just("r")),
        ),
        max_size=6,
    ),
    st.booleans(),
)
@example(
    [
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.content_part.added", "response_id": "r", "item_id": []},
    ],
    False,
)
@example([{"type": "conversation.item.added", "item": {"id": "i", "call_id": []}}], False)
def test_nothing_that_a_model_puts_into_its_messages_breaks_the_view(messages: list[Any], show_tools: bool) -> None:
    far = Far(show_tools=show_tools)
    for message in messages:
        with suppress(WireError):
            event = far.codec.decode(orjson.dumps(message))
            if event is not None and not isinstance(event, ModelReady | ModelLost):
                far.relays(event)


def test_a_leg_that_is_replaced_says_nothing_and_what_the_next_one_adds_comes_last() -> None:
    far = Far()
    for item_id, before in (("a", None), ("b", "a")):
        item = {"id": item_id, "type": "message", "role": "user", "content": []}
        far.says(type="conversation.item.added", previous_item_id=before, item=item)
    assert far.view.encode(LegReplaced()) == ()
    item = {"id": "c", "type": "message", "role": "user", "content": []}
    (added,) = far.says(type="conversation.item.added", previous_item_id="a", item=item)
    assert added["previous_item_id"] == "b"


def test_a_message_of_another_dialect_is_not_the_clients() -> None:
    assert Far().relays(ModelPassed(Wire("other", b"{}", {}))) == []
