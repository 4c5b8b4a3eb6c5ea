"""The call's commands as messages of the Realtime protocol, from the client's side. The codec writes the sound.

A command that carries a message of this protocol is written as that very message; any other is written from its fields.
What the gateway makes by itself has an id that begins with `pb_`, so that replies and errors about it are recognised.
Source: OpenAI Realtime API reference, client events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.realtime.dialect import own
from gateway.realtime.writing import write_json
from sessions.commands import AddItem, CancelResponse, ClearSound, CommitSound, DeleteItem, TruncateItem
from sessions.past import Past, PastToolCall
from sessions.ports import Ids, Json, JsonObject
from sessions.values import ResponseRequest

MAX_ITEM_ID = 32  # characters of the id of an item that a client creates
SAY = "Say exactly the following to the user, word for word, in its own language, and nothing else: "


class Writer:
    """Makes the messages of one leg; `ids` names those that the gateway makes."""

    def __init__(self, ids: Ids, *, speaks_given_text: bool) -> None:
        self._ids = ids
        self._speaks_given_text = speaks_given_text

    def session_update(self, session: JsonObject) -> tuple[str, bytes]:
        """The message that sets the session up, behind its event id."""
        event_id = self._ids.new("pb")
        return event_id, write_json({"type": "session.update", "event_id": event_id, "session": session})

    def response_create(self, request: ResponseRequest) -> bytes:
        """A client's own request under the id that refusals of it name, or a request of the gateway's."""
        wire = own(request.wire)
        if wire is not None:
            if wire.parsed.get("event_id") == request.request_id:
                return wire.text
            return write_json({**wire.parsed, "event_id": request.request_id})
        response: dict[str, Json] = {}
        if request.metadata is not None:
            response["metadata"] = request.metadata
        if request.out_of_band:
            response["conversation"] = "none"
        if request.say is not None and self._speaks_given_text:
            response["pre_generated_assistant_message"] = {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": request.say}],
            }
        elif request.say is not None:
            response["instructions"] = SAY + request.say
            response["tool_choice"] = "none"
        return write_json({"type": "response.create", "event_id": request.request_id, "response": response})

    def cancel(self, command: CancelResponse) -> bytes:
        """Stop a response."""
        wire = own(command.wire)
        if wire is not None:
            return wire.text
        named: JsonObject = {} if command.response_id is None else {"response_id": command.response_id}
        return self._message("response.cancel", named)

    def truncate(self, command: TruncateItem) -> bytes:
        """Cut an item at what was heard."""
        wire = own(command.wire)
        if wire is not None:
            return wire.text
        place: JsonObject = {"item_id": command.item_id, "content_index": 0, "audio_end_ms": command.heard_ms}
        return self._message("conversation.item.truncate", place)

    def commit(self, command: CommitSound) -> bytes:
        """End the caller's turn."""
        wire = own(command.wire)
        return self._message("input_audio_buffer.commit", {}) if wire is None else wire.text

    def clear(self, command: ClearSound) -> bytes:
        """Forget the caller's sound since the last commit."""
        wire = own(command.wire)
        return self._message("input_audio_buffer.clear", {}) if wire is None else wire.text

    def add_item(self, command: AddItem) -> bytes:
        """Add an item of the client's; of a function call only the call."""
        wire = own(command.wire)
        if wire is not None:
            return wire.text
        item = _item(command.entry, command.entry.item_id)
        return self._message("conversation.item.create", {"item": item}, command.event_id)

    def delete(self, command: DeleteItem) -> bytes:
        """Delete an item."""
        wire = own(command.wire)
        if wire is not None:
            return wire.text
        return self._message("conversation.item.delete", {"item_id": command.item_id}, command.event_id)

    def tool_output(self, call_id: str, output: str) -> tuple[bytes, str]:
        """The message with a tool's result, and the id of its item."""
        item_id = self._ids.new("pb")
        item = {"id": item_id, "type": "function_call_output", "call_id": call_id, "output": output}
        return self._message("conversation.item.create", {"item": item}), item_id

    def past(self, entry: Past) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
        """The messages that give a new session an item of an earlier one, and the ids that the items have now.

        An item keeps its id where the protocol takes it, so that the client can still name it.
        """
        item_id = entry.item_id if 0 < len(entry.item_id) <= MAX_ITEM_ID else self._ids.new("pb")
        added = self._message("conversation.item.create", {"item": _item(entry, item_id)})
        if isinstance(entry, PastToolCall) and entry.output is not None:
            result, output_id = self.tool_output(entry.call_id, entry.output)
            return (added, result), (item_id, output_id)
        return (added,), (item_id,)

    def _message(self, kind: str, fields: JsonObject, event_id: str | None = None) -> bytes:
        return write_json({"type": kind, "event_id": event_id or self._ids.new("pb"), **fields})


def _item(entry: Past, item_id: str) -> JsonObject:
    """An item of the conversation; of a function call without its result."""
    if isinstance(entry, PastToolCall):
        call: JsonObject = {"call_id": entry.call_id, "name": entry.name, "arguments": entry.arguments}
        return {"id": item_id, "type": "function_call", **call}
    kind = "output_text" if entry.role == "assistant" else "input_text"
    content: Json = [{"type": kind, "text": entry.text}]
    return {"id": item_id, "type": "message", "role": entry.role, "content": content}


def without(session: JsonObject, path: Iterable[str]) -> JsonObject:
    """A session without the field at `path`; the same session if there is none."""
    head, *rest = path
    inner = session.get(head)
    if rest:
        return {**session, head: without(inner, rest)} if isinstance(inner, Mapping) else session
    return {key: value for key, value in session.items() if key != head}


def holds(session: JsonObject, path: Iterable[str]) -> bool:
    """Whether a session has a field at `path`."""
    value: Json = session
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def with_server_vad(session: JsonObject) -> JsonObject:
    """A session with `server_vad` in the place of `semantic_vad`, with the same two switches."""
    audio = session.get("audio")
    heard = audio.get("input") if isinstance(audio, Mapping) else None
    detection = heard.get("turn_detection") if isinstance(heard, Mapping) else None
    if not isinstance(audio, Mapping) or not isinstance(heard, Mapping) or not isinstance(detection, Mapping):
        return session
    if detection.get("type") != "semantic_vad":
        return session
    switches = {key: detection[key] for key in ("create_response", "interrupt_response") if key in detection}
    plain: JsonObject = {**heard, "turn_detection": {"type": "server_vad", **switches}}
    return {**session, "audio": {**audio, "input": plain}}
