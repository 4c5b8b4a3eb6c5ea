"""A request as the service sees it: which operation it is, on what, with which headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson

from cosmos.epk import Key
from cosmos.refusals import Refusal, bad

MAX_REQUEST_BYTES = 2 * 1024 * 1024
ABOUT_DATA = ("create", "upsert", "replace", "read", "delete", "batch", "query", "feed")
READS = ("read", "query", "feed")
WRITES = ("create", "upsert", "replace", "delete", "batch")


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    operation: str
    segments: list[str]  # of the path, decoded
    headers: Mapping[str, str]
    body: bytes

    def flag(self, name: str) -> bool:
        """A header that says True."""
        return self.headers.get(name, "").lower() == "true"

    def number(self, name: str) -> int | None:
        """A header that says a whole number. Raises Refusal 400."""
        text = self.headers.get(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            raise bad(f"The header {name} is no number.") from None

    def json(self) -> Any:
        """The body. Raises Refusal 400."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise bad("The body is not JSON.") from None

    def object(self) -> dict[str, Any]:
        """The body, which is an object. Raises Refusal 400."""
        body = self.json()
        if not isinstance(body, dict):
            raise bad("The body is not an object.")
        return body

    def key(self, levels: int) -> Key | None:
        """The whole partition key of the header; `None` without one. Raises Refusal 400."""
        text = self.headers.get("x-ms-documentdb-partitionkey")
        if text is None:
            return None
        try:
            values = orjson.loads(text)
        except orjson.JSONDecodeError:
            values = None
        if not isinstance(values, list) or len(values) != levels:
            raise bad("Partition key provided either doesn't correspond to definition in the collection or is invalid.")
        return tuple(values)

    def whole_key(self, levels: int) -> Key:
        """The partition key, which this operation needs. Raises Refusal 400."""
        key = self.key(levels)
        if key is None:
            raise bad("PartitionKey value must be supplied for this operation.")
        return key

    def seen_lsn(self) -> dict[str, int]:
        """The session token: by range, the LSN that its bearer has seen. Raises Refusal 400."""
        seen = {}
        for pair in self.headers.get("x-ms-session-token", "").split(","):
            if pair:
                range_id, _, vector = pair.partition(":")
                try:
                    seen[range_id] = int(vector.split("#")[1])
                except (IndexError, ValueError):
                    raise bad("The session token is malformed.") from None
        return seen


def written(call: Call) -> list[dict[str, Any]]:
    """The items that a write leaves behind, in order; of one that it deletes, only the id."""
    if call.operation == "delete":
        return [{"id": call.segments[5]}]
    if call.operation != "batch":
        return [call.object()]
    return [entry.get("resourceBody") or {"id": entry["id"]} for entry in call.json()]


def call_of(verb: str, path: str, headers: Mapping[str, str], body: bytes) -> Call:
    """Read a request. Raises Refusal 405 for what the stand-in does not serve."""
    segments = [unquote(segment) for segment in path.split("/") if segment]
    return Call(_operation(verb, segments, headers), segments, headers, body)


def _operation(verb: str, segments: list[str], headers: Mapping[str, str]) -> str:
    match verb, segments:
        case "GET", []:
            return "account"
        case "POST", ["dbs"]:
            return "create_database"
        case "GET", ["dbs", _]:
            return "read_database"
        case "POST", ["dbs", _, "colls"]:
            return "create_container"
        case "GET", ["dbs", _, "colls", _]:
            return "read_container"
        case "DELETE", ["dbs", _, "colls", _]:
            return "delete_container"
        case "GET", ["dbs", _, "colls", _, "pkranges"]:
            return "ranges"
        case "GET", ["dbs", _, "colls", _, "docs"]:
            return "feed"
        case "POST", ["dbs", _, "colls", _, "docs"]:
            return _posted(headers)
        case (("GET" | "PUT" | "DELETE"), ["dbs", _, "colls", _, "docs", _]):
            return {"GET": "read", "PUT": "replace", "DELETE": "delete"}[verb]
    raise Refusal(405, "MethodNotAllowed", "The stand-in does not serve this.")


def _posted(headers: Mapping[str, str]) -> str:
    def says(name: str) -> bool:
        return headers.get(name, "").lower() == "true"

    if says("x-ms-cosmos-is-query-plan-request"):
        return "query_plan"
    if says("x-ms-cosmos-is-batch-request"):
        return "batch"
    if says("x-ms-documentdb-isquery") or headers.get("content-type", "").startswith("application/query+json"):
        return "query"
    return "upsert" if says("x-ms-documentdb-is-upsert") else "create"
