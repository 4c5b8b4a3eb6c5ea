"""The service behind the sockets: an account with databases and containers, which answers one call at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from cosmos import charges, feed, queries
from cosmos.calls import ABOUT_DATA, MAX_REQUEST_BYTES, Call
from cosmos.clock import ServerClock
from cosmos.epk import KeyRange, physical_ranges
from cosmos.indexing import DEFAULT
from cosmos.items import MAX_OPERATIONS, Container, Operation, Outcome, item_key
from cosmos.promises import PROMISES
from cosmos.queries import Scope
from cosmos.refusals import OWNER_NOT_FOUND, Refusal, bad, exists, missing, not_caught_up, too_large
from cosmos.shards import Replica, Shard

DATABASE_RID = "ZGIwMQ=="
KINDS = {"Create": "create", "Upsert": "upsert", "Replace": "replace", "Delete": "delete", "Read": "read"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes = b""
    charge: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


class Service:
    """All that the account holds. `broken` names the promises that it does not keep."""

    def __init__(self, clock: ServerClock, ranges: int | Sequence[str] = 1, broken: Sequence[str] = ()) -> None:
        self.clock = clock
        self.ranges: tuple[KeyRange, ...] = physical_ranges(ranges)
        self.broken: set[str] = set()
        self.containers: dict[tuple[str, str], Container] = {}
        self.lags = False  # whether this call's reads go to followers
        self._databases: set[str] = set()
        self._made = 0
        self.break_promises(broken)

    def break_promises(self, broken: Sequence[str]) -> None:
        """Keep all promises but these from now on. Raises ValueError for an unknown name."""
        unknown = sorted(set(broken) - PROMISES.keys())
        if unknown:
            raise ValueError(f"no such promise: {', '.join(unknown)}")
        self.broken.clear()
        self.broken.update(broken)

    def shards(self) -> list[Shard]:
        """Every physical partition of the account."""
        return [shard for container in self.containers.values() for shard in container.shards]

    def answer(self, call: Call) -> Answer:
        """Carry a call out. Raises Refusal."""
        if call.operation in ABOUT_DATA:
            return self._about_data(call)
        match call.operation:
            case "create_database":
                return self._create_database(call.object())
            case "read_database":
                return self._read_database(call.segments[1])
            case "create_container":
                return self._create_container(call.segments[1], call.object())
            case "read_container":
                return Answer(200, orjson.dumps(self._container(call).properties), 1.0)
            case "delete_container":
                del self.containers[(call.segments[1], self._container(call).properties["id"])]
                return Answer(204)
            case "ranges":
                return self._ranges(call)
        raise bad("The stand-in makes no query plans: the store's queries need none.")

    def _create_database(self, body: dict[str, Any]) -> Answer:
        if body.get("id") in self._databases:
            raise exists(1.0)
        self._databases.add(str(body.get("id")))
        answer = self._read_database(str(body.get("id")))
        return Answer(201, answer.body, 4.95)

    def _read_database(self, name: str) -> Answer:
        if name not in self._databases:
            raise missing()
        link = f"dbs/{DATABASE_RID}/"
        body = {"id": name, "_rid": DATABASE_RID, "_self": link, "_etag": '"1"', "_ts": 0, "_colls": "colls/"}
        return Answer(200, orjson.dumps(body), 2.0)

    def _create_container(self, database: str, body: dict[str, Any]) -> Answer:
        self._read_database(database)
        name = str(body.get("id"))
        if (database, name) in self.containers:
            raise exists(1.0)
        definition = body.get("partitionKey", {})
        if not 1 <= len(definition.get("paths", ())) <= 3:
            raise bad("The partition key definition must have one to three paths.")
        self._made += 1
        properties = {**body, "indexingPolicy": body.get("indexingPolicy") or DEFAULT}
        container = Container(self._made, properties, self.ranges, self.clock, self.broken)
        link = f"dbs/{DATABASE_RID}/colls/{container.rid}/"
        container.properties |= {"_rid": container.rid, "_self": link, "_etag": '"1"', "_ts": int(self.clock.now_s())}
        self.containers[(database, name)] = container
        return Answer(201, orjson.dumps(container.properties), 5.0)

    def _container(self, call: Call) -> Container:
        container = self.containers.get((call.segments[1], call.segments[3]))
        if container is None:
            raise missing(substatus=OWNER_NOT_FOUND if call.operation in ABOUT_DATA else None)
        return container

    def _ranges(self, call: Call) -> Answer:
        """The physical ranges, as a feed of their changes: there are none after the first answer."""
        container = self._container(call)
        headers = {"etag": '"1"'}
        if call.headers.get("if-none-match") == '"1"':
            return Answer(304, headers=headers)
        found = [
            {
                "_rid": container.rid,
                "id": shard.id,
                "_etag": '"1"',
                "minInclusive": shard.bounds.start,
                "maxExclusive": shard.bounds.end,
                "parents": [],
                "status": "online",
                "_ts": container.properties["_ts"],
            }
            for shard in container.shards
        ]
        body = {"_rid": container.rid, "PartitionKeyRanges": found, "_count": len(found)}
        return Answer(200, orjson.dumps(body), 1.0, headers)

    def _about_data(self, call: Call) -> Answer:
        container = self._container(call)
        # A single item is measured as an item: its request may be longer, where the SDK writes umlauts as \u00fc.
        too_long = call.operation == "batch" and len(call.body) > MAX_REQUEST_BYTES
        if too_long and "request_size" not in self.broken:
            raise too_large("Request size is too large.")
        match call.operation:
            case "read":
                return self._read(container, call)
            case "batch":
                return self._batch(container, call)
            case "query":
                return self._query(container, call)
            case "feed":
                return self._feed(container, call)
        return self._write(container, call)

    def _replica(self, shard: Shard, call: Call) -> Replica:
        """Who answers a read. Raises Refusal 404 for a token of another life of this server, which held more."""
        seen = 0 if "session" in self.broken else call.seen_lsn().get(shard.id, 0)
        if seen > shard.lsn:
            raise not_caught_up()
        return shard.replica(seen, self.lags)

    def _read(self, container: Container, call: Call) -> Answer:
        key = call.whole_key(len(container.paths))
        shard = container.shard_of(key)
        replica = self._replica(shard, call)
        headers = self._place(call, shard.id, replica.lsn)
        try:
            stored = container.read(replica, key, call.segments[5])
        except Refusal as refusal:
            return refused(refusal, headers)
        headers["etag"] = stored.etag
        if call.headers.get("if-none-match") == stored.etag:
            return Answer(304, b"", 1.0, headers)
        return Answer(200, orjson.dumps(stored.body), charges.read(stored.size_bytes), headers)

    def _write(self, container: Container, call: Call) -> Answer:
        body = None if call.operation == "delete" else call.object()
        key = call.key(len(container.paths))
        if key is None:
            key = item_key(container.paths, body or {}) if body is not None else call.whole_key(len(container.paths))
        item_id = call.segments[5] if len(call.segments) > 5 else str((body or {}).get("id"))
        operation = Operation(call.operation, item_id, body, call.headers.get("if-match"))
        outcome = container.write(key, operation)
        shard = container.shard_of(key)
        headers = self._place(call, shard.id, shard.lsn)
        if outcome.stored is None:
            return Answer(outcome.status, b"", outcome.charge, headers)
        headers["etag"] = outcome.stored.etag
        minimal = call.headers.get("prefer") == "return=minimal"
        content = b"" if minimal else orjson.dumps(outcome.stored.body)
        return Answer(outcome.status, content, outcome.charge, headers)

    def _batch(self, container: Container, call: Call) -> Answer:
        listed = call.json()
        if not isinstance(listed, list) or not listed:
            raise bad("The batch has no operations.")
        if len(listed) > MAX_OPERATIONS and "batch_operations" not in self.broken:
            raise bad(f"The batch has more than {MAX_OPERATIONS} operations.")
        key = call.whole_key(len(container.paths))
        operations = [_operation(entry) for entry in listed]
        outcomes = container.batch(key, operations)
        shard = container.shard_of(key)
        status = 207 if any(outcome.status >= 400 for outcome in outcomes) else 200
        charge = sum(outcome.charge for outcome in outcomes)
        body = orjson.dumps([_result(outcome) for outcome in outcomes])
        return Answer(status, body, charge, self._place(call, shard.id, shard.lsn))

    def _query(self, container: Container, call: Call) -> Answer:
        asked = queries.understand(call.object(), call.number("x-ms-max-item-count"), frozenset(self.broken))
        scopes = self._scopes(container, call)
        if scopes is None:
            if not call.flag("x-ms-documentdb-query-enablecrosspartition") and "cross_partition" not in self.broken:
                message = (
                    "Cross partition query is required but disabled. Set x-ms-documentdb-query-enablecrosspartition."
                )
                raise bad(message)
            if asked is not None and (asked.template.order or asked.template.top):
                # The service serves no order across partitions; the SDK would ask for a query plan.
                raise bad("The query needs a query plan: it cannot be served across partitions.", substatus=1004)
            scopes = [Scope(shard.id, self._replica(shard, call)) for shard in container.shards]
        if asked is None:
            page = queries.Page([], 0, scopes[0].range_id, scopes[0].replica.lsn, None)
        else:
            queries.check_index(asked.template, container.index, frozenset(self.broken))
            page = queries.page(container, asked, scopes, call.headers.get("x-ms-continuation"))
        headers = self._place(call, page.range_id, page.lsn) | {"x-ms-item-count": str(len(page.documents))}
        if page.continuation is not None:
            headers["x-ms-continuation"] = page.continuation
        body = {"_rid": container.rid, "Documents": page.documents, "_count": len(page.documents)}
        return Answer(200, orjson.dumps(body), charges.query(1, page.returned_bytes), headers)

    def _feed(self, container: Container, call: Call) -> Answer:
        if call.headers.get("a-im", "").lower() != "incremental feed":
            raise bad("The stand-in reads items by queries and by the incremental feed only.")
        scopes = self._scopes(container, call)
        if scopes is None:
            raise bad("The change feed is read by range or by partition key.")
        since = call.headers.get("if-modified-since")
        since_s = parsedate_to_datetime(since).timestamp() if since else None
        etag, limit = call.headers.get("if-none-match"), call.number("x-ms-max-item-count")
        found = feed.changes(container, scopes[0], etag, since_s, limit)
        headers = self._place(call, scopes[0].range_id, found.lsn) | {"etag": found.position}
        charge = charges.query(1, found.returned_bytes)
        if not found.documents:
            return Answer(304, b"", charge, headers)
        body = {"_rid": container.rid, "Documents": found.documents, "_count": len(found.documents)}
        return Answer(200, orjson.dumps(body), charge, headers)

    def _scopes(self, container: Container, call: Call) -> list[Scope] | None:
        """Where a query or the feed looks; `None`: everywhere. Raises Refusal 400, 410."""
        range_id = call.headers.get("x-ms-documentdb-partitionkeyrangeid")
        key = call.key(len(container.paths))
        if key is not None:
            shard = container.shard_of(key)
            return [Scope(shard.id, self._replica(shard, call), key=key)]
        if range_id is None:
            return None
        shards = [shard for shard in container.shards if shard.id == range_id]
        if not shards:
            raise Refusal(410, "Gone", "The requested partition key range is gone.", substatus=1002)
        run = None
        if "x-ms-start-epk" in call.headers:
            if call.headers.get("x-ms-read-key-type") != "EffectivePartitionKeyRange":
                raise bad("Effective partition keys come with x-ms-read-key-type: EffectivePartitionKeyRange.")
            run = KeyRange(call.headers["x-ms-start-epk"], call.headers["x-ms-end-epk"])
        return [Scope(range_id, self._replica(shards[0], call), run=run)]

    def _place(self, call: Call, range_id: str, lsn: int) -> dict[str, str]:
        """The headers by which the SDK keeps its session."""
        return {
            "x-ms-session-token": f"{range_id}:-1#{lsn}",
            "x-ms-documentdb-partitionkeyrangeid": range_id,
            "x-ms-alt-content-path": "/".join(call.segments[:4]),
            "lsn": str(lsn),
        }


def refused(refusal: Refusal, headers: dict[str, str] | None = None) -> Answer:
    """The answer to a call that is refused."""
    body = orjson.dumps({"code": refusal.code, "message": refusal.message})
    substatus = {} if refusal.substatus is None else {"x-ms-substatus": str(refusal.substatus)}
    return Answer(refusal.status, body, refusal.charge, (headers or {}) | substatus)


def _operation(entry: dict[str, Any]) -> Operation:
    """One entry of a batch. Raises Refusal 400."""
    kind = KINDS.get(entry.get("operationType", ""))
    body = entry.get("resourceBody")
    item_id = entry.get("id") or (body.get("id") if isinstance(body, dict) else None)
    if (
        kind is None
        or not isinstance(item_id, str)
        or (kind in ("create", "upsert", "replace")) != isinstance(body, dict)
    ):
        raise bad("The stand-in does not know this operation of a batch.")
    return Operation(kind, item_id, body, entry.get("ifMatch"), in_batch=True)


def _result(outcome: Outcome) -> dict[str, Any]:
    """What a batch says of one of its operations."""
    result: dict[str, Any] = {"statusCode": outcome.status, "requestCharge": outcome.charge}
    if outcome.substatus is not None:
        result["subStatusCode"] = outcome.substatus
    if outcome.stored is not None:
        result |= {"eTag": outcome.stored.etag, "resourceBody": outcome.stored.body}
    return result
