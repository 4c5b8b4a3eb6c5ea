"""How one Realtime client sees a response that has hidden items."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from sessions.ports import JsonObject


@dataclass(slots=True)
class ShownResponse:
    """Knows what of one response is hidden from the client, and translates the model's output indices."""

    shown: JsonObject  # the response object of `response.created`
    hidden: set[int] = field(default_factory=set)  # the model's output indices that the client must not see
    shows_tools: bool = False  # some of its function calls are shown as `mcp_call` items

    def index(self, event: JsonObject) -> int:
        """The output index of one of the model's events as the client sees it; 0 if the event has none."""
        index = event.get("output_index")
        if not isinstance(index, int):
            return 0
        return index - sum(1 for hidden in self.hidden if hidden < index)

    def indexed(self, event: JsonObject) -> bytes:
        """The message for one of the model's events, with the output index that the client sees."""
        return orjson.dumps({**event, "output_index": self.index(event)})
