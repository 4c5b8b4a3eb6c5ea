"""The names of a model's function calls: each its own in one call of ours, whatever the model numbers them by.

OpenAI gives each call a name of its own. Compatible services have been seen to begin anew with each response
(`call_0`), and then do so on each leg. The name that comes first stays; a call of another response that comes under the
same one gets a name of ours, in every message about it, and the model is answered under its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import orjson

from sessions.events import Wire
from sessions.past import PastToolCall
from sessions.ports import Ids, Json, JsonObject
from sessions.remembering import remember

MAX_CALLS = 4096  # function calls of one leg that are remembered
ARGUMENTS = frozenset({"response.function_call_arguments.delta", "response.function_call_arguments.done"})
OUTPUT_ITEMS = frozenset({"response.output_item.added", "response.output_item.done"})


class UsedNames:
    """The names of all function calls of one call of ours, over the legs of its model."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self.repeated = False  # the model has used a name for a second call

    def take(self, name: str) -> bool:
        """Use a name. False where it is used already."""
        if name in self._used:
            return False
        self._used.add(name)
        return True


class CallNames:
    """Translates the names of function calls for one leg. `running` is the response that runs, as far as is known."""

    __slots__ = ("_calls", "_ids", "_items", "_latest", "_models", "_used", "running")

    def __init__(self, ids: Ids, used: UsedNames) -> None:
        self._ids = ids
        self._used = used
        self._calls: dict[tuple[str, str], str] = {}  # response and the model's name -> ours
        self._latest: dict[str, str] = {}  # the model's name -> ours, of the latest call that has it
        self._models: dict[str, str] = {}  # ours -> the model's, where they are not the same
        self._items: dict[str, str] = {}  # item, of a call or of its output -> our name of the call
        self.running: str | None = None

    # ---- from the model

    def read(self, kind: str, message: JsonObject) -> JsonObject:
        """A message of the model's with our names in it; the same where there is nothing to change."""
        if kind in ARGUMENTS:
            return self._put(message, self._of_response(message.get("response_id"), message.get("call_id")))
        if kind == "response.done":
            return self._whole(message)
        item = message.get("item")
        if not isinstance(item, Mapping):
            return message
        name = self._of_item(kind, message, item)
        named = self._put(item, name)
        item_id = item.get("id")
        if name is not None and isinstance(item_id, str):
            remember(self._items, item_id, name, MAX_CALLS)
        return message if named is item else {**message, "item": named}

    def _of_item(self, kind: str, message: JsonObject, item: JsonObject) -> str | None:
        call_id = item.get("call_id")
        if not isinstance(call_id, str):
            return None
        if kind in OUTPUT_ITEMS:
            return self._of_response(message.get("response_id"), call_id)
        known = self._items.get(str(item.get("id")))
        if known is not None:
            return known
        latest = self._latest.get(call_id)
        if latest is not None and item.get("type") == "function_call" and self.running is not None:
            return self._of_response(self.running, call_id)  # told of before its response tells of it
        return latest

    def _whole(self, message: JsonObject) -> JsonObject:
        response = message.get("response")
        output = response.get("output") if isinstance(response, Mapping) else None
        if not isinstance(response, Mapping) or not isinstance(output, list):
            return message
        named: list[Json] = []
        for item in output:
            call_id = item.get("call_id") if isinstance(item, Mapping) else None
            named.append(self._put(item, self._of_response(response.get("id"), call_id)) if call_id else item)
        same = all(one is other for one, other in zip(named, output, strict=True))
        return message if same else {**message, "response": {**response, "output": named}}

    def _of_response(self, response_id: Json, call_id: Json) -> str | None:
        """Our name of a call of this response."""
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

    def _put(self, holder: JsonObject, name: str | None) -> JsonObject:
        return holder if name is None or holder.get("call_id") == name else {**holder, "call_id": name}

    # ---- to the model

    def models(self, name: str) -> str:
        """What the model calls this call."""
        return self._models.get(name, name)

    def sent(self, item_id: str, name: str) -> None:
        """A call, or its result, goes to the model as an item of this id."""
        remember(self._items, item_id, name, MAX_CALLS)

    def write(self, wire: Wire) -> Wire:
        """A message of the client's as the model can follow it: the result of a call under the model's own name."""
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
        """A call of an earlier leg as this one is told of it: under no name that a model uses which begins anew."""
        self._used.take(past.call_id)
        if not self._used.repeated and past.call_id not in self._latest:
            return past
        return replace(past, call_id=self._fresh())
