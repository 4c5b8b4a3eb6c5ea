"""Posts OTLP over HTTP: one request with gzip and a time limit, and the receiver's answer as an outcome.

Source: OpenTelemetry protocol 1.9, "OTLP/HTTP"; a full answer's body is a protobuf that may name rejected items.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx2
from google.protobuf.message import DecodeError

from gateway.telemetry.courier.connection import Answer, Connection
from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.link.destinations import Target

PROTOBUF = "application/x-protobuf"
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
        self._target = target
        self._encode = encode
        self._rejected = rejected
        self._headers = {**target.headers, "Content-Type": PROTOBUF, "User-Agent": agent}
        if target.gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._connection = Connection(target.timeout_s, target.certificate, transport)

    async def deliver(self, items: Sequence[Any]) -> Outcome:
        """Send these items in one request."""
        body = self._encode(items)
        if self._target.gzip:
            body = gzip.compress(body, GZIP_LEVEL)
        outcome, answer = await self._connection.ask("POST", self._target.url, body, self._headers)
        if outcome.result is Result.TAKEN:
            outcome = replace(outcome, rejected=self._rejected_in(answer))
        return outcome

    def _rejected_in(self, answer: Answer) -> int:
        """How many items an answer says were rejected; none if it is not what the protocol promises."""
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if "content-encoding" in answer.headers or kind != PROTOBUF:
            return 0
        try:
            return self._rejected(answer.body)
        except DecodeError:
            return 0

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()
