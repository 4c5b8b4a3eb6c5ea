"""Posts scores to Langfuse as plain JSON: its own client would take 50 MB and 0.3 s to say the same.

Source: `langfuse` 5.0.4, `api/scores`: a list of scores is answered with 202, or with 207 and the number of those that
were rejected. Servers of Langfuse 3 take one score at a time and answer a list with 400.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx2
import orjson

from gateway.telemetry.courier.connection import Answer, Connection
from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.link.destinations import Target

JSON = "application/json"
BAD_REQUEST = 400


class ScorePoster:
    """Sends scores to one Langfuse. The connection is kept between the requests."""

    def __init__(self, target: Target, agent: str, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        """`agent` is our name and version; `transport` is for tests."""
        self._url = target.url
        self._headers = {**target.headers, "Content-Type": JSON, "User-Agent": agent}
        self._connection = Connection(target.timeout_s, target.certificate, transport)

    async def deliver(self, scores: Sequence[Any]) -> Outcome:
        """Send these scores together, or one by one to a server that takes no list, or not this one.

        Of scores with the same id, only the last is sent.
        """
        scores = list({score["id"]: score for score in scores}.values())
        outcome, answer = await self._post(scores)
        if answer.status == BAD_REQUEST:
            return await self._one_by_one(scores)
        if outcome.result is Result.TAKEN:
            return replace(outcome, rejected=rejected_in(answer.body))
        return outcome

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _one_by_one(self, scores: Sequence[Any]) -> Outcome:
        rejected = 0
        for score in scores:
            outcome, _ = await self._post(score)
            if outcome.result is Result.REFUSED:
                rejected += 1
            elif outcome.result is not Result.TAKEN:
                return outcome  # all of them again: Langfuse replaces what it has
        return Outcome(Result.TAKEN, rejected=rejected)

    async def _post(self, body: Sequence[Any] | Mapping[str, Any]) -> tuple[Outcome, Answer]:
        return await self._connection.ask("POST", self._url, orjson.dumps(body), self._headers)


def rejected_in(body: bytes) -> int:
    """How many scores an answer says were rejected; none if it does not say."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return 0
    rejected = found.get("rejected") if isinstance(found, dict) else None
    return rejected if isinstance(rejected, int) and rejected > 0 else 0
