"""What a model says in a wrong shape and is understood all the same: endings, and errors."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from audio.formats import PCM16_24K, AudioFrame
from gateway.ids import CountingIds
from gateway.models.realtime_codec import RealtimeModelCodec
from gateway.models.realtime_mending import MALFORMED, UNTOLD
from sessions.commands import SendAudio
from sessions.errors import WireError
from sessions.events import (
    ItemStarted,
    ModelEvent,
    ModelRefused,
    Outcome,
    ResponseEnded,
    SpeechEnded,
    SpeechStarted,
    ToolWanted,
)
from sessions.problems import ModelProblem

ITEM = {"id": "item_1", "type": "message", "role": "assistant", "content": []}


class Model:
    """A codec that hears a model."""

    def __init__(self) -> None:
        self.codec = RealtimeModelCodec(CountingIds(), speaks_given_text=False)

    def says(self, kind: str, **fields: Any) -> ModelEvent | None:
        return self.codec.decode(orjson.dumps({"type": kind, "event_id": "event_1", **fields}))

    def begins(self, *, speaks: bool) -> None:
        self.says("response.created", response={"id": "resp_1", "status": "in_progress"})
        if speaks:
            self.says("response.output_item.added", response_id="resp_1", output_index=0, item=ITEM)

    def ends(self, **fields: Any) -> ResponseEnded:
        event = self.says("response.done", **fields)
        assert isinstance(event, ResponseEnded)
        return event


def shown(event: Any) -> dict[str, Any]:
    """The message as a client gets it."""
    parsed: dict[str, Any] = orjson.loads(event.wire.text)
    assert parsed == event.wire.parsed
    return parsed


# ---- the end of an answer


@pytest.mark.parametrize("status", [None, 7, {}, [], True, 0.5])
@pytest.mark.parametrize("speaks", [True, False])
def test_an_answer_that_ends_with_a_status_that_is_no_word_has_failed(status: Any, *, speaks: bool) -> None:
    model = Model()
    model.begins(speaks=speaks)
    event = model.ends(response={"id": "resp_1", "status": status, "output": [ITEM]})
    assert (event.response_id, event.outcome, event.reason) == ("resp_1", Outcome.FAILED, MALFORMED)
    assert event.problem == ModelProblem(MALFORMED, "server_error")
    told = shown(event)["response"]
    assert (told["status"], told["output"]) == ("failed", [ITEM])
    assert told["status_details"]["error"]["code"] == MALFORMED


@pytest.mark.parametrize(
    ("speaks", "output", "outcome"),
    [
        (True, [], Outcome.COMPLETED),
        (False, [ITEM], Outcome.COMPLETED),
        (False, [], Outcome.FAILED),
        (False, None, Outcome.FAILED),
    ],
)
def test_an_answer_that_ends_without_a_status_is_whole_where_it_brought_something(
    output: Any, outcome: Outcome, *, speaks: bool
) -> None:
    model = Model()
    model.begins(speaks=speaks)
    event = model.ends(response={"id": "resp_1", "output": output})
    assert event.outcome == outcome
    assert shown(event)["response"]["status"] == outcome


@pytest.mark.parametrize("fields", [{}, {"response": None}, {"response": []}, {"response": "resp_1"}, {"response": {}}])
def test_an_end_that_names_no_answer_ends_the_one_that_runs(fields: dict[str, Any]) -> None:
    model = Model()
    model.begins(speaks=False)
    event = model.ends(**fields)
    assert (event.response_id, event.outcome) == ("resp_1", Outcome.FAILED)
    assert shown(event)["response"]["id"] == "resp_1"


def test_an_end_without_an_id_keeps_its_status() -> None:
    model = Model()
    model.begins(speaks=True)
    assert model.ends(response={"status": "completed", "output": []}).outcome == Outcome.COMPLETED


def test_an_end_that_names_no_answer_while_none_runs_is_malformed() -> None:
    model = Model()
    model.begins(speaks=True)
    model.ends(response={"id": "resp_1", "status": "completed"})
    with pytest.raises(WireError):
        model.says("response.done", response={"status": "completed"})


@pytest.mark.parametrize("response", [None, {}, {"id": None}, {"id": 7}])
def test_an_answer_that_began_without_an_id_has_the_one_of_what_it_brings(response: Any) -> None:
    model = Model()
    with pytest.raises(WireError):
        model.says("response.created", response=response)
    started = model.says("response.output_item.added", response_id="resp_9", output_index=0, item=ITEM)
    assert isinstance(started, ItemStarted)
    assert model.ends(response={"status": "completed"}).response_id == "resp_9"


def test_an_answer_that_never_had_an_id_ends_under_one_of_ours() -> None:
    model = Model()
    with pytest.raises(WireError):
        model.says("response.created", response={})
    assert model.ends(response={"status": None}).response_id.startswith("resp_")
    with pytest.raises(WireError):
        model.says("response.done", response={"status": None})


def test_a_well_formed_end_stays_as_it_came() -> None:
    model = Model()
    model.begins(speaks=True)
    text = b'{"type": "response.done", "response": {"status": "completed", "id": "resp_1", "new": [1]}}'
    event = model.codec.decode(text)
    assert isinstance(event, ResponseEnded)
    assert event.wire is not None
    assert event.wire.text == text


# ---- errors


@pytest.mark.parametrize("error", [{}, None, [], 7, {"code": None}, {"message": 7}, {"message": ""}])
def test_an_error_that_says_nothing_is_told_as_the_servers(error: Any) -> None:
    event = Model().says("error", error=error)
    assert isinstance(event, ModelRefused)
    assert (event.code, event.message, event.event_id) == ("server_error", UNTOLD, None)
    assert event.problem == ModelProblem("server_error", None)
    told = shown(event)
    assert told["event_id"] == "event_1"
    assert told["error"] == {
        "type": "server_error",
        "code": "server_error",
        "message": UNTOLD,
        "param": None,
        "event_id": None,
    }


def test_an_error_without_an_object_is_one_too() -> None:
    event = Model().codec.decode(b'{"type":"error"}')
    assert isinstance(event, ModelRefused)
    assert shown(event)["error"]["type"] == "server_error"


def test_an_error_that_is_its_words_is_told_in_them() -> None:
    event = Model().says("error", error="no")
    assert isinstance(event, ModelRefused)
    assert (event.message, shown(event)["error"]["message"]) == ("no", "no")


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        ({"code": "slow_down", "message": "m"}, {"type": "server_error"}),
        ({"type": "t", "code": "c"}, {"message": UNTOLD}),
        ({"type": 7, "code": "c", "message": "m"}, {"type": "server_error"}),
        ({"type": "t", "code": 503, "message": "m"}, {"code": "503"}),
        ({"type": "t", "code": [], "message": "m", "param": {}, "event_id": 7}, {"code": None}),
    ],
)
def test_what_an_error_has_is_kept_and_what_it_lacks_is_added(error: Any, changes: dict[str, Any]) -> None:
    event = Model().says("error", error=error)
    assert isinstance(event, ModelRefused)
    words = {key: value for key, value in error.items() if isinstance(value, str)}
    assert shown(event)["error"] == {"param": None, "event_id": None, "code": None, **words, **changes}
    assert event.problem is not None
    assert event.problem.type in ("t", None, "7")


def test_an_error_that_the_protocol_allows_stays_as_it_came() -> None:
    text = b'{"type": "error", "error": {"type": "invalid_request_error", "message": "No.", "new": 1}}'
    event = Model().codec.decode(text)
    assert isinstance(event, ModelRefused)
    assert event.wire is not None
    assert event.wire.text == text


# ---- the other endings


@pytest.mark.parametrize(
    ("arguments", "written"), [({"people": 2}, '{"people":2}'), (None, "{}"), ([1], "[1]"), ("{}", "{}"), ("", "")]
)
def test_a_function_call_is_made_whatever_its_arguments_are(arguments: Any, written: str) -> None:
    call = {"id": "item_2", "type": "function_call", "name": "find", "call_id": "call_1", "arguments": arguments}
    event = Model().says("response.output_item.done", response_id="resp_1", output_index=0, item=call)
    assert isinstance(event, ToolWanted)
    assert event.arguments == shown(event)["item"]["arguments"] == written


@pytest.mark.parametrize("fields", [{}, {"audio_end_ms": None}, {"audio_end_ms": "late"}, {"audio_end_ms": -1}])
def test_a_caller_has_stopped_though_the_place_cannot_be_read(fields: dict[str, Any]) -> None:
    model = Model()
    model.codec.encode(SendAudio(AudioFrame(bytes(4800), PCM16_24K, 0), None))
    started = model.says("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms="soon")
    assert isinstance(started, SpeechStarted)
    assert (started.at_ms, shown(started)["audio_start_ms"]) == (100, 100)
    stopped = model.says("input_audio_buffer.speech_stopped", **fields)
    assert isinstance(stopped, SpeechEnded)
    assert (stopped.item_id, stopped.at_ms) == ("item_1", 100)


@pytest.mark.parametrize("kind", ["session.created", "session.updated"])
@pytest.mark.parametrize("fields", [{}, {"session": None}, {"session": 7}, {"session": {}}])
def test_a_session_is_open_whatever_is_said_of_it(kind: str, fields: dict[str, Any]) -> None:
    assert Model().says(kind, **fields) is None


def test_a_message_in_too_many_parts_is_malformed_before_it_is_read() -> None:
    with pytest.raises(WireError, match="20000 fields"):
        Model().says("response.weather", winds=[[7]] * 20_001)
