"""The instances that use a store: each writes a document there every few seconds, so that the others see it live.

All these documents lie in one partition. Ages are differences of the store's own write times, so that the clocks of
machines are never compared.

After an outage of the store, or where all machines stood still, the first instance to write its document again finds
those of all others old. So an instance takes others for dead only while its own documents have come without a gap for
DEAD_S. While it does, no other that lives can be so old: GAP_S + BEAT_EVERY_S + BEAT_TIMEOUT_S + BEAT_AGAIN_S < DEAD_S.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from contextlib import suppress

from gateway import __version__
from sessions.ports import Clock
from sessions.stores.contract import BadDocument, Document, Missing, Store
from sessions.stores.documents import Owner
from sessions.stores.fields import Fields, names_in

TENANT = "_boots"  # no caller's tenant begins with an underscore
PARTITION = "all"
BOOT = "boot"  # the type of the documents; their ids are boot ids
SCHEMA = 1
BEAT_EVERY_S = 5.0
BEAT_TIMEOUT_S = 3.0
BEAT_AGAIN_S = 1.0  # after a document that was not taken
GAP_S = 9.0  # between two of our own documents; after a longer one, all others count as alive for DEAD_S
DEAD_S = 20.0  # an instance is dead when its document was written so much earlier than our own

log = logging.getLogger("patchbay.state")


class Boots:
    """Writes the document of this instance, and reads which others are alive. Every method may raise StoreFailed."""

    def __init__(self, store: Store, boot_id: str, clock: Clock, *, process: str, host: str, version: str) -> None:
        self._store = store
        self._clock = clock
        self._boot_id = boot_id
        self._document: Document = {
            "id": boot_id,
            "tenant": TENANT,
            "session_id": PARTITION,
            "type": BOOT,
            "schema": SCHEMA,
            "process": process,
            "host": host,
            "version": version,
        }
        self._beaten_ms: int | None = None  # our own last document
        self._steady_since_ms = 0  # since when our documents have come without a gap
        self._last_look: tuple[float, int] | None = None  # our document then, by the store's clock and by ours
        # Documents that seem to come from the future, after the store's clock was set back: ETag, and first seen when.
        self._ahead: dict[str, tuple[str, int]] = {}
        self._seen: dict[str, str] = {}  # by boot id: the ETag of its document when the instances were looked at

    @classmethod
    def of(cls, store: Store, owner: Owner, clock: Clock) -> Boots:
        """The instances that use a store; this process is the one that owns sessions as `owner`."""
        return cls(store, owner.boot, clock, process=owner.process, host=socket.gethostname(), version=__version__)

    async def beat(self) -> None:
        """Write this instance's document again."""
        await self._store.put(self._document, None)
        now_ms = self._clock.now_ms()
        if self._beaten_ms is None or now_ms - self._beaten_ms > GAP_S * 1000:
            self._steady_since_ms = now_ms
        self._beaten_ms = now_ms

    async def beating(self) -> dict[str, bool]:
        """Each instance that has a document, by boot id, and whether it is alive by the age of its document.

        All others count as alive while this instance has no document itself, or had none for too long lately. A
        document that cannot be read is logged and left out.
        """
        alive, self._seen = await self._look()
        return alive

    async def _look(self) -> tuple[dict[str, bool], dict[str, str]]:
        """Which instances are alive, as `beating` says, and the ETags of their documents."""
        written_s: dict[str, float] = {}
        seen: dict[str, str] = {}
        for document in await self._store.query(TENANT, PARTITION, BOOT):
            fields = Fields(document)
            try:
                seen[fields.text("id")] = fields.text("etag")
                written_s[fields.text("id")] = fields.number("written_s")
            except BadDocument as error:
                extra = {"reason": str(error), **names_in(document)}
                log.error("the document of a server in the store cannot be read", extra=extra)
        own_s = written_s.get(self._boot_id)
        if own_s is None or not self._steady(own_s):
            return dict.fromkeys(written_s, True), seen
        self._note_ahead({boot: seen[boot] for boot, at_s in written_s.items() if at_s > own_s})
        return {boot: self._lives(boot, own_s - at_s) for boot, at_s in written_s.items()}, seen

    def _steady(self, own_s: float) -> bool:
        """Whether our own documents have come without a gap for DEAD_S, up to now, by our clock and by the store's."""
        now_ms, beaten_ms = self._clock.now_ms(), self._beaten_ms
        if beaten_ms is None:
            return False
        last, self._last_look = self._last_look, (own_s, beaten_ms)
        if last is not None and abs((own_s - last[0]) - (beaten_ms - last[1]) / 1000) > GAP_S:
            self._steady_since_ms = now_ms  # the store's clock was set, or this machine was suspended
        return now_ms - beaten_ms <= GAP_S * 1000 and now_ms - self._steady_since_ms > DEAD_S * 1000

    def _note_ahead(self, etags: Mapping[str, str]) -> None:
        now_ms, before = self._clock.now_ms(), self._ahead
        self._ahead = {
            boot: before[boot] if boot in before and before[boot][0] == etag else (etag, now_ms)
            for boot, etag in etags.items()
        }

    def _lives(self, boot: str, age_s: float) -> bool:
        if boot in self._ahead and boot != self._boot_id:
            return self._clock.now_ms() - self._ahead[boot][1] <= DEAD_S * 1000
        return age_s <= DEAD_S

    async def alive_elsewhere(self, boot_id: str | None) -> bool:
        """Whether another instance than this one has that id and is alive, as far as `beating` can tell."""
        if boot_id is None or boot_id == self._boot_id:
            return False
        alive, _ = await self._look()
        return alive.get(boot_id, False)

    async def remove_dead(self, boot_id: str) -> None:
        """Remove the document of an instance that `beating` has shown as dead, unless it has been written since.

        An instance that was only frozen writes it again. Between the look at it and its removal there is a moment in
        which that is missed; then it writes it once more after BEAT_EVERY_S.
        """
        with suppress(Missing):
            found = await self._store.get(TENANT, PARTITION, boot_id)
            if found.get("etag") == self._seen.get(boot_id):
                await self._store.delete_document(TENANT, PARTITION, boot_id)

    async def leave(self) -> None:
        """Remove this instance's own document, at an orderly stop."""
        await self._store.delete_document(TENANT, PARTITION, self._boot_id)
