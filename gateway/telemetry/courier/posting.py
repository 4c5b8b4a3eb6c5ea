"""Posts OTLP over HTTP: one request with gzip and a time limit, and the receiver's answer as an outcome.

Source: OpenTelemetry protocol 1.9, "OTLP/HTTP"; a full answer's body is a protobuf that may name rejected items.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx2
from google.protobuf.message import DecodeError

from gateway.telemetry.courier.outcome import Outcome, Result, outcome_of
from gateway.telemetry.link.destinations import Target

PROTOBUF = "application/x-protobuf"
ANSWER_MAX_BYTES = 64 * 1024
GZIP_LEVEL = 4  # half the time of 6, for spans that are a tenth larger

Encode = Callable[[Sequence[Any]], bytes]
Rejected = Callable[[bytes], int]


class Poster:
    """Sends batches of one signal to one OTLP endpoint. The connection is kept between them."""

    def __init__(
        self,
        target: Target,
        encode: Encode,
        rejected: Rejected,
        agent: str,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """`rejected` reads the number of rejected items from the body of an answer; `agent` is our name and version.

        `transport` is for tests.
        """
        self._transport = transport
        self._target = target
        self._encode = encode
        self._rejected = rejected
        self._headers = {**target.headers, "Content-Type": PROTOBUF, "User-Agent": agent}
        if target.gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._client: httpx2.AsyncClient | None = None

    async def deliver(self, items: Sequence[Any]) -> Outcome:
        """Send these items in one request."""
        body = self._encode(items)
        if self._target.gzip:
            body = gzip.compress(body, GZIP_LEVEL)
        try:
            async with asyncio.timeout(self._target.timeout_s):
                status, headers, answer = await self._post(body)
        except TimeoutError:
            return Outcome(Result.LATER, reason="timeout")
        except (httpx2.HTTPError, OSError, ssl.SSLError) as error:
            return Outcome(Result.LATER, reason=type(error).__name__)
        outcome = outcome_of(status, headers)
        if outcome.result is Result.TAKEN:
            outcome = replace(outcome, rejected=self._rejected_in(headers, answer))
        return outcome

    def _rejected_in(self, headers: httpx2.Headers, answer: bytes) -> int:
        """How many items an answer says were rejected; none if it is not what the protocol promises."""
        if "content-encoding" in headers or headers.get("content-type", "").partition(";")[0] != PROTOBUF:
            return 0
        try:
            return self._rejected(answer)
        except DecodeError:
            return 0

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.aclose()

    async def _post(self, body: bytes) -> tuple[int, httpx2.Headers, bytes]:
        if self._client is None:
            self._client = self._make()
        async with self._client.stream("POST", self._target.url, content=body, headers=self._headers) as answer:
            read = bytearray()
            async for part in answer.aiter_raw():
                read += part
                if len(read) > ANSWER_MAX_BYTES:  # nobody needs it, and it may be an endless page
                    return answer.status_code, answer.headers, b""
            return answer.status_code, answer.headers, bytes(read)

    def _make(self) -> httpx2.AsyncClient:
        context = httpx2.create_ssl_context()
        if self._target.certificate:
            context = ssl.create_default_context(cafile=self._target.certificate)
        return httpx2.AsyncClient(
            verify=context,
            timeout=self._target.timeout_s,
            limits=httpx2.Limits(max_connections=1),
            transport=self._transport,
        )
