"""A store in Cosmos DB, which several servers may share.

`open` loads azure-cosmos in a thread. One client with session consistency serves the whole process: the answer to a
write carries a token with which later reads see everything that was written in that partition before, by whomever. So
whoever takes a session writes first and reads afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sessions.ports import Clock
from sessions.stores import cosmos_queries as queries
from sessions.stores.checks import Checked, check_batch, check_document
from sessions.stores.contract import (
    ABSENT,
    BATCH_MAX_DOCUMENTS,
    PAGE_MAX,
    BadDocument,
    Changes,
    Conflict,
    Document,
    IfMatch,
    Missing,
    Page,
    SessionKey,
    StoreFailed,
    StoreMisconfigured,
    Write,
)
from sessions.stores.cosmos_documents import Change, fits, from_item, to_item
from sessions.stores.cosmos_expiry import expired_keys
from sessions.stores.cosmos_feed import read_position, write_position
from sessions.stores.cosmos_setting import CosmosPlace
from sessions.stores.cursors import read_cursor, write_cursor
from sessions.stores.documents import SESSION_ID
from sessions.stores.fields import names_in
from sessions.stores.store_meter import StoreMeter

if TYPE_CHECKING:
    from sessions.stores.cosmos_client import CosmosContainer

ALL = 1 << 30  # rows
DELETE_ROUNDS = 50  # a partition that is still written while it is deleted may need several

log = logging.getLogger("patchbay.state")


@dataclass(frozen=True, slots=True)
class CosmosAccess:
    """How an account is entered, and where its requests are counted.

    Without a key, `credential` makes an asynchronous Entra credential; it is called in a thread. `plain_allowed` lets
    documents travel to other machines without TLS.
    """

    key: str | None
    credential: Callable[[], Any] | None
    plain_allowed: bool
    meter: StoreMeter


class CosmosStore:
    """Keeps documents in one container of Cosmos DB; implements `contract.Store` and `contract.ChangeReader`."""

    # A container that somebody deletes and makes again was emptied on purpose: its documents count as deleted.
    generation = 0

    def __init__(self, place: CosmosPlace, clock: Clock, access: CosmosAccess) -> None:
        self._place = place
        self._clock = clock
        self._access = access
        self._meter = access.meter
        self._opened: CosmosContainer | None = None

    async def open(self) -> None:
        """Load the SDK, connect, and check the account and the container. Raises StoreFailed, which names them."""
        await self.close()
        if self._place.plain and not self._place.near:
            log.warning("the store is reached without TLS", extra={"host": self._place.address})
        made = await asyncio.to_thread(self._make)
        with self._meter.measured("open", self._clock.now_ms):
            try:
                await made.open()
                self._opened = made
            finally:
                if self._opened is None:
                    await made.close()

    async def put(self, document: Document, if_match: IfMatch) -> str:
        """Write one document and return its new ETag."""
        with self._meter.measured("put", self._clock.now_ms):
            return await self._put(check_document(document), if_match)

    async def put_many(self, writes: Sequence[Write]) -> list[str]:
        """Write documents of one partition, all or none, and return their new ETags."""
        if not writes:
            return []
        with self._meter.measured("put_many", self._clock.now_ms):
            documents = [check_document(write.document) for write in writes]
            check_batch(documents)
            if len(writes) == 1:
                return [await self._put(documents[0], writes[0].if_match)]
            now_s = self._clock.wall_s()
            changes = [
                self._change(document, write.if_match, now_s) for document, write in zip(documents, writes, strict=True)
            ]
            return await self._container.batch((documents[0].tenant, documents[0].session_id), changes)

    async def get(self, tenant: str, session_id: str, document_id: str) -> Document:
        """Read one document."""
        with self._meter.measured("get", self._clock.now_ms):
            if not fits(tenant, session_id, document_id):
                raise Missing(f"there is no document {document_id}")
            return from_item(await self._container.read((tenant, session_id), document_id))

    async def query(self, tenant: str, session_id: str, document_type: str) -> list[Document]:
        """Read all documents of a type in a partition, in order of their ids."""
        with self._meter.measured("query", self._clock.now_ms):
            if not fits(tenant, session_id):
                return []
            key = (tenant, session_id)
            return _readable(await self._container.rows(queries.OF_TYPE, {"type": document_type}, key, ALL))

    async def sessions(
        self, tenant: str, *, limit: int, after: str | None, agent: str | None = None, state: str | None = None
    ) -> Page:
        """Read a page of a tenant's sessions, newest first."""
        with self._meter.measured("sessions", self._clock.now_ms):
            bounded = max(1, min(limit, PAGE_MAX))
            values: dict[str, Any] = {"top": bounded + 1, "tenant": tenant}
            if after is not None:
                values["started_at"], values["session_id"] = read_cursor(after)
            if agent is not None:
                values["agent"] = agent
            if state is not None:
                values["state"] = state
            if not fits(tenant, ""):
                return Page((), None)
            text = queries.sessions_text(after=after is not None, agent=agent is not None, state=state is not None)
            rows = await self._container.rows(text, values, (tenant,), ALL)
            # Each physical partition has sent its own newest.
            placed = [(place, row) for row in rows if (place := _place_of(row)) is not None]
            _readable(row for row in rows if _place_of(row) is None)  # names them in the log
            placed.sort(key=lambda entry: entry[0], reverse=True)
            listed = placed[:bounded]
            cursor = write_cursor(*listed[-1][0]) if len(placed) > bounded else None
            return Page(tuple(_readable(row for _, row in listed)), cursor)

    async def left_live(self, boot: str | None = None) -> list[Document]:
        """Read the sessions in state `live`, of all tenants, of one instance or of all.

        They come whole, because whoever ends a session writes its document again. A document that is out of date here
        has an old ETag, with which it cannot be written.
        """
        with self._meter.measured("left_live", self._clock.now_ms):
            text, values = (queries.LIVE, {}) if boot is None else (queries.LIVE_OF_BOOT, {"boot": boot})
            return sorted(_readable(await self._container.rows(text, values, None, ALL)), key=_started)

    async def changes(self, after: str | None, limit: int) -> Changes:
        """Read the documents that changed after a position, in order within each physical partition.

        What one batch has written comes together, even if it is more than `limit`.
        """
        with self._meter.measured("changes", self._clock.now_ms):
            container = self._container
            ranges = await container.feed_ranges() if after is None else read_position(after, container.rid)
            for _ in range(len(ranges)):
                items, read = await container.feed_page(ranges[0], max(1, min(limit, PAGE_MAX)))
                ranges = [*ranges[1:], *read]
                if items:
                    return Changes(tuple(_readable(items)), write_position(container.rid, ranges))
            return Changes((), write_position(container.rid, ranges))

    async def delete_document(self, tenant: str, session_id: str, document_id: str) -> bool:
        """Remove one document; return whether there was one."""
        with self._meter.measured("delete_document", self._clock.now_ms):
            if not fits(tenant, session_id, document_id):
                return False
            try:
                await self._container.delete((tenant, session_id), document_id)
            except Missing:
                return False
            return True

    async def delete_session(self, tenant: str, session_id: str) -> int:
        """Remove a partition and return how many documents it held."""
        with self._meter.measured("delete_session", self._clock.now_ms):
            if not fits(tenant, session_id):
                return 0
            removed: set[str] = set()
            for _ in range(DELETE_ROUNDS):
                found = await self._container.rows(queries.IDS, {}, (tenant, session_id), ALL)
                # The session's own document goes last: while it is there, a deletion that broke off is found again.
                ids = sorted((one for one in found if isinstance(one, str)), key=lambda one: one == SESSION_ID)
                removed.update(ids)
                if await self._delete_all((tenant, session_id), ids):
                    return len(removed)
            raise StoreFailed(f"a session in {self._place} is written while it is deleted; try again later")

    async def expired(self, now_s: float) -> list[SessionKey]:
        """The partitions that have expired."""
        with self._meter.measured("expired", self._clock.now_ms):
            return await expired_keys(self._container.rows, now_s)

    async def close(self) -> None:
        """Close all connections."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    @property
    def _container(self) -> CosmosContainer:
        if self._opened is None:
            raise StoreFailed(f"{self._place} is not open")
        return self._opened

    def _make(self) -> CosmosContainer:
        try:
            loaded = import_module("sessions.stores.cosmos_client")
            made: CosmosContainer = loaded.make_container(
                self._place, self._access.key, self._access.credential, self._meter
            )
        except ImportError as error:
            raise StoreMisconfigured("Cosmos DB needs packages that are not there; install patchbay[cosmos]") from error
        return made

    async def _put(self, document: Checked, if_match: IfMatch) -> str:
        item = to_item(document, self._clock.wall_s())
        if if_match is None:
            return await self._container.upsert(item)
        if if_match is ABSENT:
            return await self._container.create(item)
        return await self._container.replace(item, if_match)

    def _change(self, document: Checked, if_match: IfMatch, now_s: float) -> Change:
        item = to_item(document, now_s)
        if if_match is None:
            return Change("upsert", document.id, item, None)
        if if_match is ABSENT:
            return Change("create", document.id, item, None)
        return Change("replace", document.id, item, if_match)

    async def _delete_all(self, key: tuple[str, str], ids: Sequence[str]) -> bool:
        """Delete documents in batches. Returns False if one was gone, which may be the lost answer to our own batch."""
        for start in range(0, len(ids), BATCH_MAX_DOCUMENTS):
            piece = ids[start : start + BATCH_MAX_DOCUMENTS]
            try:
                await self._container.batch(key, [Change("delete", document_id, None, None) for document_id in piece])
            except Conflict:
                return False
        return True


def _readable(items: Iterable[object]) -> list[Document]:
    """The documents in these items; those that cannot be read are logged and skipped."""
    found = []
    for item in items:
        try:
            found.append(from_item(item))
        except BadDocument as error:
            names = names_in(item) if isinstance(item, Mapping) else {}
            log.error("a stored document cannot be read", extra={"reason": str(error), **names})
    return found


def _place_of(item: Any) -> tuple[float, str] | None:
    """The start and the id by which an item is listed; None if another program wrote it without them."""
    match item:
        case {"started_at": int() | float() as started_at, "session_id": str(session_id)}:
            return float(started_at), session_id
    return None


def _started(document: Document) -> float:
    started_at = document.get("started_at")
    return started_at if isinstance(started_at, int | float) else 0.0
