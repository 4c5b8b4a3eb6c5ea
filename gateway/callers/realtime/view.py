"""What a Realtime client sees of a call: the model's own messages without the agent's server-side tools.

A message goes on as the bytes that came, unless it names or follows something hidden: then its `previous_item_id`,
`output_index` or `output` is rewritten. A client that asked to see server-side tools gets `mcp_call` items in the place
of the model's function calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import assert_never

import orjson

from gateway.callers.realtime.client_ids import ClientIds
from gateway.callers.realtime.gateway_items import GatewayItems
from gateway.callers.realtime.item_order import ItemOrder, previous_id
from gateway.callers.realtime.made_messages import MadeMessages
from gateway.callers.realtime.server_tools import ServerTools
from gateway.callers.realtime.shown_response import ShownResponse
from gateway.realtime import response_events, server_events
from gateway.realtime.dialect import DIALECT, own
from gateway.realtime.reading import read_json
from sessions.commands import (
    CallerCommand,
    ClearPlayback,
    EndCall,
    LegReplaced,
    Play,
    Refuse,
    Relay,
    ResponseGone,
    ToolEnded,
    ToolRunning,
    Truncated,
)
from sessions.events import ModelEvent
from sessions.ports import OWN_PREFIX, Ids, JsonObject
from sessions.values import Wire


class ClientView:
    """Writes commands as messages for one Realtime client.

    `order`, `tools` and `kept` know the items that this client has, and where they differ from the model's. `names`
    knows which of them are the client's own, and `made` makes the messages that the model's leg has not brought.
    """

    __slots__ = ("_ids", "_responses", "kept", "made", "names", "order", "tools")

    def __init__(self, ids: Ids, server_tools: Set[str], *, show_tools: bool) -> None:
        self._ids = ids
        self.names = ClientIds(ids)
        self.order = ItemOrder()
        self.kept = GatewayItems(ids, self.order)
        self.made = MadeMessages(ids)
        self.tools = ServerTools(ids, server_tools, self.order, self.kept, show=show_tools)
        self._responses: dict[str, ShownResponse] = {}

    def encode(self, command: CallerCommand) -> tuple[bytes, ...]:
        """The messages for one command, in order."""
        match command:
            case Play():
                return (self.play(command),)
            case Relay():
                return self.relay(command.event)
            case ToolRunning():
                return self.tools.running(command)
            case ToolEnded():
                return self.tools.ended(command)
            case Refuse():
                return (self._error(command.message, command.code, command.event_id),)
            case ResponseGone():
                return (self._gone(command.response_id),)
            case Truncated():
                made = server_events.item_truncated(self._event_id(), command.item_id, 0, command.heard_ms)
                return (made,)
            case EndCall():
                return () if command.error_code is None else (self._last_error(command, command.error_code),)
            case LegReplaced():
                self.order.leg_replaced()
                return ()
            case ClearPlayback():
                return ()  # the client owns playback, and stops it at speech_started
            case _:
                assert_never(command)

    # ---- the model's messages

    def play(self, command: Play) -> bytes:
        """The one message for a piece of speech."""
        wire = command.wire
        if wire is None:
            place = self.made.place(command.response_id, command.item_id)
            wire = response_events.audio_delta(self._event_id(), place, command.frame.payload)
        if self.unchanged(command.response_id):
            return wire
        return self._responses[command.response_id].indexed(read_json(wire))

    def unchanged(self, response_id: str) -> bool:
        """Whether the messages with speech of this response go to the client unchanged."""
        seen = self._responses.get(response_id)
        return seen is None or not seen.hidden

    def relay(self, event: ModelEvent) -> tuple[bytes, ...]:
        """The messages for one event of the model's, as this client may see them.

        They are its own message, or messages made from its fields where it carries none of this protocol.
        """
        given = getattr(event, "wire", None)
        wire = own(given) if type(given) is Wire else None
        if wire is not None:
            return self._relay(wire)
        made = self.made.messages(event)
        return tuple(seen for text in made for seen in self._relay(Wire(DIALECT, text, read_json(text))))

    def _relay(self, wire: Wire) -> tuple[bytes, ...]:
        kind = str(wire.parsed.get("type", ""))
        if kind == "response.done":
            return (self._done(wire),)
        if kind == "error":
            answer = self.names.towards_client(wire.parsed)
            return (wire.text if answer is wire.parsed else orjson.dumps(answer),)
        if kind == "response.created":
            response = wire.parsed.get("response")
            if isinstance(response, Mapping):
                self._responses[str(response.get("id"))] = ShownResponse(response)
            return (wire.text,)
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
        if isinstance(item, dict) and self.tools.owns(item):
            return self.tools.in_response(kind, parsed, item, seen)
        item_id = str(parsed.get("item_id"))  # the model may send anything as an id
        if item_id in self.order.hidden:
            return ()
        if item_id in self.tools.shown and kind.startswith("response.function_call_arguments."):
            return self.tools.arguments(kind, parsed)
        if not seen.hidden or "output_index" not in parsed:
            return (wire.text,)
        return (seen.indexed(parsed),)

    def _of_conversation(self, kind: str, wire: Wire) -> tuple[bytes, ...]:
        parsed = wire.parsed
        item = parsed.get("item")
        item_id = str(item.get("id") if isinstance(item, dict) else parsed.get("item_id"))
        if not self.names.has_item(item_id):  # an item of the client's own is never hidden
            if isinstance(item, dict) and self.tools.owns(item):
                return self.tools.in_conversation(kind, parsed, item)
            ours = isinstance(item, dict) and str(item.get("call_id")) in self.tools.call_ids
            if ours or item_id.startswith(OWN_PREFIX) or item_id in self.order.hidden:
                if kind == "conversation.item.added":
                    self.order.hidden.add(item_id)
                    self.order.add(item_id, previous_id(parsed))
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
            return self.order.add(item_id, previous_id(parsed))
        if kind == "conversation.item.done":
            return self.order.done(item_id, previous_id(parsed))
        return self.order.place_for(previous_id(parsed))  # a commit: its item is added after it

    def _done(self, wire: Wire) -> bytes:
        response = wire.parsed.get("response")
        if not isinstance(response, Mapping):
            return wire.text
        seen = self._responses.pop(str(response.get("id")), None)
        output = response.get("output")
        if seen is None or not isinstance(output, list) or not (seen.hidden or seen.shows_tools):
            return wire.text
        visible = self.tools.in_output(output)
        return orjson.dumps({**wire.parsed, "response": {**response, "output": visible}})

    def _gone(self, response_id: str) -> bytes:
        seen = self._responses.pop(response_id, None)
        failure = response_events.failure("model_lost", "The connection to the model was lost.")
        ended: JsonObject = {
            "id": response_id,
            "status": "failed",
            "status_details": response_events.status_details("failed", error=failure),
        }
        return response_events.response_done(self._event_id(), {**(seen.shown if seen else {}), **ended})

    def _error(self, message: str, code: str, client_event_id: str | None) -> bytes:
        kind = "server_error" if code in ("model_lost", "server_error") else "invalid_request_error"
        return server_events.error(self._event_id(), message, code=code, client_event_id=client_event_id, type=kind)

    def _last_error(self, command: EndCall, code: str) -> bytes:
        if command.problem is None:
            return self._error(command.message, code, None)
        told = {"code": command.problem.code, "type": command.problem.type}
        return server_events.error(self._event_id(), command.message, code=code, type="server_error", model=told)

    def _event_id(self) -> str:
        return self._ids.new("event")
