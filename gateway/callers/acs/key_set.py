"""The public keys that check a service's tokens, fetched over HTTPS and kept.

They are fetched with the first token, again with a token of a key that is not known, at most once a minute, and once a
day, so that a key which the service has withdrawn is forgotten. The fetch is bounded in time and size.
Source: OpenID Connect Discovery 1.0, 4; RFC 7517.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from gateway.config.urls import is_this_machine
from gateway.guard import Boundary, ForeignTasks, cause_of
from sessions.errors import VoiceError
from sessions.ports import Clock

log = logging.getLogger(__name__)

FETCH_S = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 100
UNKNOWN_AGAIN_MS = 60_000  # a token may name any key, so unknown ones must not make a fetch each
FAILED_AGAIN_MS = 5_000
FRESH_MS = 24 * 3600 * 1000

Fetch = Callable[[str], Awaitable[bytes]]


class KeysMissing(VoiceError):
    """The keys cannot be had now, so that nothing can be said about a token."""


class KeySet:
    """The keys of one issuer, by their ids."""

    def __init__(
        self,
        fetch: Fetch,
        read_key: Callable[[dict[str, Any]], object],
        clock: Clock,
        *,
        issuer: str,
        openid_url: str,
        key_set_url: str | None = None,
    ) -> None:
        """`fetch` gets the body of an address. `read_key` makes a key of a JWK, and raises for one that it cannot use.

        Without `key_set_url` the OpenID configuration names it; its issuer must be `issuer`.
        """
        self._fetch = fetch
        self._read_key = read_key
        self._clock = clock
        self._issuer = issuer
        self._openid_url = openid_url
        self._key_set_url = key_set_url
        self._keys: dict[str, object] = {}
        self._fetched_ms: int | None = None  # when the keys were fetched
        self._tried_ms: int | None = None  # when that was tried last
        self._fetching: asyncio.Future[None] | None = None
        self._tasks = ForeignTasks()
        self.fetches = 0

    async def key(self, key_id: str) -> object | None:
        """The key with this id; None for one that the issuer does not have. Raises KeysMissing."""
        await self._freshen(key_id)
        if self._fetched_ms is None:
            raise KeysMissing("the keys of the issuer could not be fetched")
        return self._keys.get(key_id)

    async def open(self) -> None:
        """Fetch the keys, so that no call waits for them. Where that fails, it is tried again with the first token."""
        await self._freshen("")

    async def close(self) -> None:
        """Give up a fetch that runs."""
        await self._tasks.close(FETCH_S)

    async def _freshen(self, key_id: str) -> None:
        fetching = self._fetching
        if fetching is None and self._is_due(key_id):
            self._tried_ms = self._clock.now_ms()
            fetching = self._fetching = asyncio.get_running_loop().create_future()
            self._tasks.start(self._fetch_all(fetching), _log_failure)
        if fetching is not None and key_id not in self._keys:
            # The fetch goes on for the others when this request is given up.
            await asyncio.wait((fetching,))

    def _is_due(self, key_id: str) -> bool:
        now_ms = self._clock.now_ms()
        if self._tried_ms is None:
            return True
        since_try_ms = now_ms - self._tried_ms
        if self._fetched_ms is None or self._fetched_ms < self._tried_ms:  # the last try has failed
            return since_try_ms >= (FAILED_AGAIN_MS if self._fetched_ms is None else UNKNOWN_AGAIN_MS)
        return since_try_ms >= (UNKNOWN_AGAIN_MS if key_id not in self._keys else FRESH_MS)

    async def _fetch_all(self, done: asyncio.Future[None]) -> None:
        try:
            self.fetches += 1
            async with asyncio.timeout(FETCH_S):
                self._keys = self._read(await self._fetch(await self._place()))
            self._fetched_ms = self._clock.now_ms()
        finally:
            self._fetching = None
            if not done.done():
                done.set_result(None)

    async def _place(self) -> str:
        if self._key_set_url is not None:
            return self._key_set_url
        match orjson.loads(await self._fetch(self._openid_url)):
            case {"issuer": self._issuer, "jwks_uri": str(url)} if url.startswith("https://") or is_this_machine(url):
                return url
        raise KeysMissing("the OpenID configuration is of another issuer, or names no key set over https")

    def _read(self, body: bytes) -> dict[str, object]:
        """The keys that can be used. Raises KeysMissing where there is none."""
        document = orjson.loads(body)
        entries = document.get("keys") if isinstance(document, dict) else None
        found: dict[str, object] = {}
        for entry in entries[:MAX_KEYS] if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("kid"), str):
                with Boundary(_pass_over):
                    found[entry["kid"]] = self._read_key(entry)
        if not found:
            raise KeysMissing("the key set holds no key that can be used")
        return found


def _pass_over(fault: BaseException) -> None:
    """A key of another kind may stand in the set."""


def _log_failure(fault: BaseException) -> None:
    log.warning("the keys that check tokens could not be fetched", extra=cause_of(fault))
