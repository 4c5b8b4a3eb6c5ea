"""What a Realtime client sees of a call: the model's own messages, less the agent's server-side tools.

A message goes on as the bytes that came unless something in it is hidden, or stands behind something hidden: then its
`previous_item_id`, `output_index` or `output` is rewritten. A client that asked to see server-side tools gets them as
`mcp_call` items in the place of the function calls that they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import assert_never

import orjson

from gateway.callers.realtime_order import ItemOrder
from gateway.realtime import response_events, server_events
from gateway.realtime.items import shown
from sessions.commands import (
    CallerCommand,
    ClearPlayback,
    EndCall,
    Play,
    Refuse,
    Relay,
    ResponseGone,
    ToolEnded,
    ToolRunning,
    Truncated,
)
from sessions.events import ModelEvent, ResponseStarted, Wire
from sessions.ports import Ids, Json, JsonObject

SERVER_LABEL = "patchbay"  # what the agent's own tools are called towards clients that see them
HIDDEN_PREFIX = "pb_"  # ids of items that the gateway made towards the model


@dataclass(slots=True)
class _Seen:
    """A response as the client knows it; `response` is the object that it was shown at the start."""

    response: JsonObject
    hidden: set[int] = field(default_factory=set)  # the model's output indices that the client must not see
    items: dict[str, int] = field(default_factory=dict)  # tool item id -> the output index that the client sees


class ClientView:
    """Turns commands into messages for one Realtime client, in order."""

    __slots__ = (
        "_hidden_calls",
        "_ids",
        "_made",
        "_responses",
        "_server_tools",
        "_show",
        "_tool_items",
        "client_tools",
        "order",
    )

    def __init__(self, ids: Ids, server_tools: Set[str], *, show_tools: bool) -> None:
        self._ids = ids
        self._server_tools = server_tools
        self._show = show_tools
        self.order = ItemOrder()
        self.client_tools: frozenset[str] | None = None  # what else it may be called for; None: for anything
        self._hidden_calls: set[str] = set()
        self._tool_items: dict[str, response_events.Place] = {}  # tools shown as mcp_call, by item id
        self._responses: dict[str, _Seen] = {}
        self._made: dict[str, JsonObject] = {}  # items that only the gateway knows, for `retrieve`

    def encode(self, command: CallerCommand) -> tuple[bytes, ...]:
        """The messages for one command, in order."""
        match command:
            case Play():
                return (self.play(command),)
            case Relay():
                return self.relay(command.event)
            case ToolRunning():
                return self._tool_running(command)
            case ToolEnded():
                return self._tool_ended(command)
            case Refuse():
                return (self._error(command.message, command.code, command.event_id),)
            case ResponseGone():
                return (self._gone(command.response_id),)
            case Truncated():
                made = server_events.item_truncated(self._event_id(), command.item_id, 0, command.heard_ms)
                return (made,)
            case EndCall():
                return () if command.error_code is None else (self._error(command.message, command.error_code, None),)
            case ClearPlayback():
                return ()  # the client plays, and stops by itself on speech_started
            case _:
                assert_never(command)

    def made_item(self, item: JsonObject, previous_item_id: str | None) -> tuple[bytes, ...]:
        """Show an item that the gateway keeps from the model, as if the conversation held it."""
        item_id = str(item["id"])
        self._made[item_id] = item
        before = self.order.keep(item_id, previous_item_id)
        return (
            server_events.item_added(self._event_id(), item, before),
            server_events.item_done(self._event_id(), item, before),
        )

    def retrieve(self, item_id: str) -> bytes | None:
        """The answer to a `retrieve` of an item that only the gateway knows; None for the model's own."""
        item = self._made.get(item_id)
        return None if item is None else server_events.item_retrieved(self._event_id(), item)

    def delete(self, item_id: str) -> bytes | None:
        """The answer to a `delete` of an item that only the gateway knows; None for the model's own."""
        if self._made.pop(item_id, None) is None:
            return None
        self.order.remove(item_id)
        return server_events.item_deleted(self._event_id(), item_id)

    # ---- the model's messages

    def play(self, command: Play) -> bytes:
        """The one message for a piece of speech."""
        wire = command.wire
        if wire is None:
            place = response_events.Place(command.response_id, command.item_id, 0)
            return response_events.audio_delta(self._event_id(), place, command.frame.payload)
        if self.unchanged(command.response_id):
            return wire
        return _indexed(orjson.loads(wire), self._responses[command.response_id])

    def unchanged(self, response_id: str) -> bool:
        """Whether this client sees the speech of a response in the very messages that bring it."""
        seen = self._responses.get(response_id)
        return seen is None or not seen.hidden

    def relay(self, event: ModelEvent) -> tuple[bytes, ...]:
        """The messages for one event of the model's: its own, as this client may see it."""
        wire = getattr(event, "wire", None)
        if type(wire) is not Wire:
            return ()
        if type(event) is ResponseStarted:
            shown_first = wire.parsed.get("response")
            response = shown_first if isinstance(shown_first, Mapping) else {}
            self._responses[event.response_id] = _Seen(response)
        kind = str(wire.parsed.get("type", ""))
        if kind == "response.done":
            return (self._done(wire),)
        if kind.startswith("response."):
            return self._of_response(kind, wire)
        if kind.startswith("conversation.item.") or kind == "input_audio_buffer.committed":
            return self._of_conversation(kind, wire)
        return (wire.text,)

    def _of_response(self, kind: str, wire: Wire) -> tuple[bytes, ...]:
        parsed = wire.parsed
        seen = self._responses.get(str(parsed.get("response_id")))
        if seen is None:
            return (wire.text,)
        item = parsed.get("item")
        if isinstance(item, dict) and self._is_server_call(item):
            return self._tool_item(kind, parsed, item, seen)
        item_id = parsed.get("item_id")
        if self.order.is_hidden(item_id):
            return ()
        if item_id in self._tool_items and kind.startswith("response.function_call_arguments."):
            return self._tool_arguments(kind, parsed)
        if not seen.hidden or "output_index" not in parsed:
            return (wire.text,)
        return (_indexed(parsed, seen),)

    def _of_conversation(self, kind: str, wire: Wire) -> tuple[bytes, ...]:
        parsed = wire.parsed
        item = parsed.get("item")
        item_id = str(item.get("id") if isinstance(item, dict) else parsed.get("item_id"))
        if isinstance(item, dict) and self._is_server_call(item):
            return self._tool_in_conversation(kind, parsed, item_id)
        ours = isinstance(item, dict) and item.get("call_id") in self._hidden_calls
        if ours or item_id.startswith(HIDDEN_PREFIX) or self.order.is_hidden(item_id):
            if kind == "conversation.item.added":
                self.order.add(item_id, _previous(parsed), hidden=True)
            return ()
        if kind == "conversation.item.deleted":
            self.order.remove(item_id)
        if "previous_item_id" not in parsed:
            return (wire.text,)
        before = self._stands_behind(kind, parsed, item_id)
        if before == parsed["previous_item_id"]:
            return (wire.text,)
        return (orjson.dumps({**parsed, "previous_item_id": before}),)

    def _stands_behind(self, kind: str, parsed: JsonObject, item_id: str) -> str | None:
        if kind == "conversation.item.added":
            return self.order.add(item_id, _previous(parsed))
        if kind == "conversation.item.done":
            return self.order.done(item_id, _previous(parsed))
        return self.order.place_for(_previous(parsed))  # a commit, whose item is about to be added

    def _done(self, wire: Wire) -> bytes:
        response = wire.parsed.get("response")
        if not isinstance(response, Mapping):
            return wire.text
        seen = self._responses.pop(str(response.get("id")), None)
        output = response.get("output")
        if seen is None or not isinstance(output, list) or not (seen.hidden or seen.items):
            return wire.text
        visible: list[Json] = []
        for item in output:
            if not isinstance(item, dict) or not self._is_server_call(item):
                visible.append(item)
            elif self._show:
                visible.append(_mcp_call(str(item.get("id")), str(item.get("name")), item.get("arguments")))
        return orjson.dumps({**wire.parsed, "response": {**response, "output": visible}})

    def _gone(self, response_id: str) -> bytes:
        seen = self._responses.pop(response_id, None)
        failure = response_events.failure("model_lost", "The connection to the model was lost.")
        ended: JsonObject = {
            "id": response_id,
            "status": "failed",
            "status_details": response_events.status_details("failed", error=failure),
        }
        return response_events.response_done(self._event_id(), {**(seen.response if seen else {}), **ended})

    # ---- server-side tools

    def _is_server_call(self, item: JsonObject) -> bool:
        if item.get("type") != "function_call":
            return False
        name = item.get("name")
        # A name that nobody has declared is no affair of the client's: the model is told that there is no such tool.
        return name in self._server_tools or (self.client_tools is not None and name not in self.client_tools)

    def _tool_item(self, kind: str, parsed: JsonObject, item: JsonObject, seen: _Seen) -> tuple[bytes, ...]:
        item_id, index = str(item.get("id")), parsed.get("output_index")
        self._hidden_calls.add(str(item.get("call_id")))
        if not self._show:
            self.order.hide(item_id)
            if isinstance(index, int):
                seen.hidden.add(index)
            return ()
        if kind != "response.output_item.added":
            return ()  # the client's item is done when the tool is: `_tool_ended`
        name = str(item.get("name"))
        seen.items[item_id] = _index(parsed, seen)
        place = response_events.Place(str(parsed.get("response_id")), item_id, seen.items[item_id])
        self._tool_items[item_id] = place
        made = _mcp_call(item_id, name, "")
        self._made[item_id] = made
        return (orjson.dumps({**parsed, "item": made}),)

    def _tool_in_conversation(self, kind: str, parsed: JsonObject, item_id: str) -> tuple[bytes, ...]:
        item = parsed.get("item")
        assert isinstance(item, dict)
        if kind != "conversation.item.added":
            return ()
        before = self.order.add(item_id, _previous(parsed), hidden=not self._show)
        if not self._show:
            return ()
        return (server_events.item_added(self._event_id(), _mcp_call(item_id, str(item.get("name")), ""), before),)

    def _tool_arguments(self, kind: str, parsed: JsonObject) -> tuple[bytes, ...]:
        place = self._tool_items[str(parsed.get("item_id"))]
        if kind.endswith(".delta"):
            return (response_events.mcp_arguments_delta(self._event_id(), place, str(parsed.get("delta"))),)
        return (response_events.mcp_arguments_done(self._event_id(), place, str(parsed.get("arguments"))),)

    def _tool_running(self, command: ToolRunning) -> tuple[bytes, ...]:
        place = self._tool_items.get(command.item_id)
        if place is None:
            return ()
        self._made[command.item_id] = _mcp_call(command.item_id, command.name, command.arguments)
        index = place.output_index
        return (response_events.mcp_call(self._event_id(), "in_progress", command.item_id, index),)

    def _tool_ended(self, command: ToolEnded) -> tuple[bytes, ...]:
        place = self._tool_items.get(command.item_id)
        if place is None:
            return ()
        state = "completed" if command.error is None else "failed"
        output = command.output if command.error is None else None
        made = _mcp_call(command.item_id, command.name, command.arguments, output, command.error, command.output)
        self._made[command.item_id] = made
        return (
            response_events.mcp_call(self._event_id(), state, command.item_id, place.output_index),
            response_events.output_item_done(self._event_id(), place, made),
            server_events.item_done(self._event_id(), made, self.order.done(command.item_id, None)),
        )

    def _error(self, message: str, code: str, client_event_id: str | None) -> bytes:
        kind = "server_error" if code in ("model_lost", "server_error") else "invalid_request_error"
        return server_events.error(self._event_id(), message, code=code, client_event_id=client_event_id, type=kind)

    def _event_id(self) -> str:
        return self._ids.new("event")


def _previous(parsed: JsonObject) -> str | None:
    previous = parsed.get("previous_item_id")
    return previous if isinstance(previous, str) else None


def _indexed(parsed: JsonObject, seen: _Seen) -> bytes:
    return orjson.dumps({**parsed, "output_index": _index(parsed, seen)})


def _index(parsed: JsonObject, seen: _Seen) -> int:
    index = parsed.get("output_index")
    if not isinstance(index, int):
        return 0
    return index - sum(1 for hidden in seen.hidden if hidden < index)


def _mcp_call(
    item_id: str, name: str, arguments: Json, output: str | None = None, error: str | None = None, message: str = ""
) -> JsonObject:
    problem: JsonObject | None = None
    if error is not None:
        problem = {"type": "tool_execution_error", "message": message}
    item: JsonObject = {
        "id": item_id,
        "type": "mcp_call",
        "server_label": SERVER_LABEL,
        "name": name,
        "arguments": arguments if isinstance(arguments, str) else "",
        "output": output,
        "error": problem,
        "approval_request_id": None,
    }
    return shown(item)
