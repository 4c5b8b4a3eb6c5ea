"""Requests over one kept connection: each with a time limit and a bounded answer, and how it ended as an outcome."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2

from gateway.telemetry.courier.outcome import Outcome, Result, outcome_of

ANSWER_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver has answered; status 0: it has not. The body is empty if it is too long to be read."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Connection:
    """Asks one receiver; redirects are not followed."""

    def __init__(
        self, timeout_s: float, certificate: str = "", transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        """`certificate`: the path of a PEM file; empty: the system's authorities. `transport` is for tests."""
        self._timeout_s = timeout_s
        self._certificate = certificate
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None

    async def ask(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float | None = None
    ) -> tuple[Outcome, Answer]:
        """Make one request. Never raises what a network or a receiver can cause."""
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                answer = await self._ask(method, url, body, headers)
        except TimeoutError:
            return Outcome(Result.LATER, reason="timeout"), Answer()
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ssl.SSLError) as error:
            return Outcome(Result.LATER, reason=type(error).__name__), Answer()
        return outcome_of(answer.status, answer.headers), answer

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.aclose()

    async def _ask(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._client is None:
            self._client = self._make()
        async with self._client.stream(method, url, content=body, headers=dict(headers)) as answer:
            read = bytearray()
            async for part in answer.aiter_raw():
                read += part
                if len(read) > ANSWER_MAX_BYTES:  # nobody needs it, and it may be an endless page
                    return Answer(answer.status_code, answer.headers)
            return Answer(answer.status_code, answer.headers, bytes(read))

    def _make(self) -> httpx2.AsyncClient:
        context = httpx2.create_ssl_context()
        if self._certificate:
            context = ssl.create_default_context(cafile=self._certificate)
        return httpx2.AsyncClient(
            verify=context,
            timeout=None,  # each request has a limit of its own
            limits=httpx2.Limits(max_connections=1),
            transport=self._transport,
        )
