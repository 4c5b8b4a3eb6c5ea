"""Ends a call through the carrier's own API. It runs beside the sound, within a time limit, and never raises.

Sources: twilio.com/docs/voice/api/call-resource, "Update a Call"; signalwire.com/docs, Compatibility API, the same.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

from gateway.callers.phone.counts import CarrierCounts
from gateway.callers.twilio.account import Account
from gateway.config.urls import is_this_machine
from gateway.guard import Boundary, cause_of

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

REST_S = 5.0  # for the whole request
GONE = 404  # the call is over already


class RestHangUp:
    """Ends calls of one account; what became of each is counted."""

    def __init__(
        self, account: Account, counts: CarrierCounts, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        """`account.calls_url` must not be None. `transport` stands in for the network."""
        self._account = account
        self._counts = counts
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None

    async def __call__(self, call_id: str) -> None:
        """End the call with this id at the carrier."""

        def failed(fault: BaseException) -> None:
            self._note("rest_failed")
            log.warning("a call could not be ended at its carrier", extra=self._who() | cause_of(fault))

        with Boundary(failed):
            async with asyncio.timeout(REST_S):
                status = await self._ask(call_id)
            if status < 300 or status == GONE:
                self._note("rest_hung_up" if status < 300 else "rest_was_over")
            else:
                self._note("rest_refused")
                log.warning("a carrier refused to end a call", extra=self._who() | {"status": status})

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _ask(self, call_id: str) -> int:
        if self._client is None:
            # Reading the certificates takes long enough to be heard, so it is done in a thread.
            self._client = await asyncio.to_thread(self._make) if self._transport is None else self._make()
        url = f"{self._account.calls_url}/{quote(call_id, safe='')}.json"
        async with self._client.stream("POST", url, data={"Status": "completed"}) as answer:
            return answer.status_code  # the body is not read

    def _make(self) -> httpx2.AsyncClient:
        """A client. It is imported here because the start should not wait for it, and few calls need it."""
        import httpx2

        return httpx2.AsyncClient(
            auth=(self._account.account_sid, self._account.token),
            timeout=REST_S,
            transport=self._transport,
            trust_env=not is_this_machine(self._account.calls_url or ""),
        )

    def _note(self, event: str) -> None:
        self._counts.note(event)

    def _who(self) -> dict[str, object]:
        return {"carrier": self._account.name}
