"""What a model says about its session and its conversation: settings, items that it holds, errors.

Source: OpenAI Realtime API reference, `session.*`, `conversation.*`, `error`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.models.realtime.endings import ending, error_class
from gateway.models.realtime.message import ModelMessage, object_of, text_of
from gateway.models.realtime.negotiation import ModelSettings
from gateway.models.realtime.refusal import read_refusal, whole_error
from gateway.models.realtime.responses import ModelResponses
from gateway.models.realtime.speech import ModelSpeech, named_format
from gateway.realtime import fields
from sessions.events import ItemDeleted, ItemTaken, ModelEvent, ModelLost, ModelPassed, ModelReady, ToolOutputTaken
from sessions.ports import JsonObject
from sessions.values import ModelSession

NAME_MAX_CHARACTERS = 256  # of what a model calls itself and its session


class SessionMessages:
    """Reads the messages about the session and the conversation."""

    __slots__ = ("_responses", "_seeded", "_settings", "_speech")

    def __init__(
        self, settings: ModelSettings, responses: ModelResponses, speech: ModelSpeech, seeded: set[str]
    ) -> None:
        self._settings = settings
        self._responses = responses
        self._speech = speech
        self._seeded = seeded  # ids of items that the client knows already

    def readers(self) -> dict[str, Callable[[ModelMessage], ModelEvent | None]]:
        """The reader of each type of message."""
        return {
            "session.created": self._skip,
            "session.updated": self._session_updated,
            "conversation.created": self._skip,
            "conversation.item.added": self._item_added,
            "conversation.item.done": self._item_done,
            "conversation.item.deleted": self._item_deleted,
            "error": self._error,
        }

    def _skip(self, message: ModelMessage) -> None:
        """The client has the gateway's own session and conversation, not the model's."""

    def _session_updated(self, message: ModelMessage) -> ModelEvent | None:
        self._speech.format = named_format(message.fields.get("session")) or self._settings.asked_format
        if not self._settings.agreed():
            return None
        described = fields.inside(message.fields, "session")
        names = [fields.inside(described, name) for name in ("id", "model")]
        session_id, model = (name[:NAME_MAX_CHARACTERS] if isinstance(name, str) else None for name in names)
        return ModelReady(ModelSession(session_id, model) if session_id or model else None)

    def _item_added(self, message: ModelMessage) -> ModelEvent | None:
        item = object_of(message.fields, "item")
        if self._is_seeded(item):
            return None
        kind = item.get("type")
        if kind == "function_call_output":
            return ToolOutputTaken(text_of(item, "call_id"), message.wire())
        if kind in ("message", "function_call"):
            return ItemTaken(text_of(item, "id"), message.wire())
        return ModelPassed(message.wire())

    def _item_done(self, message: ModelMessage) -> ModelEvent | None:
        item = message.fields.get("item")
        if not isinstance(item, Mapping) or not self._is_seeded(item):
            return ModelPassed(message.wire())
        self._seeded.discard(text_of(item, "id"))
        return None

    def _is_seeded(self, item: JsonObject) -> bool:
        item_id = item.get("id")
        return isinstance(item_id, str) and item_id in self._seeded

    def _item_deleted(self, message: ModelMessage) -> ModelEvent:
        return ItemDeleted(text_of(message.fields, "item_id"), message.wire())

    def _error(self, message: ModelMessage) -> ModelEvent | None:
        given = message.fields.get("error")
        refusal = read_refusal(given)
        whole = whole_error(given)
        if whole is not given:
            message.correct("error", whole)
        if refusal.event_id is not None:
            self._responses.out_of_band_requests.discard(refusal.event_id)
        lost = ending(refusal)
        if lost is not None:
            return lost
        request_id = self._settings.request_of(refusal)
        if request_id is None:
            return refusal.event(refusal.event_id, message.wire())
        given_up = self._settings.give_up(request_id, refusal)
        if given_up == "field":
            # The session goes on without a field that this service does not have: nobody needs to know.
            return None
        if given_up == "tool" or self._settings.ready:
            return refusal.event(request_id, message.wire())
        error = error_class(refusal.code, refusal.problem.type)
        return ModelLost(f"the model refused the session: {refusal.code}", False, refusal.problem, error)
