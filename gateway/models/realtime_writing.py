"""The call's commands as messages of the Realtime protocol, from the client's side. Sound is the codec's.

Whatever the gateway makes by itself has an id that begins with `pb_`, so that replies and errors about it are known.
Source: OpenAI Realtime API reference, client events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.realtime.writing import write_json
from sessions.commands import CancelResponse, TruncateItem
from sessions.events import ResponseRequest
from sessions.past import Past, PastToolCall
from sessions.ports import Ids, Json, JsonObject

OWN_PREFIX = "pb_"
MAX_ITEM_ID = 32  # characters, of an item that a client creates
SAY = "Say exactly the following to the user, word for word, in its own language, and nothing else: "


class Writer:
    """Makes messages; `ids` names what the gateway makes."""

    def __init__(self, ids: Ids, *, speaks_given_text: bool) -> None:
        self._ids = ids
        self._speaks_given_text = speaks_given_text

    def session_update(self, session: JsonObject) -> tuple[str, bytes]:
        """The event's id, and the message."""
        event_id = self._ids.new("pb")
        return event_id, write_json({"type": "session.update", "event_id": event_id, "session": session})

    def response_create(self, request: ResponseRequest) -> bytes:
        """A client's own request as it came but for the id by which refusals are told apart, or one of ours."""
        if request.wire is not None:
            if request.wire.parsed.get("event_id") == request.request_id:
                return request.wire.text
            return write_json({**request.wire.parsed, "event_id": request.request_id})
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
        if command.wire is not None:
            return command.wire.text
        return self._own("response.cancel", {} if command.response_id is None else {"response_id": command.response_id})

    def truncate(self, command: TruncateItem) -> bytes:
        """Cut an item at what was heard."""
        if command.wire is not None:
            return command.wire.text
        place: JsonObject = {"item_id": command.item_id, "content_index": 0, "audio_end_ms": command.heard_ms}
        return self._own("conversation.item.truncate", place)

    def tool_output(self, call_id: str, output: str) -> tuple[bytes, str]:
        """A tool's result, and the id of its item."""
        item_id = self._ids.new("pb")
        item = {"id": item_id, "type": "function_call_output", "call_id": call_id, "output": output}
        return self._item(item), item_id

    def past(self, entry: Past) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
        """The messages that tell a fresh session of something earlier, and the ids that their items have now.

        An item keeps its id where the protocol takes it, so that what a client knows of it stays true.
        """
        item_id = entry.item_id if 0 < len(entry.item_id) <= MAX_ITEM_ID else self._ids.new("pb")
        if isinstance(entry, PastToolCall):
            call: JsonObject = {
                "id": item_id,
                "type": "function_call",
                "call_id": entry.call_id,
                "name": entry.name,
                "arguments": entry.arguments,
            }
            result, output_id = self.tool_output(entry.call_id, entry.output)
            return (self._item(call), result), (item_id, output_id)
        kind = "output_text" if entry.role == "assistant" else "input_text"
        content: Json = [{"type": kind, "text": entry.text}]
        return (self._item({"id": item_id, "type": "message", "role": entry.role, "content": content}),), (item_id,)

    def _item(self, item: JsonObject) -> bytes:
        return self._own("conversation.item.create", {"item": item})

    def _own(self, kind: str, fields: JsonObject) -> bytes:
        return write_json({"type": kind, "event_id": self._ids.new("pb"), **fields})


def without(session: JsonObject, path: Iterable[str]) -> JsonObject:
    """A session less the field at `path`; the same where it has none."""
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
    """A session whose `semantic_vad` has become the plain detection, with the same two switches."""
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
