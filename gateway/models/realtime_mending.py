"""What a model says in a wrong shape, and still must be understood: that an answer is over, or that something is wrong.

Such a message is given the shape that it should have, for the call and for the client. Dropped, it would leave the
caller in silence until a watchdog acts, and an `error` without its fields breaks clients that rely on them.
Source: OpenAI Realtime API reference, `response.done`, `error`, `response.output_item.done`.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from sessions.ports import Json, JsonObject

MALFORMED = "malformed_response"  # the code of an answer whose ending cannot be read
UNTOLD = "The model refused a message."
SERVER_ERROR = "server_error"
MENDED = frozenset({"response.done", "error", "response.output_item.done"})


def mended(kind: str, message: JsonObject, running: str | None, *, spoke: bool) -> JsonObject:
    """The message in its proper shape; the same where it has that already.

    `running` is the response that runs, as far as is known, and `spoke` whether the newest response brought anything.
    """
    if kind == "error":
        return _error(message)
    return _response_done(message, running, spoke) if kind == "response.done" else _item_done(message)


def _response_done(message: JsonObject, running: str | None, spoke: bool) -> JsonObject:
    given = message.get("response")
    response: JsonObject = given if isinstance(given, Mapping) else {}
    changes: dict[str, Json] = {}
    if not isinstance(response.get("id"), str) and running is not None:
        changes["id"] = running
    if not isinstance(response.get("status"), str):
        # The protocol always has a status. One that is absent denies nothing, so what was said stands; one that is
        # null or no word at all comes of a service that broke, and so does one that is absent where nothing was said.
        well = isinstance(given, Mapping) and "status" not in response and (spoke or bool(response.get("output")))
        changes["status"] = "completed" if well else "failed"
        if not well and not isinstance(response.get("status_details"), Mapping):
            error: JsonObject = {"type": SERVER_ERROR, "code": MALFORMED}
            changes["status_details"] = {"type": "failed", "error": error}
    if not isinstance(given, Mapping):
        changes = {"object": "realtime.response", "output": [], **changes}
    return {**message, "response": {**response, **changes}} if changes else message


def _error(message: JsonObject) -> JsonObject:
    given = message.get("error")
    error: JsonObject = given if isinstance(given, Mapping) else {}
    kind, code = error.get("type"), error.get("code")
    odd = [key for key in ("code", "param", "event_id") if not isinstance(error.get(key), str | None)]
    if isinstance(kind, str) and isinstance(error.get("message"), str) and not odd:
        return message
    if type(code) is int:
        code = str(code)
    if not isinstance(code, str):
        code = None if isinstance(kind, str) else SERVER_ERROR
    whole: dict[str, Json] = {
        "param": None,
        "event_id": None,
        **{key: value for key, value in error.items() if key not in odd},
        "type": kind if isinstance(kind, str) else SERVER_ERROR,
        "code": code,
        "message": words_of(given),
    }
    return {**message, "error": whole}


def words_of(error: Json) -> str:
    """What an error says; some services give nothing but the words."""
    words = error.get("message") if isinstance(error, Mapping) else error
    return words if isinstance(words, str) and words else UNTOLD


def _item_done(message: JsonObject) -> JsonObject:
    """A function call's arguments are a JSON text; some services give them as an object, or leave out empty ones."""
    item = message.get("item")
    if not isinstance(item, Mapping) or item.get("type") != "function_call" or isinstance(item.get("arguments"), str):
        return message
    arguments = item.get("arguments")
    written = "{}" if arguments is None else orjson.dumps(arguments).decode()
    return {**message, "item": {**item, "arguments": written}}
