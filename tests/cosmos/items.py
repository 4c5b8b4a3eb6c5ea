"""The items of one container: what each operation does, answers and costs."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cosmos import charges
from cosmos.clock import ServerClock
from cosmos.epk import Key, KeyRange, effective_key
from cosmos.indexing import UNDEFINED, IndexPolicy, look_up
from cosmos.refusals import Refusal, bad, exists, missing, stale, too_large
from cosmos.shards import Replica, Shard, Stored

MAX_BYTES = 2 * 1024 * 1024
MAX_OPERATIONS = 100
MAX_TTL_S = 2**31 - 1
FAILED_DEPENDENCY = 424
SYSTEM = ("_rid", "_self", "_etag", "_attachments", "_ts", "_lsn")


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing to do with one item."""

    kind: str  # create, upsert, replace, delete, read
    item_id: str
    body: dict[str, Any] | None = None
    if_match: str | None = None
    in_batch: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation did."""

    status: int
    charge: float
    stored: Stored | None = None
    substatus: int | None = None


class Container:
    """One container: its properties, its shards, and all that is written to it."""

    def __init__(
        self,
        number: int,
        properties: Mapping[str, Any],
        ranges: Sequence[KeyRange],
        clock: ServerClock,
        broken: Collection[str],
    ) -> None:
        self.rid = base64.urlsafe_b64encode(b"db01" + number.to_bytes(4, "big")).decode()
        self.properties = dict(properties)
        self.paths: list[str] = [path.strip("/") for path in properties["partitionKey"]["paths"]]
        self.index = IndexPolicy(properties["indexingPolicy"])
        self.shards = [Shard(place, bounds) for place, bounds in enumerate(ranges)]
        self.broken = broken
        self._clock = clock
        self._default_ttl: int | None = properties.get("defaultTtl")
        self._written = 0  # versions so far
        self._created = 0  # items so far

    def shard_of(self, key: Key) -> Shard:
        """Where a whole key lies."""
        epk = effective_key(key)
        return next(shard for shard in self.shards if shard.bounds.holds(epk))

    def place(self, key: Key) -> Key:
        """The logical partition of a key."""
        return key[:1] if "partitions" in self.broken else key

    def lives(self, stored: Stored) -> bool:
        """Whether an item's ttl has not passed."""
        return stored.expires_s is None or self._clock.now_s() < stored.expires_s or "ttl" in self.broken

    def read(self, replica: Replica, key: Key, item_id: str) -> Stored:
        """One item. Raises Refusal 404."""
        stored = replica.get(self.place(key), item_id)
        if stored is None or not self.lives(stored):
            if "missing_read" in self.broken:
                return self._made_up(key, item_id)
            raise missing()
        return stored

    def write(self, key: Key, operation: Operation) -> Outcome:
        """One write in a transaction of its own. Raises Refusal."""
        shard = self.shard_of(key)
        outcome = self._apply(shard, key, operation, shard.lsn + 1)
        shard.lsn += 1
        return outcome

    def batch(self, key: Key, operations: Sequence[Operation]) -> list[Outcome]:
        """Several operations in one transaction: all are done, or the first that cannot be is said and none is done."""
        shard = self.shard_of(key)
        place = self.place(key)
        done: list[Outcome] = []
        undo: list[tuple[str, Stored | None]] = []
        for operation in operations:
            undo.append((operation.item_id, shard.get(place, operation.item_id)))
            try:
                done.append(self._apply(shard, key, operation, shard.lsn + 1))
            except Refusal as refusal:
                if "batch_atomic" not in self.broken:
                    for item_id, before in reversed(undo):
                        shard.restore(place, item_id, before)
                failed = Outcome(refusal.status, refusal.charge, substatus=refusal.substatus)
                others = [Outcome(FAILED_DEPENDENCY, 0)] * len(operations)
                return [*others[: len(done)], failed, *others[len(done) + 1 :]]
        shard.lsn += 1
        return done

    def _apply(self, shard: Shard, key: Key, operation: Operation, lsn: int) -> Outcome:
        if operation.kind == "read":
            stored = self.read(shard, key, operation.item_id)
            return Outcome(200, charges.read(stored.size_bytes), stored)
        before = shard.get(self.place(key), operation.item_id)
        if before is not None and not self.lives(before):
            before = None
        self._check_conditions(operation, before)
        if operation.kind == "delete":
            return self._delete(shard, key, before, lsn)
        stored = self._version(key, operation, before, lsn)
        shard.put(self.place(key), stored)
        values = self.index.values(stored.body)
        if before is None:
            return Outcome(201, charges.insert(stored.size_bytes, values), stored)
        return Outcome(200, charges.replace(stored.size_bytes, values), stored)

    def _check_conditions(self, operation: Operation, before: Stored | None) -> None:
        """Raises Refusal 404, 409 or 412. An upsert of what is not there looks at no ETag: it creates.

        So does the service: github.com/Azure/azure-cosmos-dotnet-v3/issues/1698.
        """
        kind = operation.kind
        if kind == "create" and before is not None and "create_conflict" not in self.broken:
            raise exists(charges.REFUSED)
        if before is None:
            if kind in ("replace", "delete") and f"missing_{kind}" not in self.broken:
                raise missing(charges.REFUSED)
            return
        condition = operation.if_match
        if condition is None or condition in ("*", before.etag) or kind == "create":
            return
        promise = "if_match_batch" if operation.in_batch else f"if_match_{kind}"
        if promise not in self.broken:
            raise stale(charges.REFUSED)

    def _delete(self, shard: Shard, key: Key, before: Stored | None, lsn: int) -> Outcome:
        if before is not None and "deleted" not in self.broken:
            shard.remove(self.place(key), before.id)
            shard.tombstones.append((lsn, {**before.body, "_deleted": True}))
        return Outcome(204, charges.DELETE)

    def _version(self, key: Key, operation: Operation, before: Stored | None, lsn: int) -> Stored:
        """Raises Refusal 400 or 413."""
        body = operation.body or {}
        self._check_body(key, operation, body)
        size_bytes = len(orjson.dumps(body))
        if size_bytes > MAX_BYTES and "item_size" not in self.broken:
            raise too_large("The size of the document is above the limit of 2 MB.")
        self._written += 1
        if before is None:
            self._created += 1
        number = before.number if before is not None else self._created
        now_s = self._clock.now_s()
        etag = f'"{self._written:08x}-0000-0000-0000-{int(now_s):012x}"'
        if before is not None and "new_etag" in self.broken:
            etag = before.etag
        kept = before.body if before is not None and "whole_item" in self.broken else {}
        rid = base64.urlsafe_b64encode(b"db01" + number.to_bytes(12, "big")).decode()
        system = {
            "_rid": rid,
            "_self": f"dbs/ZGIwMQ==/colls/{self.rid}/docs/{rid}/",
            "_etag": etag,
            "_attachments": "attachments/",
            "_ts": before.body["_ts"] if before is not None and "ts" in self.broken else int(now_s),
        }
        return Stored(
            key=self.place(key),
            epk=effective_key(key),
            number=number,
            body={**kept, **{name: value for name, value in body.items() if name not in SYSTEM}, **system},
            size_bytes=size_bytes,
            lsn=lsn,
            etag=etag,
            expires_s=self._expires_s(body, int(now_s)),
            rewritten=before is not None,
        )

    def _check_body(self, key: Key, operation: Operation, body: Mapping[str, Any]) -> None:
        item_id = body.get("id")
        if not isinstance(item_id, str) or not item_id or len(item_id.encode()) > 1023 or set(item_id) & set("/\\?#"):
            raise bad("The id of the item is missing, empty, too long, or has one of / \\ ? #.")
        if item_id != operation.item_id:
            raise bad("The id in the item is not the id in the address.")
        found = tuple(look_up(body, path) for path in self.paths)
        if found != key and "key_in_body" not in self.broken:
            message = "PartitionKey extracted from document doesn't match the one specified in the header."
            raise bad(message, substatus=1001)
        ttl = body.get("ttl", -1)
        if not isinstance(ttl, int) or isinstance(ttl, bool) or not (ttl == -1 or 1 <= ttl <= MAX_TTL_S):
            raise bad("The ttl is invalid: it must be a positive integer of 32 bits, or -1.")

    def _expires_s(self, body: Mapping[str, Any], written_s: int) -> float | None:
        """A container without `defaultTtl` lets nothing expire; -1 lets only items with a ttl of their own."""
        if self._default_ttl is None:
            return None
        ttl: int = body.get("ttl", self._default_ttl)
        return None if ttl == -1 else float(written_s + ttl)

    def _made_up(self, key: Key, item_id: str) -> Stored:
        body = {"id": item_id, "_etag": '"0"', "_ts": 0, **dict(zip(self.paths, key, strict=False))}
        return Stored(key, effective_key(key), 0, body, 1, 0, '"0"', None, False)


def item_key(paths: Sequence[str], body: Mapping[str, Any]) -> Key:
    """The key that an item's own properties say; a property that is not there counts as null."""
    return tuple(None if value is UNDEFINED else value for value in (look_up(body, path) for path in paths))
