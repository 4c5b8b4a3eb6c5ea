"""Tells an answer of Cosmos DB from one that something else gave in its place, such as a proxy or a login page.

The SDK reads an answer without content as one without rows, so every answer is looked at before the SDK has it.
Source: learn.microsoft.com/rest/api/cosmos-db; the shapes were measured with azure-cosmos 4.17.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

OK, CREATED, NO_CONTENT, SEVERAL, NOT_MODIFIED, REFUSED = 200, 201, 204, 207, 304, 400
_QUERY = "x-ms-documentdb-isquery"
_QUERY_TYPE = "application/query+json"
_BATCH = "x-ms-cosmos-is-batch-request"
_DOCUMENTS = "/docs"
_RANGES = "/pkranges"


def fault_in(
    method: str, path: str, asked: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
) -> str | None:
    """What is wrong with an answer, without its words; None if it has the shape that the request asked for.

    `asked` and `headers` are the headers of the request and of the answer, whatever their case. Refusals (from 400 on)
    are never wrong.
    """
    if status >= REFUSED:
        return None
    if method == "DELETE":
        return None if status in (OK, NO_CONTENT) else str(status)
    path = path.rstrip("/")
    if method == "GET":
        return _fault_of_get(path, status, headers, body)
    if _says(asked, _QUERY) or asked.get("content-type", "").startswith(_QUERY_TYPE):
        return _fault_of_list("Documents", status, body)
    if _says(asked, _BATCH):
        return _fault_of_batch(status, body)
    if status not in (OK, CREATED):
        return str(status)
    if path.startswith("/dbs/") and _DOCUMENTS in path:
        return None if headers.get("etag") else f"{status} without an ETag"
    return None if isinstance(_read(body), dict) else f"{status} without a JSON object"


def _fault_of_get(path: str, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    listed = {_DOCUMENTS: "Documents", _RANGES: "PartitionKeyRanges"}
    for end, name in listed.items():
        if path.endswith(end):  # a feed, whose ETag is the position
            if not headers.get("etag"):
                return f"{status} without an ETag"
            return None if status == NOT_MODIFIED else _fault_of_list(name, status, body)
    if status != OK:
        return str(status)
    found = _read(body)
    if not isinstance(found, dict):
        return f"{status} without a JSON object"
    return f"{status} without an ETag" if f"{_DOCUMENTS}/" in path and not found.get("_etag") else None


def _fault_of_list(name: str, status: int, body: bytes) -> str | None:
    if status != OK:
        return str(status)
    found = _read(body)
    rows = found.get(name) if isinstance(found, dict) else None
    return None if isinstance(rows, list) else f"{status} without {name}"


def _fault_of_batch(status: int, body: bytes) -> str | None:
    if status not in (OK, SEVERAL):
        return str(status)
    results = _read(body)
    if isinstance(results, list) and all(
        isinstance(one, dict) and isinstance(one.get("statusCode"), int) for one in results
    ):
        return None
    return f"{status} without results"


def _read(body: bytes) -> Any:
    """The content of an answer; None if it is no JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _says(headers: Mapping[str, str], name: str) -> bool:
    return headers.get(name, "").lower() == "true"
