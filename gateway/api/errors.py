"""Every refusal and fault of the HTTP side in the one error shape, and how OpenAPI tells of them."""

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

from gateway.api.shapes import ErrorAnswer
from gateway.auth.http import EntranceRefused, answer_refusal, refusal_response
from gateway.auth.requests import Refusal
from sessions.errors import WireError
from sessions.ports import Json
from sessions.stores.contract import StoreFailed

log = logging.getLogger("patchbay.api")

NO_STORE = Refusal(503, "store_unavailable", "The records cannot be reached just now; try again.", retry_after_s=5)
FAULT = Refusal(500, "internal_error", "Something went wrong here.")
UNKNOWN_PATH = Refusal(404, "path_not_found", "Nothing is at this address; /api/openapi.json lists what there is.")
WRONG_METHOD = Refusal(405, "method_not_allowed", "This address does not take that method; Allow names those it takes.")

_SHAPE = f"#/components/schemas/{ErrorAnswer.__name__}"

Responses: TypeAlias = dict[int | str, dict[str, Any]]


def add_error_answers(app: FastAPI) -> None:
    """Let no error leave the app in another shape."""
    app.add_exception_handler(EntranceRefused, answer_refusal)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(WireError, _answer_wire)
    app.add_exception_handler(StoreFailed, _answer_store)
    app.add_exception_handler(Exception, _answer_fault)


def refusals(*known: Refusal | WireError) -> Responses:
    """What OpenAPI shows of refusals: one example each, by status; and that any other has the same shape."""
    shown: Responses = {"default": {"model": ErrorAnswer, "description": "Any other refusal or fault"}}
    for refusal in known:
        status = refusal.status if isinstance(refusal, Refusal) else 400
        # By reference: with a model here, FastAPI would make one more validator for each, and every start would wait.
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
    """A request whose fields are wrong: the first of them."""
    assert isinstance(error, RequestValidationError)
    first: Mapping[str, Any] = error.errors()[0]
    where, *path = first["loc"]
    param = _path(path)
    return await _answer_wire(request, WireError(f"Invalid '{param or where}': {first['msg']}.", param=param or None))


def _path(parts: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


async def _answer_http(request: Request, error: Exception) -> Response:
    """What the framework itself turns away."""
    assert isinstance(error, HTTPException)
    known = {refusal.status: refusal for refusal in (UNKNOWN_PATH, WRONG_METHOD)}
    status = error.status_code
    response = refusal_response(known.get(status) or Refusal(status, "http_error", HTTPStatus(status).phrase + "."))
    response.headers.update(error.headers or {})
    return response


async def _answer_store(request: Request, error: Exception) -> Response:
    log.error("a request could not reach the records", extra={"reason": str(error)})
    return refusal_response(NO_STORE)


async def _answer_fault(request: Request, error: Exception) -> Response:
    """Ours to mend: it is raised again behind the answer, and logged."""
    return refusal_response(FAULT)
