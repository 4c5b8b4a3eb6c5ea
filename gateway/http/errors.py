"""Gives every HTTP error the same JSON shape, and describes the errors for OpenAPI."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.auth.http import EntranceRefused, answer_refusal, refusal_response
from gateway.auth.requests import Refusal
from gateway.blobs.contract import BlobFailed
from gateway.http.shapes import ErrorAnswer
from sessions.errors import WireError
from sessions.ports import Json
from sessions.stores.contract import BadDocument, StoreFailed

log = logging.getLogger("patchbay.api")

NO_STORE = Refusal(503, "store_unavailable", "The records cannot be reached at the moment; try again.", retry_after_s=5)
NO_BLOBS = Refusal(
    503, "recordings_unavailable", "The files of sessions cannot be reached at the moment; try again.", retry_after_s=5
)
UNREADABLE = Refusal(
    500, "record_unreadable", "The session's record cannot be read by this version of the server; its log says why."
)
FAULT = Refusal(500, "internal_error", "The server had an internal error.")
UNKNOWN_PATH = Refusal(404, "path_not_found", "There is nothing at this path; /api/openapi.json lists all paths.")
WRONG_METHOD = Refusal(405, "method_not_allowed", "This path does not support the method; see the Allow header.")

_SHAPE = f"#/components/schemas/{ErrorAnswer.__name__}"

Responses: TypeAlias = dict[int | str, dict[str, Any]]


def add_error_answers(app: FastAPI) -> None:
    """Add the handlers that give every error this shape."""
    app.add_exception_handler(EntranceRefused, answer_refusal)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(WireError, _answer_wire)
    app.add_exception_handler(StoreFailed, _answer_store)
    app.add_exception_handler(BlobFailed, _answer_blobs)
    app.add_exception_handler(BadDocument, _answer_unreadable)
    app.add_exception_handler(Exception, _answer_fault)


def refusals(*known: Refusal | WireError) -> Responses:
    """The OpenAPI entries for these refusals: one example each, by status, and a default for all others."""
    shown: Responses = {"default": {"model": ErrorAnswer, "description": "Any other refusal or fault"}}
    for refusal in known:
        status = refusal.status if isinstance(refusal, Refusal) else 400
        # A reference, because for a model FastAPI would make one more validator each time, which slows every start.
        content: dict[str, Any] = {"application/json": {"schema": {"$ref": _SHAPE}, "examples": {}}}
        answer = shown.setdefault(status, {"description": HTTPStatus(status).phrase, "content": content})
        examples = answer["content"]["application/json"]["examples"]
        body = refusal.body() if isinstance(refusal, Refusal) else orjson.dumps(_wire_body(refusal))
        examples[refusal.code] = {"summary": refusal.message, "value": orjson.loads(body)}
    return shown


def _wire_body(error: WireError) -> dict[str, Json]:
    body: dict[str, Json] = {"type": "invalid_request_error", "code": error.code, "message": error.message}
    return {"error": {**body, "param": error.param}}


async def _answer_wire(request: Request, error: Exception) -> Response:
    assert isinstance(error, WireError)
    return JSONResponse(_wire_body(error), 400)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """Answer a request with invalid fields; the answer names the first of them."""
    assert isinstance(error, RequestValidationError)
    first: Mapping[str, Any] = error.errors()[0]
    where, *path = first["loc"]
    param = _path(path)
    return await _answer_wire(request, WireError(f"Invalid '{param or where}': {first['msg']}.", param=param or None))


def _path(parts: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


async def _answer_http(request: Request, error: Exception) -> Response:
    """Answer a request that the framework itself has refused."""
    assert isinstance(error, HTTPException)
    known = {refusal.status: refusal for refusal in (UNKNOWN_PATH, WRONG_METHOD)}
    status = error.status_code
    response = refusal_response(known.get(status) or Refusal(status, "http_error", HTTPStatus(status).phrase + "."))
    response.headers.update(error.headers or {})
    return response


async def _answer_store(request: Request, error: Exception) -> Response:
    log.error("a request could not reach the records", extra={"reason": str(error)})
    return refusal_response(NO_STORE)


async def _answer_blobs(request: Request, error: Exception) -> Response:
    log.error("a request could not reach the files of sessions", extra={"reason": str(error)})
    return refusal_response(NO_BLOBS)


async def _answer_unreadable(request: Request, error: Exception) -> Response:
    named = {"session_id": request.path_params.get("session_id")}
    log.error("the record of a session cannot be read", extra={"reason": str(error)} | named)
    return refusal_response(UNREADABLE)


async def _answer_fault(request: Request, error: Exception) -> Response:
    """Answer after an error of ours; the framework raises it again after the answer, so that it is logged."""
    return refusal_response(FAULT)
