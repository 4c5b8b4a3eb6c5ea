"""Checks all messages from the gateway to one Realtime client, and names every violation of the protocol.

It checks the order of events in a response, one `response.done` for each `response.created`, unique and known ids, the
order of items, and that nothing hidden is shown. Source: OpenAI Realtime API reference (GA), and what public clients
rely on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pybase64
from support.replays.client import FORMATS, Received

from audio.formats import AudioFormat

Event = Mapping[str, Any]


@dataclass(slots=True)
class _Item:
    """An item of a response that is being produced."""

    item: Mapping[str, Any]
    index: int
    part: bool = False  # a content part is open
    parts: int = 0
    said: str = ""
    sound: bool = False
    closed: set[str] = field(default_factory=set)  # the *.done events received
    done: bool = False


@dataclass(slots=True)
class _Response:
    """A running response."""

    event: Event
    beside: bool
    items: dict[str, _Item] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hidden:
    """What a client must never see. `tools`: the agent's, or none where the client asked to see them."""

    words: tuple[str, ...]
    tools: frozenset[str]


class Referee:
    """Takes the messages in order, and collects `faults`."""

    def __init__(self, hidden: Hidden, allows: frozenset[str]) -> None:
        self._hidden = hidden
        self._allows = allows
        self._event_ids: set[str] = set()
        self._responses: dict[str, _Response] = {}
        self._over: set[str] = set()
        self._order: list[str] = []  # the conversation as the client knows it
        self._whole: set[str] = set()  # items that are done
        self._named: dict[str, str | None] = {}  # items created by the client, and the item before each
        self._client_calls: set[str] = set()
        self._deleted: set[str] = set()
        self._speaking: str | None = None
        self._committed: str | None = None  # its item must be added next
        self._formats: tuple[AudioFormat, AudioFormat] | None = None
        self._came = 0
        self.faults: list[str] = []
        self.unfinished = 0  # responses that were running when the gateway closed the connection
        self.words: dict[str, str] = {}  # the words of each item of the agent, collected from deltas
        self.sound_ms: dict[str, float] = {}
        self.errors: list[str | None] = []
        self.statuses: list[str] = []

    def client_said(self, message: Event | None) -> None:
        """Take a message that the client sent."""
        match message:
            case {"type": "conversation.item.create", "item": {"id": str(item_id)}, **rest}:
                previous = rest.get("previous_item_id")
                self._named[item_id] = previous if isinstance(previous, str) else None

    def take(self, received: Received) -> None:
        """Take a message from the gateway."""
        before = len(self.faults)
        self._take(received)
        self._came += 1
        for at in range(before, len(self.faults)):
            self.faults[at] = f"{received.at_ms} ms, {received.type}: {self.faults[at]}"

    def finish(self) -> None:
        """The gateway has closed the connection."""
        self.unfinished = len(self._responses)
        if self._committed is not None:
            self._fault(f"{self._committed} was committed and never added")

    def _fault(self, text: str) -> None:
        self.faults.append(text)

    def _check(self, holds: object, text: str) -> None:
        if not holds:
            self._fault(text)

    def _take(self, received: Received) -> None:
        event, kind = received.event, received.type
        event_id = event.get("event_id")
        if "duplicate" not in self._allows:
            self._check(isinstance(event_id, str) and event_id not in self._event_ids, f"event id {event_id!r}")
        self._event_ids.add(str(event_id))
        self._secrets(received.text)
        self._check((kind == "session.created") == (self._came == 0), "session.created is the first event, once")
        if kind.startswith("session."):
            self._session(event["session"])
        elif kind.startswith("input_audio_buffer."):
            self._input(kind.removeprefix("input_audio_buffer."), event)
        elif kind.startswith("conversation.item."):
            self._conversation(kind.removeprefix("conversation.item."), event)
        elif kind == "response.created":
            self._created(event)
        elif kind == "response.done":
            self._done(event["response"])
        elif kind.startswith("response.mcp_call."):
            self._check(not self._hidden.tools, "shown to a client that did not ask")
            self._check(event["item_id"] in self._order, f"{event['item_id']} is not known")
        elif kind.startswith("response."):
            self._in_response(kind.removeprefix("response."), event)
        elif kind == "error":
            self.errors.append(event["error"]["code"])
        elif kind != "rate_limits.updated":
            self._fault("is not an event of the protocol")

    def _secrets(self, text: bytes) -> None:
        for word in self._hidden.words:
            self._check(word.encode() not in text, "shows what belongs to the agent")
        self._check(b'"pb_' not in text, "shows an id that the gateway made for itself")
        for tool in self._hidden.tools:
            self._check(f'"{tool}"'.encode() not in text, f"shows the tool {tool}")

    def _session(self, session: Mapping[str, Any]) -> None:
        self._check(session["type"] == "realtime" and session["object"] == "realtime.session", "is incomplete")
        audio = session["audio"]
        self._formats = (FORMATS[audio["input"]["format"]["type"]], FORMATS[audio["output"]["format"]["type"]])

    # ---- input

    def _input(self, kind: str, event: Event) -> None:
        item_id = event.get("item_id")
        if kind == "speech_started":
            self._check(self._speaking is None, f"{self._speaking} still speaks")
            self._speaking = item_id
        elif kind == "speech_stopped":
            self._check(item_id == self._speaking, f"{item_id} stops while {self._speaking} speaks")
        elif kind == "committed":
            self._check(self._speaking in (None, item_id), f"{item_id} is committed while {self._speaking} speaks")
            self._check(item_id not in self._order, f"{item_id} exists already")
            self._behind(event["previous_item_id"])
            self._speaking, self._committed = None, item_id

    def _behind(self, previous: str | None) -> None:
        last = self._order[-1] if self._order else None
        self._check(previous == last, f"follows {previous} and not the last visible item, {last}")

    # ---- the conversation

    def _conversation(self, kind: str, event: Event) -> None:
        if kind.startswith("input_audio_transcription."):
            self._check(event["item_id"] in self._order, f"words of {event['item_id']}, which is unknown")
            if kind.endswith("completed"):
                self._check("usage" in event, "lacks usage")
            return
        item = event.get("item")
        item_id = str(item["id"] if item is not None else event["item_id"])
        if item is not None:
            self._shape(item)
        if kind == "added":
            self._added(item_id, event["previous_item_id"])
            if item is not None and item["type"] == "function_call":
                self._client_calls.add(item["call_id"])
        elif kind == "done":
            self._check(item_id in self._order or item_id in self._deleted, f"{item_id} was not added")
            self._check(item_id not in self._whole, f"{item_id} is done twice")
            self._whole.add(item_id)
            if item_id in self._order and item_id not in self._named:
                at = self._order.index(item_id)
                before = self._order[at - 1] if at else None
                self._check(event["previous_item_id"] == before, f"follows {event['previous_item_id']} now")
        elif kind == "deleted":
            self._check(item_id in self._order, f"{item_id} is not known")
            self._order = [known for known in self._order if known != item_id]
            self._deleted.add(item_id)
            self._whole.discard(item_id)  # the client may create it again
        elif kind in ("truncated", "retrieved"):
            self._check(item_id in self._order, f"{item_id} is not known")
        else:
            self._fault("is not an event of the protocol")

    def _added(self, item_id: str, previous: str | None) -> None:
        self._check(item_id not in self._order, f"{item_id} is added twice")
        self._check(self._committed in (None, item_id), f"{self._committed} was committed, and {item_id} is added")
        self._committed = None
        wanted = self._named.get(item_id)
        if wanted is None:
            self._behind(previous)
            self._order.append(item_id)
            return
        at = 0 if wanted == "root" else self._order.index(wanted) + 1
        self._check(previous == (self._order[at - 1] if at else None), f"follows {previous} and not {wanted}")
        self._order.insert(at, item_id)

    def _shape(self, item: Mapping[str, Any]) -> None:
        kind = item["type"]
        whole = item.get("object") == "realtime.item" if kind != "mcp_call" else {"output", "error"} <= set(item)
        self._check(whole, "the item is incomplete")
        if kind == "function_call_output":
            self._check(item["call_id"] in self._client_calls, f"shows the output of {item['call_id']}")
        for part in item.get("content", ()):
            if part["type"] == "input_audio":
                self._check("transcript" in part, "sound without a transcript key")

    # ---- responses

    def _created(self, event: Event) -> None:
        response = event["response"]
        response_id = response["id"]
        self._check(response_id not in self._responses and response_id not in self._over, "has begun before")
        self._check(response["status"] == "in_progress" and response["output"] == [], "begins in the middle")
        beside = response["conversation_id"] is None
        others = [other for other, found in self._responses.items() if not found.beside]
        self._check(beside or not others, f"begins while {', '.join(others)} runs")
        self._responses[response_id] = _Response(response, beside)

    def _done(self, response: Mapping[str, Any]) -> None:
        found = self._responses.pop(response["id"], None)
        if found is None:
            if "duplicate" not in self._allows:
                self._fault(f"{response['id']} was not running")
            return
        self._over.add(response["id"])
        self.statuses.append(response["status"])
        self._check(response["status"] in ("completed", "cancelled", "failed", "incomplete"), "has not ended")
        self._check(response["metadata"] == found.event["metadata"], "metadata is not what it was")
        self._check(isinstance(response["audio"]["output"]["voice"], str), "the voice is no text")
        lost = response["status"] == "failed"
        for item_id, item in found.items.items():
            self._check(item.done or lost or item.item["type"] == "mcp_call", f"{item_id} was never done")
        if not lost:
            self._check([item["id"] for item in response["output"]] == list(found.items), "output is not what came")

    def _in_response(self, kind: str, event: Event) -> None:
        response = self._responses.get(event["response_id"])
        if response is None:
            shown = kind == "output_item.done" and event["item"]["type"] == "mcp_call"
            self._check(shown, f"{event['response_id']} is not running")
            return
        if kind == "output_item.added":
            self._item_added(response, event)
            return
        item_id = str(event["item"]["id"] if "item" in event else event["item_id"])
        item = response.items.get(item_id)
        if item is None or (item.done and item.item["type"] != "mcp_call"):
            self._fault(f"{item_id} is not being produced")
            return
        self._check(event["output_index"] == item.index, f"output index {event['output_index']} of {item.index}")
        self._of_item(kind, event, item_id, item, response)

    def _item_added(self, response: _Response, event: Event) -> None:
        item = event["item"]
        self._shape(item)
        self._check(item["id"] not in response.items, f"{item['id']} is added twice")
        self._check(event["output_index"] == len(response.items), f"output index {event['output_index']}")
        before = list(response.items.values())
        self._check(all(one.done or one.item["type"] == "mcp_call" for one in before), "the item before it is open")
        response.items[item["id"]] = _Item(item, event["output_index"])

    def _of_item(self, kind: str, event: Event, item_id: str, item: _Item, response: _Response) -> None:
        match kind:
            case "content_part.added":
                self._check(not item.part and event["content_index"] == item.parts, "a part inside a part")
                item.part = True
            case "content_part.done":
                self._check(item.part, "no part is open")
                part = event["part"]
                self._check(part.get("transcript", part.get("text")) == item.said, "the part differs from its deltas")
                item.part, item.parts = False, item.parts + 1
            case "output_audio.delta":
                self._open(item, kind)
                self._sound(item_id, event["delta"])
                item.sound = True
            case "output_audio_transcript.delta" | "output_text.delta":
                self._open(item, kind)
                item.said += event["delta"]
                self.words[item_id] = item.said
            case "output_audio.done" | "output_audio_transcript.done" | "output_text.done":
                self._check(kind not in item.closed, "comes twice")
                item.closed.add(kind)
                said = event.get("transcript", event.get("text", item.said))
                self._check(said == item.said, "differs from its deltas")
            case "function_call_arguments.delta":
                item.said += event["delta"]
            case "function_call_arguments.done":
                self._check(event["arguments"] == item.said and event["name"], "differs from its deltas")
            case "mcp_call_arguments.delta" | "mcp_call_arguments.done":
                self._check(item.item["type"] == "mcp_call", "of an item that is not an mcp_call")
            case "output_item.done":
                self._item_done(event["item"], item_id, item, response)
            case _:
                self._fault("is not an event of the protocol")

    def _open(self, item: _Item, kind: str) -> None:
        self._check(item.part, "no part is open")
        self._check(kind.replace("delta", "done") not in item.closed, "comes after its end")

    def _sound(self, item_id: str, delta: str) -> None:
        assert self._formats is not None
        format = self._formats[1]
        payload = pybase64.b64decode(delta, validate=True)
        self._check(len(payload) % format.sample_bytes == 0, "half a sample")
        lasted_ms = format.samples_in(len(payload)) * 1000 / format.rate_hz
        self.sound_ms[item_id] = self.sound_ms.get(item_id, 0) + lasted_ms

    def _item_done(self, whole: Mapping[str, Any], item_id: str, item: _Item, response: _Response) -> None:
        self._shape(whole)
        item.done = True
        self._check(not item.part, "a part is still open")
        self._check(response.beside or item_id in self._order or item_id in self._deleted, "is in no conversation")
        if whole["type"] == "function_call":
            self._check(whole["arguments"] == item.said, "the arguments are not what came before")
            orjson.dumps(whole)
        elif whole["type"] == "message":
            said = " ".join(part.get("transcript", part.get("text", "")) for part in whole["content"])
            self._check(said == item.said, "the item is not what was said")
