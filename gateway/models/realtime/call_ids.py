"""The ids of a model's function calls: each is unique within one call of ours, whatever ids the model gives.

OpenAI gives each function call an id of its own. Some compatible services begin anew with each response (`call_0`), and
so on each leg. The first function call under an id keeps it; one of another response under the same id gets an id of
ours in every message about it, and the model gets the result under its own id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import orjson

from gateway.models.realtime.message import ModelMessage
from sessions.bounded import remember
from sessions.past import PastToolCall
from sessions.ports import Ids, Json, JsonObject
from sessions.values import Wire

# How many function calls of one leg are remembered.
MAX_CALLS = 4096
OUTPUT_ITEMS = frozenset({"response.output_item.added", "response.output_item.done"})


class UsedNames:
    """The ids of all function calls in one call of ours, over all legs of its model."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        # Whether the model has used one id for two function calls.
        self.repeated = False

    def take(self, name: str) -> bool:
        """Use an id. False if it is used already."""
        if name in self._used:
            return False
        self._used.add(name)
        return True


class CallNames:
    """Translates the ids of one leg's function calls between the model's and ours."""

    __slots__ = ("_called", "_calls", "_ids", "_items", "_latest", "_models", "_used")

    def __init__(self, ids: Ids, used: UsedNames) -> None:
        self._ids = ids
        self._used = used
        self._calls: dict[tuple[str, str], str] = {}  # response and the model's id -> our id
        self._latest: dict[str, str] = {}  # the model's id -> our id, of the latest function call that has it
        self._models: dict[str, str] = {}  # our id -> the model's id, if they differ
        self._items: dict[str, str] = {}  # item of a function call or of its result -> our id
        self._called: dict[str, bool] = {}  # our ids of function calls that `is_new` has seen

    # ---- from the model

    def name_item(self, message: ModelMessage, running: str | None) -> None:
        """Put our id into the item of a message, if the item is a function call or the result of one.

        `running` is the response that runs; None if none is known to run.
        """
        item = message.fields.get("item")
        call_id = item.get("call_id") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(call_id, str):
            return
        item_id = item.get("id")
        if message.kind in OUTPUT_ITEMS:
            name = self._of_response(message.fields.get("response_id"), call_id)
        elif isinstance(item_id, str) and item_id in self._items:
            name = self._items[item_id]
        else:
            name = self._latest.get(call_id)
            if name is not None and item.get("type") == "function_call" and running is not None:
                # The conversation has the item before its response mentions it.
                name = self._of_response(running, call_id)
        if name is None:
            return
        if name != call_id:
            message.correct("item", {**item, "call_id": name})
        if isinstance(item_id, str):
            remember(self._items, item_id, name, MAX_CALLS)

    def name_arguments(self, message: ModelMessage) -> None:
        """Put our id into a message with the arguments of a function call."""
        call_id = message.fields.get("call_id")
        name = self._of_response(message.fields.get("response_id"), call_id)
        if name is not None and name != call_id:
            message.correct("call_id", name)

    def name_output(self, message: ModelMessage) -> None:
        """Put our ids into the output of a response that has ended."""
        response = message.fields.get("response")
        output = response.get("output") if isinstance(response, Mapping) else None
        if not isinstance(response, Mapping) or not isinstance(output, list):
            return
        changed, named = False, list(output)
        for at, item in enumerate(output):
            call_id = item.get("call_id") if isinstance(item, Mapping) else None
            name = self._of_response(response.get("id"), call_id) if call_id else None
            if name is not None and name != call_id and isinstance(item, Mapping):
                changed, named[at] = True, {**item, "call_id": name}
        if changed:
            message.correct("response", {**response, "output": named})

    def is_new(self, name: str) -> bool:
        """Whether the model wants this function call for the first time; some services send it twice."""
        if name in self._called:
            return False
        remember(self._called, name, True)
        return True

    def _of_response(self, response_id: Json, call_id: Json) -> str | None:
        """Our id of a function call of this response; None if one of the two ids is missing."""
        if not isinstance(response_id, str) or not isinstance(call_id, str):
            return None
        name = self._calls.get((response_id, call_id))
        if name is None:
            name = call_id
            if not self._used.take(call_id):
                name, self._used.repeated = self._fresh(), True
            remember(self._calls, (response_id, call_id), name, MAX_CALLS)
            remember(self._latest, call_id, name, MAX_CALLS)
            if name != call_id:
                remember(self._models, name, call_id, MAX_CALLS)
        return name

    def _fresh(self) -> str:
        name = self._ids.new("call")
        self._used.take(name)
        return name

    # ---- to the model

    def models(self, name: str) -> str:
        """The model's id of the function call that has this id of ours."""
        return self._models.get(name, name)

    def sent(self, item_id: str, name: str) -> None:
        """Remember that a function call, or its result, goes to the model as an item of this id."""
        remember(self._items, item_id, name, MAX_CALLS)

    def write(self, wire: Wire) -> Wire:
        """A client's message for the model: the result of a function call gets the model's id of the call."""
        item = wire.parsed.get("item")
        if not self._models or not isinstance(item, Mapping) or item.get("type") != "function_call_output":
            return wire
        name = item.get("call_id")
        if not isinstance(name, str) or name not in self._models:
            return wire
        item_id = item.get("id")
        if isinstance(item_id, str):
            self.sent(item_id, name)
        parsed: JsonObject = {**wire.parsed, "item": {**item, "call_id": self._models[name]}}
        return Wire(wire.dialect, orjson.dumps(parsed), parsed)

    def told(self, past: PastToolCall) -> PastToolCall:
        """A function call of an earlier leg as this leg is told of it.

        It gets another id if the model may use the same id for a function call of this leg.
        """
        self._used.take(past.call_id)
        if not self._used.repeated and past.call_id not in self._latest:
            return past
        return replace(past, call_id=self._fresh())
