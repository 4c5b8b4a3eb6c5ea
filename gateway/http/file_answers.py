"""What OpenAPI says of the routes that send files: whole or in part, and how a request asks for a part."""

from __future__ import annotations

from typing import Any

from gateway.auth.requests import Refusal
from gateway.http import examples
from gateway.http.downloads import CHANGED, MEDIA_TYPES, PAST_END
from gateway.http.errors import Responses, refusals

SOUND: dict[str, Any] = {
    kind: {"schema": {"type": "string", "format": "binary"}, "example": examples.SOUND} for kind in MEDIA_TYPES.values()
}
SOUND_MEANS = "Stereo: the caller left, the agent right, as it was heard"
EVENTS: dict[str, Any] = {"application/jsonl": {"schema": {"type": "string"}, "example": examples.EVENTS}}
EVENTS_MEAN = "One message a line, in the form of a replay file"


def _header(name: str, description: str, example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


def _answer_header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


# The request headers, in the form that FastAPI adds to an operation.
HEADERS: dict[str, Any] = {
    "parameters": [
        _header("Range", "one part of the file; several ranges, and other units, get the whole file", "bytes=0-65535"),
        _header("If-Range", "the part is sent only if the file still has this ETag, else the whole", examples.ETAG),
        _header("If-None-Match", "304 if the file still has this ETag", examples.ETAG),
    ]
}
_ACCEPTS = {"Accept-Ranges": _answer_header("parts of the file can be asked for", "bytes")}
_ETAG = {"ETag": _answer_header("changes with the content of the file", examples.ETAG)}
_PART = {"Content-Range": _answer_header("the part that is sent, and the size of the file", "bytes 0-65535/441044")}
_SIZE = {"Content-Range": _answer_header("the size of the file", "bytes */441044")}


def file_answers(contents: dict[str, Any], description: str, *known: Refusal) -> Responses:
    """The OpenAPI entries for a route that sends a file with these contents, by media type."""
    refused = refusals(*known, PAST_END, CHANGED)
    refused[PAST_END.status]["headers"] = _ACCEPTS | _SIZE
    return {
        200: {"content": contents, "description": description, "headers": _ACCEPTS | _ETAG},
        206: {"content": contents, "description": "The part that was asked for", "headers": _ACCEPTS | _ETAG | _PART},
        304: {"description": "The client has the file already", "headers": _ETAG},
        **refused,
    }
