"""Makes a Realtime server's messages for events that carry none, as those of a model of another dialect do.

The messages come in the order of the protocol: a response, its items with their parts, and what is in them. An item is
closed when its response goes on to another one or ends. Source: OpenAI Realtime API reference, server events.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.realtime import items, response_events, server_events
from gateway.realtime.response_events import Place
from gateway.realtime.session import EffectiveSession
from sessions.bounded import remember
from sessions.events import (
    AgentItemEnded,
    AgentText,
    CallerTranscribed,
    CallerTurnTaken,
    ItemDeleted,
    ItemStarted,
    ItemTaken,
    ModelEvent,
    ModelRefused,
    ResponseEnded,
    ResponseStarted,
    SpeechEnded,
    SpeechStarted,
    ToolOutputTaken,
    ToolWanted,
)
from sessions.ports import Ids, JsonObject
from sessions.values import ItemKind, Outcome

MAX_EXPECTED = 64  # items that the model has not confirmed
MAX_EXPECTED_BYTES = 16 * 1024  # of the message of such an item; one that is larger is confirmed without its content
STATUSES = {Outcome.COMPLETED: "completed", Outcome.CANCELLED: "incomplete", Outcome.INCOMPLETE: "incomplete"}


@dataclass(slots=True)
class _Item:
    """One item of a response; `words` are those of a message so far, `call` is set for function calls."""

    place: Place
    spoken: bool
    call: tuple[str, str] | None = None  # call id, name
    arguments: str = ""
    words: str = ""
    sounds: bool = True  # more sound may come
    open: bool = True


@dataclass(slots=True)
class _Response:
    """A response and its items, in their order; what comes once it is `over` has no message."""

    metadata: JsonObject | None
    out_of_band: bool
    items: dict[str, _Item] = field(default_factory=dict)
    over: bool = False


class MadeMessages:
    """Makes the messages for one client. `session` is the client's session as it is now.

    The model's confirmation of an item names only the item, so items that the client adds are kept until then.
    """

    __slots__ = ("_expected", "_ids", "_outputs", "_responses", "session")

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._responses: dict[str, _Response] = {}
        self._expected: dict[str, JsonObject] = {}  # items of the client's that the model has not confirmed
        self._outputs: dict[str, JsonObject] = {}  # the same for results of functions, by call
        self.session: EffectiveSession | None = None

    def expect(self, item: JsonObject, message_bytes: int) -> None:
        """The client adds an item, in a message of so many bytes; the model will confirm it."""
        is_output = item.get("type") == "function_call_output"
        if message_bytes > MAX_EXPECTED_BYTES:
            item = {**item, **({"output": ""} if is_output else {"content": []})}
        if is_output:
            remember(self._outputs, str(item.get("call_id")), item, MAX_EXPECTED)
        else:
            remember(self._expected, str(item.get("id")), item, MAX_EXPECTED)

    def place(self, response_id: str, item_id: str) -> Place:
        """The place of the only part of an item; that of a response's first item for an item that is unknown."""
        response = self._responses.get(response_id)
        item = response.items.get(item_id) if response is not None else None
        return item.place if item is not None else Place(response_id, item_id, 0)

    def messages(self, event: ModelEvent) -> list[bytes]:
        """The messages for one event, in order; none for events that a Realtime client gets no message for."""
        match event:
            case SpeechStarted():
                return [server_events.speech_started(self._id(), event.item_id, event.at_ms)]
            case SpeechEnded():
                return [server_events.speech_stopped(self._id(), event.item_id, event.at_ms)]
            case CallerTurnTaken():
                committed = server_events.committed(self._id(), event.item_id, None)
                return [committed, *self._confirmed(items.user_audio(event.item_id))]
            case CallerTranscribed(final=True):
                return [server_events.transcription_completed(self._id(), event.item_id, event.text, 0.0)]
            case CallerTranscribed():
                return [server_events.transcription_delta(self._id(), event.item_id, event.text)]
            case ItemTaken():
                item = self._expected.pop(event.item_id, None)
                return [] if item is None else self._confirmed(item)
            case ToolOutputTaken():
                item = self._outputs.pop(event.call_id, None)
                return [] if item is None else self._confirmed(item)
            case ItemDeleted():
                return [server_events.item_deleted(self._id(), event.item_id)]
            case ModelRefused():
                message, name = event.message, event.event_id
                return [server_events.error(self._id(), message, code=event.code, client_event_id=name)]
            case _:
                return self._of_response(event)

    def _of_response(self, event: ModelEvent) -> list[bytes]:
        match event:
            case ResponseStarted():
                return self._begin_response(event.response_id, _Response(event.metadata, event.out_of_band))
            case ItemStarted():
                call = (event.call_id or "", event.name or "") if event.kind is ItemKind.TOOL_CALL else None
                return self._begin(event.response_id, event.item_id, call)
            case AgentText():
                return self._words(event)
            case AgentItemEnded():
                item = self._item(event.response_id, event.item_id)
                if item is None or not item.sounds or not item.spoken:
                    return []
                item.sounds = False
                return [response_events.audio_done(self._id(), item.place)]
            case ToolWanted():
                return self._call(event)
            case ResponseEnded():
                return self._end(event)
            case _:
                return []

    # ---- items of a response

    def _begin_response(self, response_id: str, response: _Response) -> list[bytes]:
        """Begin a response, unless it has begun."""
        if response_id in self._responses:
            return []
        remember(self._responses, response_id, response)
        return [response_events.response_created(self._id(), self._object(response_id, response))]

    def _begin(self, response_id: str, item_id: str, call: tuple[str, str] | None) -> list[bytes]:
        """Begin an item, unless it has begun, and the response if its beginning was missed."""
        created = self._begin_response(response_id, _Response(None, out_of_band=False))
        response = self._responses[response_id]
        if item_id in response.items or response.over:
            return []
        closed = [message for item in response.items.values() for message in self._close(response, item, "completed")]
        spoken = call is None and not (self.session is not None and self.session.text_only)
        item = _Item(Place(response_id, item_id, len(response.items)), spoken, call)
        response.items[item_id] = item
        shown = self._shown(item, "in_progress")
        begun = [response_events.output_item_added(self._id(), item.place, shown)]
        if not response.out_of_band:
            begun.append(server_events.item_added(self._id(), shown, None))
        if call is None:
            part = response_events.audio_part() if spoken else response_events.text_part()
            begun.append(response_events.content_part_added(self._id(), item.place, part))
        return created + closed + begun

    def _words(self, event: AgentText) -> list[bytes]:
        begun = self._begin(event.response_id, event.item_id, None)
        item = self._item(event.response_id, event.item_id)
        if item is None:
            return []
        item.words += event.text
        make = response_events.transcript_delta if item.spoken else response_events.text_delta
        return [*begun, make(self._id(), item.place, event.text)]

    def _call(self, event: ToolWanted) -> list[bytes]:
        begun = self._begin(event.response_id, event.item_id, (event.call_id, event.name))
        response, item = self._responses[event.response_id], self._item(event.response_id, event.item_id)
        if item is None:
            return []
        item.call, item.arguments = (event.call_id, event.name), event.arguments
        done = response_events.arguments_done(self._id(), item.place, event.call_id, event.name, event.arguments)
        return [*begun, done, *self._close(response, item, "completed")]

    def _close(self, response: _Response, item: _Item, status: str) -> list[bytes]:
        if not item.open:
            return []
        item.open = False
        place, words = item.place, item.words
        closed: list[bytes] = []
        if item.call is None and item.spoken:
            if item.sounds:
                closed.append(response_events.audio_done(self._id(), place))
            closed.append(response_events.transcript_done(self._id(), place, words))
            closed.append(response_events.content_part_done(self._id(), place, response_events.audio_part(words)))
        elif item.call is None:
            closed.append(response_events.text_done(self._id(), place, words))
            closed.append(response_events.content_part_done(self._id(), place, response_events.text_part(words)))
        shown = self._shown(item, status)
        closed.append(response_events.output_item_done(self._id(), place, shown))
        if not response.out_of_band:
            closed.append(server_events.item_done(self._id(), shown, None))
        return closed

    def _end(self, event: ResponseEnded) -> list[bytes]:
        created = self._begin_response(event.response_id, _Response(None, out_of_band=False))
        response = self._responses[event.response_id]
        if response.over:
            return []
        status = STATUSES.get(event.outcome, "incomplete")
        closed = [message for item in response.items.values() for message in self._close(response, item, status)]
        done = response_events.response_done(self._id(), self._object(event.response_id, response, event))
        response.over = True
        response.items.clear()
        return [*created, *closed, done]

    # ---- the objects in the messages

    def _object(self, response_id: str, response: _Response, ended: ResponseEnded | None = None) -> JsonObject:
        """The response object, of a response that runs or has `ended`."""
        session = self.session
        assert session is not None  # the codec has set it before any event
        status, details, usage = "in_progress", None, None
        if ended is not None:
            status = ended.outcome.value
            problem = ended.problem
            error = None if problem is None else response_events.failure(problem.code, "The response failed.")
            details = response_events.status_details(status, ended.reason, error)
            usage = None if ended.usage is None else response_events.usage_object(ended.usage)
        return response_events.response_object(
            response_id,
            status=status,
            conversation_id=None if response.out_of_band else "conv",
            text_only=session.text_only,
            format=session.output_format,
            voice=session.voice,
            max_output_tokens=session.max_output_tokens,
            metadata=response.metadata,
            output=[self._shown(item, "completed") for item in response.items.values()] if ended is not None else (),
            details=details,
            usage=usage,
        )

    def _shown(self, item: _Item, status: str) -> JsonObject:
        item_id = item.place.item_id
        if item.call is not None:
            return items.function_call(item_id, *item.call, item.arguments, status)
        if status == "in_progress":
            return items.assistant_empty(item_id)
        make = items.assistant_audio if item.spoken else items.assistant_text
        return make(item_id, item.words, status)

    def _confirmed(self, item: JsonObject) -> list[bytes]:
        """The messages that confirm an item, which stands behind all others of the conversation."""
        return [server_events.item_added(self._id(), item, None), server_events.item_done(self._id(), item, None)]

    def _item(self, response_id: str, item_id: str) -> _Item | None:
        response = self._responses.get(response_id)
        return None if response is None else response.items.get(item_id)

    def _id(self) -> str:
        return self._ids.new("event")
