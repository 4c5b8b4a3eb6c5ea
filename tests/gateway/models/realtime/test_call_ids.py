"""Tests for gateway/models/realtime/call_ids.py: a model that repeats ids of function calls in each response or leg."""

from __future__ import annotations

from typing import Any

import orjson
from support.calls.call_driver import Driver, finished, of

from gateway.callers.realtime.view import ClientView
from gateway.ids import CountingIds
from gateway.models.realtime.call_ids import UsedNames
from gateway.models.realtime.codec import RealtimeModelCodec
from sessions.commands import AddToolOutput, Relay, RunTool, Seed
from sessions.events import ClientToolAnswered, ModelLost, ModelPassed, ModelReady, ToolOutputTaken, ToolWanted
from sessions.past import PastToolCall
from sessions.record import ToolUse
from sessions.values import Wire


class Service:
    """A codec, and a model's messages to it."""

    def __init__(self, used: UsedNames | None = None) -> None:
        self.codec = RealtimeModelCodec(CountingIds(), speaks_given_text=False, used=used)
        self.made = 0

    def tells(self, kind: str, **fields: Any) -> Any:
        """The event that one message becomes."""
        self.made += 1
        return self.codec.decode(orjson.dumps({"type": kind, "event_id": f"event_{self.made}", **fields}))

    def begins(self, response_id: str) -> Any:
        return self.tells("response.created", response={"id": response_id, "status": "in_progress", "metadata": None})

    def calls(self, response_id: str, item_id: str, name: str = "find", call_id: str = "call_0") -> list[Any]:
        """A whole function call, message by message."""
        item = {"id": item_id, "type": "function_call", "name": name, "call_id": call_id, "arguments": "{}"}
        place = {"response_id": response_id, "item_id": item_id, "output_index": 0, "call_id": call_id}
        return [
            self.tells("response.output_item.added", response_id=response_id, output_index=0, item=item),
            self.tells("conversation.item.added", item=item, previous_item_id=None),
            self.tells("response.function_call_arguments.delta", **place, delta="{}"),
            self.tells("response.function_call_arguments.done", **place, name=name, arguments="{}"),
            self.tells("response.output_item.done", response_id=response_id, output_index=0, item=item),
            self.tells("conversation.item.done", item=item, previous_item_id=None),
        ]

    def ends(self, response_id: str, item_id: str, call_id: str = "call_0") -> Any:
        item = {"id": item_id, "type": "function_call", "name": "find", "call_id": call_id, "arguments": "{}"}
        return self.tells("response.done", response={"id": response_id, "status": "completed", "output": [item]})

    def gets(self, command: Any) -> list[dict[str, Any]]:
        return [orjson.loads(text) for text in self.codec.encode(command)]


def call_ids(events: list[Any]) -> set[str]:
    """Every id of a function call in these events and in their messages."""
    found = set()
    for event in events:
        for holder in (event.wire.parsed, orjson.loads(event.wire.text)):
            response = holder.get("response", {})
            found |= {
                one["call_id"]
                for one in (holder, holder.get("item", {}), *response.get("output", ()))
                if "call_id" in one
            }
        if isinstance(event, ToolWanted):
            found.add(event.call_id)
    return found


def test_ids_that_are_used_once_stay_and_their_messages_are_passed_on_unchanged() -> None:
    service = Service()
    for number in range(3):
        service.begins(f"resp_{number}")
        events = service.calls(f"resp_{number}", f"item_{number}", call_id=f"call_{number}")
        events.append(service.ends(f"resp_{number}", f"item_{number}", f"call_{number}"))
        assert call_ids(events) == {f"call_{number}"}
    item = {"type": "function_call_output", "call_id": "call_1", "output": "x", "id": "o"}
    wire = Wire("realtime", b"as it came", {"type": "conversation.item.create", "item": item})
    assert service.codec.encode(AddToolOutput("call_1", "x", wire)) == (b"as it came",)


def test_a_function_call_of_a_new_response_has_an_id_of_its_own_in_every_message() -> None:
    service = Service()
    names = []
    for number in range(3):
        response_id, item_id = f"resp_{number}", f"item_{number}"
        service.begins(response_id)
        events = [*service.calls(response_id, item_id), service.ends(response_id, item_id)]
        found = call_ids(events)
        assert len(found) == 1
        names += found
        retrieved = {"id": item_id, "type": "function_call", "name": "find", "call_id": "call_0", "arguments": "{}"}
        assert call_ids([service.tells("conversation.item.retrieved", item=retrieved)]) == found
    assert names[0] == "call_0"
    assert len(set(names)) == 3


def test_a_duplicate_inside_one_response_stays_one_call() -> None:
    service = Service()
    for response_id in ("resp_1", "resp_2"):
        service.begins(response_id)
        first, again = service.calls(response_id, f"{response_id}_a"), service.calls(response_id, f"{response_id}_a")
        assert [type(event) for event in (first[4], again[4])] == [ToolWanted, ModelPassed]
        assert len(call_ids([*first, *again])) == 1


def test_the_model_gets_results_under_its_own_ids() -> None:
    service = Service()
    for number in range(2):
        service.begins(f"resp_{number}")
        wanted = service.calls(f"resp_{number}", f"item_{number}")[4]
        service.ends(f"resp_{number}", f"item_{number}")
        (sent,) = service.gets(AddToolOutput(wanted.call_id, "done", None))
        assert sent["item"]["call_id"] == "call_0"
        taken = service.tells("conversation.item.added", item=sent["item"], previous_item_id=None)
        assert (type(taken), taken.call_id) == (ToolOutputTaken, wanted.call_id)


def test_a_clients_own_result_gets_the_models_id_of_its_function_call() -> None:
    service = Service()
    for number in range(2):
        service.begins(f"resp_{number}")
        wanted = service.calls(f"resp_{number}", f"item_{number}", "on_screen")[4]
        item = {"id": f"mine_{number}", "type": "function_call_output", "call_id": wanted.call_id, "output": "x"}
        message = {"type": "conversation.item.create", "item": item}
        (sent,) = service.gets(AddToolOutput(wanted.call_id, "x", Wire("realtime", orjson.dumps(message), message)))
        assert sent["item"] == {**item, "call_id": "call_0"}
        assert service.tells("conversation.item.added", item=sent["item"]).call_id == wanted.call_id


def test_an_item_that_comes_before_its_response_mentions_it_has_the_same_id() -> None:
    service = Service()
    service.begins("resp_1")
    service.calls("resp_1", "item_1")
    service.ends("resp_1", "item_1")
    service.begins("resp_2")
    item = {"id": "item_2", "type": "function_call", "name": "find", "call_id": "call_0", "arguments": "{}"}
    early = service.tells("conversation.item.added", item=item)
    assert call_ids([early]) == call_ids(service.calls("resp_2", "item_2")) != {"call_0"}


def test_a_later_leg_that_begins_anew_gets_the_earlier_function_calls_under_other_ids() -> None:
    used = UsedNames()
    first = Service(used)
    names = []
    for number in range(2):
        first.begins(f"resp_{number}")
        names.append(first.calls(f"resp_{number}", f"item_{number}")[4].call_id)
    second = Service(used)
    past = tuple(PastToolCall(f"item_{at}", name, "find", "{}", "done") for at, name in enumerate(names))
    told = [message["item"] for message in second.gets(Seed(past))]
    assert told[0]["call_id"] == told[1]["call_id"] != told[2]["call_id"] == told[3]["call_id"]
    assert "call_0" not in {item["call_id"] for item in told}
    assert second.tells("conversation.item.added", item=told[1]).call_id == names[0]
    second.begins("resp_9")
    wanted = second.calls("resp_9", "item_9")[4]
    assert isinstance(wanted, ToolWanted)
    assert wanted.call_id not in names
    assert second.gets(AddToolOutput(wanted.call_id, "done", None))[0]["item"]["call_id"] == "call_0"


def test_a_function_call_of_a_lost_leg_that_returns_now_is_told_under_a_free_id() -> None:
    used = UsedNames()
    first, second = Service(used), Service(used)
    first.begins("resp_1")
    old = first.calls("resp_1", "item_1")[4]
    second.begins("resp_1")
    new = second.calls("resp_1", "item_2")[4]
    (call, output) = (
        one["item"] for one in second.gets(Seed((PastToolCall("item_1", old.call_id, "find", "{}", "x"),)))
    )
    assert call["call_id"] == output["call_id"] != "call_0"
    assert second.gets(AddToolOutput(new.call_id, "y", None))[0]["item"]["call_id"] == "call_0"


def test_each_function_call_runs_is_recorded_and_is_told_to_the_next_leg() -> None:
    used, call = UsedNames(), Driver(ready=True)
    service = Service(used)
    view = ClientView(CountingIds(), frozenset({"find"}), show_tools=False)
    seen = []
    for number in range(3):
        response_id, item_id = f"resp_{number}", f"item_{number}"
        name = "find" if number < 2 else "on_screen"
        out = call(*(event for event in [service.begins(response_id), *service.calls(response_id, item_id, name)]))
        out += call(service.ends(response_id, item_id))
        seen += [orjson.loads(text) for relay in of(Relay, out) for text in view.relay(relay.event)]
        ran = of(RunTool, out)
        assert len(ran) == (number < 2)
        for run in ran:
            call(finished(run.call_id, f"result {number}"))
    (clients,) = {event["call_id"] for event in seen if event["type"] == "response.function_call_arguments.done"}
    call(ClientToolAnswered(clients, "seen", None))
    uses = [entry for turn in call.call.turns for entry in turn.entries if isinstance(entry, ToolUse)]
    assert [(use.name, use.output) for use in uses] == [
        ("find", "result 0"),
        ("find", "result 1"),
        ("on_screen", "seen"),
    ]
    assert len({use.call_id for use in uses}) == 3
    call(*_answered())
    call(ModelLost("gone", retryable=True), ModelReady())
    told = [past for seed in of(Seed, call.commands) for past in seed.past if isinstance(past, PastToolCall)]
    assert [past.output for past in told] == ["result 0", "result 1", "seen"]


def _answered() -> list[Any]:
    other = Service()
    return [other.begins("resp_8"), other.tells("response.done", response={"id": "resp_8", "status": "completed"})]
