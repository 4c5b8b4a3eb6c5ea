"""Reads an MCP server's messages, finds the requests they answer, and rewrites them in a form that the SDK accepts.

The SDK refuses a message, or a whole list of tools, because of one unexpected value, and then a call waits until its
deadline although the tool has run. So each message is first read here, whatever is wrong with it, and written again: a
tool's result as the text for the model, a list of tools without the invalid ones. Each fault of the server is logged
once. A request without a readable answer gets an error made here, whose `data` says what is known.
Source: JSON-RPC 2.0; MCP 2026-07-28 and 2025-11-25.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import orjson

from gateway.tools.answers import name_of, read_result
from gateway.tools.contract import cut
from gateway.tools.json_reading import Unreadable, read_json, write_json
from sessions.ports import Json, JsonObject

log = logging.getLogger(__name__)

RequestId: TypeAlias = int | str

MAX_TOOLS = 256
MAX_DESCRIPTION_BYTES = 4096
# Of a page of tools. The SDK walks through all of it, on the loop.
MAX_LIST_BYTES = 256 << 10
# Of a message that is neither a list of tools nor the result of a tool.
MAX_OTHER_BYTES = 64 << 10
_MAX_MESSAGES = 100  # in one batch
# Requests that wait for an answer. An older one has been given up long ago.
_MAX_WAITING = 1000
# A larger message is read in a thread.
_INLINE_BYTES = 16 << 10
# Different faults that are logged for one connection.
_MAX_NOTES = 200
# The `data` of this error names the versions that the server speaks, which the SDK reads.
_UNSUPPORTED_VERSION = -32022
_INTERNAL_ERROR = -32603
# Other notifications are dropped: nothing here uses them, and a server may send them without end.
_HEARD = frozenset(
    {"notifications/tools/list_changed", "notifications/subscriptions/acknowledged", "notifications/cancelled"}
)
_HEAD_BYTES = 4096
_ID = re.compile(rb'"id"\s*:\s*(?:(-?\d{1,18})|"([^"\\]{1,64})")')


class Fate(StrEnum):
    """What is known about a request that has no result."""

    REFUSED = "refused"  # the server answered it with an error
    NOT_DONE = "not_done"  # it did not reach the server, or was refused before it ran
    UNKNOWN = "unknown"  # it was sent, and may or may not have been done
    SESSION_LOST = "session_lost"  # the server does not know the session any more, so it did not run
    GONE = "gone"  # the connection was lost; it may or may not have been done


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A request that waits for its answer; `tool` is set for a tool call."""

    method: str
    tool: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """One message for the SDK, as JSON; `answers` is the id of the request that it answers, if it is an answer."""

    payload: bytes
    answers: RequestId | None


def failure(request_id: RequestId, fate: Fate, words: str, *, status: int | None = None) -> Message:
    """An error for a request that has no readable answer. `words` are for people."""
    return Message(
        orjson.dumps(_error(request_id, _INTERNAL_ERROR, words, {"fate": fate, "status": status})), request_id
    )


class MessageReader:
    """Reads the messages of one connection and knows which requests wait for an answer. `read` may run in a thread."""

    def __init__(self, label: str, max_result_bytes: int) -> None:
        self._label = label
        self._max_result_bytes = max_result_bytes
        self._schemas: dict[str, JsonObject] = {}
        self._logged_faults: set[tuple[str, str]] = set()
        self.waiting: dict[RequestId, PendingRequest] = {}

    def note_sent(self, request: JsonObject) -> RequestId | None:
        """Note a message that is sent. Returns its id where it is a request, which will get an answer."""
        request_id, method, params = request.get("id"), request.get("method"), request.get("params")
        if not isinstance(request_id, int | str) or not isinstance(method, str):
            return None
        tool = params.get("name") if isinstance(params, Mapping) and method == "tools/call" else None
        if len(self.waiting) >= _MAX_WAITING:
            del self.waiting[next(iter(self.waiting))]
        self.waiting[request_id] = PendingRequest(method, tool if isinstance(tool, str) else None)
        return request_id

    def forget(self, request_id: RequestId) -> None:
        """Note that this request no longer waits."""
        self.waiting.pop(request_id, None)

    def read(self, raw: bytes, only: RequestId | None = None) -> list[Message]:
        """The messages in `raw`, without those that nothing here uses. Raises Unreadable.

        Where the caller expects the answer to one request, `only`, an answer under another id counts as that answer.
        """
        document = read_json(raw)
        batch = document if isinstance(document, list) else [document]
        if isinstance(document, list) and len(batch) > _MAX_MESSAGES:
            raise Unreadable(f"it has more than {_MAX_MESSAGES} messages")
        read = [self._message(one, only) for one in batch]
        return [message for message in read if message is not None]

    def request_of(self, beginning: bytes) -> RequestId | None:
        """The request that the beginning of an unreadable message seems to answer."""
        for number, text in _ID.findall(beginning[:_HEAD_BYTES]) if b'"jsonrpc"' in beginning[:_HEAD_BYTES] else ():
            found = self._known(int(number) if number else text.decode(errors="replace"))
            if found is not None:
                return found
        return None

    def log_fault(self, subject: str, what: str) -> None:
        """Log a fault of the server, each one once."""
        if (subject, what) not in self._logged_faults and len(self._logged_faults) < _MAX_NOTES:
            self._logged_faults.add((subject, what))
            fields = {"server": self._label, "about": subject, "what": what}
            log.warning("mcp server broke the protocol; it was read as far as it can be", extra=fields)

    def _message(self, message: Json, only: RequestId | None) -> Message | None:
        if not isinstance(message, dict):
            self.log_fault("message", f"a message is {name_of(message)}, not an object")
            return None
        method = message.get("method")
        if isinstance(method, str):
            try:
                return self._from_server(message, method)
            except Unreadable as error:
                self.log_fault(method[:64], f"a message cannot be read: {error}")
                return None
        request_id = self._known(message.get("id"))
        if request_id is None and only is not None:
            if message.get("error") is None:  # an error may be sent before the id was read
                self.log_fault("message", "an answer has another id than the request")
            request_id = only
        if request_id is None:
            return None  # late, or the answer to an unknown request
        request = self.waiting[request_id]
        try:
            return self._answer(request_id, request, message)
        except Unreadable as error:
            self.log_fault(request.method, f"an answer cannot be read: {error}")
            return failure(request_id, Fate.UNKNOWN, "the answer cannot be read")

    def _answer(self, request_id: RequestId, request: PendingRequest, message: Mapping[str, Json]) -> Message:
        error = message.get("error")
        if error is not None:
            return _refusal(request_id, error)
        if "result" not in message:
            self.log_fault(request.method, "an answer has neither a result nor an error")
        result = message.get("result")
        if request.method == "tools/list":
            answer, max_bytes = self._tool_list(result), 2 * MAX_LIST_BYTES
        else:
            answer, max_bytes = self._result(request, result), 8 * self._max_result_bytes + MAX_OTHER_BYTES
        return Message(_written({"jsonrpc": "2.0", "id": request_id, "result": answer}, max_bytes), request_id)

    def _from_server(self, message: Mapping[str, Json], method: str) -> Message | None:
        """A request or a notification that the server sends by itself."""
        kept: dict[str, Json] = {"jsonrpc": "2.0", "method": method}
        if isinstance(message.get("params"), Mapping):
            kept["params"] = message["params"]
        request_id = message.get("id")
        if isinstance(request_id, int | str) and not isinstance(request_id, bool):
            kept["id"] = request_id
        elif method not in _HEARD:
            return None
        return Message(_written(kept), None)

    def _known(self, request_id: Json) -> RequestId | None:
        """The id of a waiting request, also where the server turned a number into a text or a fraction."""
        if isinstance(request_id, bool) or not isinstance(request_id, int | float | str):
            return None
        if isinstance(request_id, float):
            if not request_id.is_integer():
                return None
            request_id = int(request_id)
        if request_id in self.waiting:
            return request_id
        if isinstance(request_id, str) and request_id.isdecimal() and len(request_id) < 19:
            number = int(request_id)
            return number if number in self.waiting else None
        return str(request_id) if str(request_id) in self.waiting else None

    def _result(self, request: PendingRequest, result: Json) -> JsonObject:
        if request.method == "tools/call":
            return self._tool_result(request.tool or "", result)
        if not isinstance(result, Mapping):
            self.log_fault(request.method, f"the result is {name_of(result)}, not an object")
            return {}
        if request.method == "initialize":
            return _initialized(result)
        return result

    def _tool_result(self, tool: str, result: Json) -> JsonObject:
        if isinstance(result, dict) and result.get("resultType") == "input_required":
            return result  # the tool asks something back, and the SDK answers that
        given = read_result(result, self._max_result_bytes, self._schemas.get(tool))
        for log_fault in given.notes:
            self.log_fault(tool, log_fault)
        content = [{"type": "text", "text": given.text}]
        return {"content": content, "isError": given.refused, "resultType": "complete"}

    def _tool_list(self, result: Json) -> JsonObject:
        offered = result.get("tools") if isinstance(result, Mapping) else None
        if not isinstance(offered, list):
            self.log_fault("tools/list", f"tools is {name_of(offered)}, not an array")
            offered = []
        kept: list[Json] = []
        budget = MAX_LIST_BYTES
        for tool in offered:
            described = self._described(tool)
            if described is None:
                continue
            written, whole = write_json(described, budget)
            budget -= len(written)
            if not whole or budget < 0 or len(kept) >= MAX_TOOLS:
                self.log_fault("tools/list", "the list has too many tools, or too large ones; the rest is left out")
                break
            kept.append(described)
        cursor = result.get("nextCursor") if isinstance(result, Mapping) else None
        page: dict[str, Json] = {"tools": kept, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        return {**page, "nextCursor": cursor} if isinstance(cursor, str) and cursor else page

    def _described(self, tool: Json) -> JsonObject | None:
        """A tool, reduced to the fields used here; None for a value that is not a tool."""
        name = tool.get("name") if isinstance(tool, Mapping) else None
        if not isinstance(tool, Mapping) or not isinstance(name, str) or not name:
            self.log_fault("tools/list", "a tool has no name; it is left out")
            return None
        described: dict[str, Json] = {"name": name}
        for key in ("title", "description"):
            words = tool.get(key)
            if isinstance(words, str):
                described[key] = cut(words, MAX_DESCRIPTION_BYTES)
        described["inputSchema"] = self._parameters(name, tool.get("inputSchema"))
        hints = tool.get("annotations")
        if isinstance(hints, Mapping):
            wanted = ("readOnlyHint", "idempotentHint")
            described["annotations"] = {key: hints[key] for key in wanted if isinstance(hints.get(key), bool)}
        schema = tool.get("outputSchema")
        # Kept here and hidden from the SDK, which would check results against it.
        if isinstance(schema, Mapping):
            self._schemas[name] = schema
        else:
            self._schemas.pop(name, None)
        return described

    def _parameters(self, tool: str, schema: Json) -> JsonObject:
        """The schema in a form that the SDK accepts. The toolbox adapts it for models."""
        if not isinstance(schema, Mapping):
            self.log_fault(tool, f"inputSchema is {name_of(schema)}, not an object")
            return {"type": "object", "properties": {}}
        wrong = {
            key
            for key, kind in (("properties", Mapping), ("required", list), ("$schema", str))
            if key in schema and not isinstance(schema[key], kind)
        }
        if wrong or schema.get("type") != "object":
            what = ", ".join(sorted(wrong | ({"type"} if schema.get("type") != "object" else set())))
            self.log_fault(tool, f"inputSchema has a wrong {what}")
        valid: dict[str, Json] = {key: value for key, value in schema.items() if key not in wrong}
        properties, required = valid.get("properties"), valid.get("required")
        if isinstance(properties, Mapping):
            valid["properties"] = {key: one for key, one in properties.items() if isinstance(one, Mapping | bool)}
        if isinstance(required, list):
            valid["required"] = [key for key in required if isinstance(key, str)]
        return {**valid, "type": "object"}


def _initialized(result: Mapping[str, Json]) -> JsonObject:
    """The answer to `initialize`, completed where fields are missing that do not matter here."""
    subject = result.get("serverInfo")
    named: dict[str, Json] = {"name": "", "version": ""}
    if isinstance(subject, Mapping):
        named |= {key: words for key in named if isinstance(words := subject.get(key), str)}
    capabilities = result.get("capabilities")
    offered: JsonObject = {"tools": {}} if isinstance(capabilities, Mapping) and "tools" in capabilities else {}
    return {"protocolVersion": result.get("protocolVersion"), "capabilities": offered, "serverInfo": named}


def _refusal(request_id: RequestId, error: Json) -> Message:
    fields: Mapping[str, Json] = error if isinstance(error, Mapping) else {"message": error}
    code, words, details = fields.get("code"), fields.get("message"), fields.get("data")
    data: dict[str, Json] = {}
    if code == _UNSUPPORTED_VERSION and isinstance(details, Mapping):
        data.update(details)
    data["fate"] = Fate.REFUSED
    exact = code if isinstance(code, int) and not isinstance(code, bool) else _INTERNAL_ERROR
    return Message(_written(_error(request_id, exact, words if isinstance(words, str) else "", data)), request_id)


def _error(request_id: RequestId, code: int, words: str, data: JsonObject) -> JsonObject:
    error: JsonObject = {"code": code, "message": cut(words, 400), "data": data}
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def _written(message: JsonObject, max_bytes: int = MAX_OTHER_BYTES) -> bytes:
    text, whole = write_json(message, max_bytes)
    if not whole:
        raise Unreadable(f"it has more than {max_bytes} bytes")
    return text.encode()


# One thread: two would only share the interpreter.
_READERS = ThreadPoolExecutor(1, thread_name_prefix="mcp-json")


async def read_aside(reader: MessageReader, raw: bytes, only: RequestId | None = None) -> list[Message]:
    """Run `MessageReader.read`, in a thread where it may take long. Raises Unreadable."""
    if len(raw) <= _INLINE_BYTES:
        return reader.read(raw, only)
    return await asyncio.get_running_loop().run_in_executor(_READERS, reader.read, raw, only)
