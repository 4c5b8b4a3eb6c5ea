"""What a Realtime client sees of calls of server-side tools, and of functions that nobody has declared.

For the model each is a function like any other. The client sees nothing, or an `mcp_call` item in its place.
"""

from __future__ import annotations

from collections.abc import Set

import orjson

from gateway.callers.realtime.gateway_items import GatewayItems
from gateway.callers.realtime.item_order import ItemOrder, previous_id
from gateway.callers.realtime.shown_response import ShownResponse
from gateway.realtime import items, response_events, server_events
from sessions.commands import ToolEnded, ToolRunning
from sessions.ports import Ids, Json, JsonObject

SERVER_LABEL = "patchbay"  # of the `mcp_call` items


class ServerTools:
    """Hides calls that the client must not answer, or shows each as an `mcp_call` item from its start to its end.

    `call_ids` are all such calls, whose outputs are hidden as well; `shown` are those that the client sees, by item.
    """

    __slots__ = ("_ids", "_kept", "_names", "_order", "_show", "call_ids", "client_tools", "shown")

    def __init__(self, ids: Ids, names: Set[str], order: ItemOrder, kept: GatewayItems, *, show: bool) -> None:
        self._ids = ids
        self._names = names
        self._order = order
        self._kept = kept
        self._show = show
        self.client_tools: frozenset[str] | None = None  # functions that are the client's; None: any name may be
        self.call_ids: set[str] = set()
        self.shown: dict[str, response_events.Place] = {}

    def owns(self, item: JsonObject) -> bool:
        """Whether an item of the model's is a call that the client must not answer."""
        if item.get("type") != "function_call":
            return False
        name = str(item.get("name"))
        # A function that nobody has declared is hidden too: the gateway tells the model that there is no such tool.
        return name in self._names or (self.client_tools is not None and name not in self.client_tools)

    # ---- the model's messages about such a call

    def in_response(self, kind: str, event: JsonObject, item: JsonObject, seen: ShownResponse) -> tuple[bytes, ...]:
        """What the client sees of `response.output_item.added` or `.done`."""
        item_id, index = str(item.get("id")), event.get("output_index")
        self.call_ids.add(str(item.get("call_id")))
        if not self._show:
            self._order.hidden.add(item_id)
            if isinstance(index, int):
                seen.hidden.add(index)
            return ()
        if kind != "response.output_item.added":
            return ()  # the client's item is done when the tool is: `ended`
        seen.shows_tools = True
        self.shown[item_id] = response_events.Place(str(event.get("response_id")), item_id, seen.index(event))
        made = _mcp_call(item_id, str(item.get("name")), "")
        self._kept.put(made)
        return (orjson.dumps({**event, "item": made}),)

    def in_conversation(self, kind: str, event: JsonObject, item: JsonObject) -> tuple[bytes, ...]:
        """What the client sees of `conversation.item.added`, and of others about the item itself."""
        if kind != "conversation.item.added":
            return ()
        item_id = str(item.get("id"))
        before = self._order.add(item_id, previous_id(event))
        if not self._show:
            self._order.hidden.add(item_id)
            return ()
        made = _mcp_call(item_id, str(item.get("name")), "")
        return (server_events.item_added(self._ids.new("event"), made, before),)

    def arguments(self, kind: str, event: JsonObject) -> tuple[bytes, ...]:
        """What the client sees of `response.function_call_arguments.delta` or `.done`, of a call that it sees."""
        place = self.shown[str(event.get("item_id"))]
        if kind.endswith(".delta"):
            return (response_events.mcp_arguments_delta(self._ids.new("event"), place, str(event.get("delta"))),)
        return (response_events.mcp_arguments_done(self._ids.new("event"), place, str(event.get("arguments"))),)

    def in_output(self, output: list[Json]) -> list[Json]:
        """The items of a whole response as the client sees them."""
        visible: list[Json] = []
        for item in output:
            if not isinstance(item, dict) or not self.owns(item):
                visible.append(item)
            elif self._show:
                visible.append(_mcp_call(str(item.get("id")), str(item.get("name")), item.get("arguments")))
        return visible

    # ---- commands of the call about such a call

    def running(self, command: ToolRunning) -> tuple[bytes, ...]:
        """The tool has been started."""
        place = self.shown.get(command.item_id)
        if place is None:
            return ()
        self._kept.change(_mcp_call(command.item_id, command.name, command.arguments))
        return (self._state("in_progress", place),)

    def ended(self, command: ToolEnded) -> tuple[bytes, ...]:
        """The tool has returned or failed: the client's item is done only now."""
        place = self.shown.get(command.item_id)
        if place is None:
            return ()
        item_id, name, arguments = command.item_id, command.name, command.arguments
        if command.error is None:
            state, made = "completed", _mcp_call(item_id, name, arguments, command.output)
        else:
            state, made = "failed", _mcp_call(item_id, name, arguments, None, items.tool_error(command.output))
        self._kept.change(made)
        return (
            self._state(state, place),
            response_events.output_item_done(self._ids.new("event"), place, made),
            server_events.item_done(self._ids.new("event"), made, self._order.done(item_id, None)),
        )

    def _state(self, state: str, place: response_events.Place) -> bytes:
        return response_events.mcp_call(self._ids.new("event"), state, place.item_id, place.output_index)


def _mcp_call(
    item_id: str, name: str, arguments: Json, output: str | None = None, error: JsonObject | None = None
) -> JsonObject:
    written = arguments if isinstance(arguments, str) else ""
    return items.shown(items.mcp_call(item_id, SERVER_LABEL, name, written, output, error))
