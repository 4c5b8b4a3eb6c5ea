"""What a model says about its own responses: their beginning and end, their items, words, sound and function calls.

Source: OpenAI Realtime API reference, `response.*`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from gateway.models.realtime.call_ids import CallNames
from gateway.models.realtime.message import ModelMessage, object_of, text_of
from gateway.models.realtime.response_end import read_end, whole_response
from gateway.models.realtime.responses import ModelResponses
from gateway.models.realtime.speech import ModelSpeech
from gateway.models.realtime.words import WordPieces
from sessions.bounded import remember
from sessions.events import AgentItemEnded, AgentText, ItemStarted, ModelEvent, ModelPassed, ResponseStarted, ToolWanted
from sessions.ports import JsonObject
from sessions.values import ItemKind

ITEM_KINDS = {"message": ItemKind.MESSAGE, "function_call": ItemKind.TOOL_CALL}


class AgentMessages:
    """Reads the messages about responses."""

    __slots__ = ("_calls", "_in_pieces", "_responses", "_speech", "_words")

    def __init__(self, responses: ModelResponses, calls: CallNames, speech: ModelSpeech) -> None:
        self._responses = responses
        self._calls = calls
        self._speech = speech
        self._words = WordPieces()
        self._in_pieces: dict[str, bool] = {}  # items whose words have come in pieces

    def readers(self) -> dict[str, Callable[[ModelMessage], ModelEvent | None]]:
        """The reader of each type of message."""
        return {
            "response.created": self._created,
            "response.done": self._done,
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.function_call_arguments.delta": self._arguments,
            "response.function_call_arguments.done": self._arguments,
            "response.output_audio.delta": self._sound,
            "response.output_audio.done": self._sound_ended,
            "response.output_audio_transcript.delta": self._spoken_piece,
            "response.output_audio_transcript.done": self._spoken_words,
            "response.output_text.delta": self._written_piece,
            "response.output_text.done": self._written_words,
        }

    # ---- the response as a whole

    def _created(self, message: ModelMessage) -> ModelEvent:
        given = message.fields.get("response")
        if not isinstance(given, Mapping) or not isinstance(given.get("id"), str):
            self._responses.began_without_id()
        response = object_of(message.fields, "response")
        response_id = text_of(response, "id")
        self._responses.began(response_id)
        self._speech.response(response_id, response)
        # Only an explicit null says that the response is beside the conversation; an absent id says nothing.
        beside = "conversation_id" in response and response["conversation_id"] is None
        out_of_band = beside and self._responses.answers_out_of_band()
        metadata = response.get("metadata")
        return ResponseStarted(
            response_id, out_of_band, metadata if isinstance(metadata, Mapping) else None, message.wire()
        )

    def _done(self, message: ModelMessage) -> ModelEvent:
        self._calls.name_output(message)
        given = message.fields.get("response")
        has_id = isinstance(given, Mapping) and isinstance(given.get("id"), str)
        response_id = None if has_id else self._responses.id_of_end()
        response = whole_response(given, response_id, spoke=self._responses.spoke)
        if response is not given:
            message.correct("response", response)
        ended = read_end(response, message.wire())
        self._responses.ended()
        return ended

    # ---- items

    def _item_added(self, message: ModelMessage) -> ModelEvent:
        return self._item_started(message, object_of(message.fields, "item"))

    def _item_started(self, message: ModelMessage, item: JsonObject) -> ModelEvent:
        name, call_id = item.get("name"), item.get("call_id")
        response_id, item_id = text_of(message.fields, "response_id"), text_of(item, "id")
        self._responses.brought_item(response_id)
        return ItemStarted(
            response_id,
            item_id,
            ITEM_KINDS.get(str(item.get("type")), ItemKind.OTHER),
            name if isinstance(name, str) else None,
            call_id if isinstance(call_id, str) else None,
            message.wire(),
        )

    def _item_done(self, message: ModelMessage) -> ModelEvent:
        item = object_of(message.fields, "item")
        if item.get("type") != "function_call":
            return ModelPassed(message.wire())
        if not isinstance(item.get("arguments"), str):
            # Some services send the arguments as an object instead of a JSON text, or leave out empty ones.
            given = item.get("arguments")
            item = {**item, "arguments": "{}" if given is None else orjson.dumps(given).decode()}
            message.correct("item", item)
        if item.get("status", "completed") != "completed":
            # The call was cut short: nothing can be run, but the client's view may have to hide the item.
            return self._item_started(message, item)
        response_id, item_id = text_of(message.fields, "response_id"), text_of(item, "id")
        call_id, name, arguments = text_of(item, "call_id"), text_of(item, "name"), text_of(item, "arguments")
        if not self._calls.is_new(call_id):
            return ModelPassed(message.wire())
        self._responses.spoke = True
        return ToolWanted(response_id, item_id, call_id, name, arguments, message.wire())

    def _arguments(self, message: ModelMessage) -> ModelEvent:
        self._calls.name_arguments(message)
        return ModelPassed(message.wire())

    # ---- sound and words

    def _sound(self, message: ModelMessage) -> ModelEvent:
        response_id, item_id = text_of(message.fields, "response_id"), text_of(message.fields, "item_id")
        return self._speech.parsed(response_id, item_id, text_of(message.fields, "delta"), message.text())

    def _sound_ended(self, message: ModelMessage) -> ModelEvent:
        response_id, item_id = message.fields.get("response_id"), message.fields.get("item_id")
        if isinstance(response_id, str) and isinstance(item_id, str):
            return AgentItemEnded(response_id, item_id, message.wire())
        return ModelPassed(message.wire())  # the client may understand the message all the same

    def _spoken_piece(self, message: ModelMessage) -> ModelEvent:
        return self._piece(message, spoken=True)

    def _written_piece(self, message: ModelMessage) -> ModelEvent:
        return self._piece(message, spoken=False)

    def _piece(self, message: ModelMessage, *, spoken: bool) -> ModelEvent:
        response_id, item_id = text_of(message.fields, "response_id"), text_of(message.fields, "item_id")
        words = self._words.joined(item_id, message, text_of(message.fields, "delta"))
        if item_id not in self._in_pieces:
            remember(self._in_pieces, item_id, True)
            self._responses.spoke = True
        return AgentText(response_id, item_id, words, spoken, message.wire())

    def _spoken_words(self, message: ModelMessage) -> ModelEvent:
        return self._whole_words(message, "transcript", spoken=True)

    def _written_words(self, message: ModelMessage) -> ModelEvent:
        return self._whole_words(message, "text", spoken=False)

    def _whole_words(self, message: ModelMessage, key: str, *, spoken: bool) -> ModelEvent:
        """An event with the words at `key` if they have not come in pieces: some services send them whole only."""
        item_id, words = text_of(message.fields, "item_id"), text_of(message.fields, key)
        if item_id in self._in_pieces:
            words = self._words.rest(item_id)
        if not words:
            return ModelPassed(message.wire())
        return AgentText(text_of(message.fields, "response_id"), item_id, words, spoken, message.wire(), whole=True)
