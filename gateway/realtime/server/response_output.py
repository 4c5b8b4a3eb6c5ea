"""The output of one response in a Realtime server: its items, and the open message among them.

Source: OpenAI Realtime API reference, response lifecycle; the order that public clients rely on.
"""

from __future__ import annotations

from audio.formats import AudioFormat
from gateway.realtime import items, response_events, server_events
from gateway.realtime.response_events import Place
from gateway.realtime.server.conversation import Conversation
from gateway.realtime.server.event_sender import EventSender
from sessions.ports import JsonObject

DELTA_MS = 200  # the most sound in one event
ARGUMENTS_CHARS = 4096  # the most characters of arguments in one event


class Output:
    """Sends one response's items and adds them to the conversation; `done` are the complete ones."""

    def __init__(self, response_id: str, out: EventSender, conversation: Conversation | None) -> None:
        """`conversation`: None for a response out of band, whose items are not part of it."""
        self.done: list[JsonObject] = []
        self._response_id = response_id
        self._out = out
        self._conversation = conversation

    def next_place(self) -> Place:
        """The place of the next item, with a new id for it."""
        return Place(self._response_id, self._out.new_id("item"), len(self.done))

    def add(self, place: Place, item: JsonObject) -> None:
        """Add an item that has begun."""
        self._out.send(response_events.output_item_added, place, item)
        if self._conversation is not None:
            previous = self._conversation.add(item)
            self._out.send(server_events.item_added, item, previous)

    def add_sound(self, place: Place, format: AudioFormat, payload: bytes) -> None:
        """Add a run of an item's sound to the conversation; this sends nothing."""
        if self._conversation is not None:
            self._conversation.sound.add(place.item_id, format, payload)

    def finish(self, place: Place, item: JsonObject) -> None:
        """Complete an item."""
        self.done.append(item)
        self._out.send(response_events.output_item_done, place, item)
        if self._conversation is None:
            return
        kept = self._conversation.update(item)
        if kept is not None:  # the client may have deleted the item meanwhile
            self._out.send(server_events.item_done, kept, self._conversation.previous_id(place.item_id))

    def call(self, name: str, arguments: str) -> str:
        """Send a whole function call as one item; returns the call's id."""
        call_id, place = self._out.new_id("call"), self.next_place()
        self.add(place, items.function_call(place.item_id, call_id, name, "", "in_progress"))
        for begin in range(0, len(arguments), ARGUMENTS_CHARS):
            piece = arguments[begin : begin + ARGUMENTS_CHARS]
            self._out.send(response_events.arguments_delta, place, call_id, piece)
        self._out.send(response_events.arguments_done, place, call_id, name, arguments)
        self.finish(place, items.function_call(place.item_id, call_id, name, arguments))
        return call_id


class OpenMessage:
    """The message that a response is emitting. `format` is the format of its sound; None: it is text only."""

    def __init__(self, out: EventSender, output: Output, format: AudioFormat | None) -> None:
        self._out = out
        self._output = output
        self._format = format
        self._place = output.next_place()
        self._said = ""

    def begin(self) -> None:
        """Send the item and its content part."""
        self._output.add(self._place, items.assistant_empty(self._place.item_id))
        part = response_events.text_part() if self._format is None else response_events.audio_part()
        self._out.send(response_events.content_part_added, self._place, part)

    def say(self, text: str, pcm: bytes) -> None:
        """Emit a piece of the text and of its sound; a text message drops the sound."""
        place, format = self._place, self._format
        self._said += text
        if format is None:
            self._out.send(response_events.text_delta, place, text)
            return
        if text:
            self._out.send(response_events.transcript_delta, place, text)
        step = format.bytes_for_ms(DELTA_MS)
        for begin in range(0, len(pcm), step):
            payload = pcm[begin : begin + step]
            self._output.add_sound(place, format, payload)
            self._out.send(response_events.audio_delta, place, payload)

    def close(self, status: str) -> None:
        """End the message. `status`: `completed` or `incomplete`."""
        place, said = self._place, self._said
        if self._format is None:
            self._out.send(response_events.text_done, place, said)
            self._out.send(response_events.content_part_done, place, response_events.text_part(said))
            self._output.finish(place, items.assistant_text(place.item_id, said, status))
        else:
            self._out.send(response_events.audio_done, place)
            self._out.send(response_events.transcript_done, place, said)
            self._out.send(response_events.content_part_done, place, response_events.audio_part(said))
            self._output.finish(place, items.assistant_audio(place.item_id, said, status))
