"""Sends stored calls to the destinations: after an outage, or to a receiver that was set up today.

Their spans have the same ids as when the calls were made, so a receiver that has them already can tell.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from gateway.telemetry.courier.calls import Calls
from gateway.telemetry.courier.destinations import Outlets, Sender, make_outlets
from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.courier.outlet import Deliver, Parcel
from gateway.telemetry.courier.parts import Parts, dialects
from gateway.telemetry.courier.receipts import Receipts
from gateway.telemetry.langfuse.scores import ScoreBodies
from gateway.telemetry.langfuse.sound import order_of, pieces_of
from gateway.telemetry.link.destinations import AUDIO, SCORES, TRACES, Destination
from gateway.telemetry.link.ledger import Ledger
from gateway.telemetry.link.wire import Report
from gateway.telemetry.spans.policy import TelemetryPolicy, lower
from gateway.telemetry.spans.sampling import keeps
from gateway.telemetry.spans.words import without_words
from sessions.agent import TelemetryContent
from sessions.stores.contract import Document, SessionKey, Store
from sessions.stores.documents import SESSION_ID, TURN, SessionState
from sessions.stores.scores import SCORE

PATIENCE_S = 60.0  # how long a destination that does not answer is tried
SEND_BYTES = 1024 * 1024  # of documents, before their spans are waited for
PAGE = 100  # sessions
SENT = (TRACES, SCORES, AUDIO)


@dataclass(slots=True)
class Sent:
    """What one destination has taken; `refused` counts all that it has not, and `reason` is why."""

    destination: str
    spans: int = 0
    scores: int = 0
    sounds: int = 0  # files
    refused: int = 0
    reason: str = ""


class Patience:
    """Ends the tries of a destination that denies our key, or that has not answered for a minute."""

    def __init__(self, sent: Sent, patience_s: float, now_s: Callable[[], float]) -> None:
        self._sent = sent
        self._patience_s = patience_s
        self._now_s = now_s
        self._failing_since_s: float | None = None

    def around(self, deliver: Deliver) -> Deliver:
        """The same requests, of which the last one fails for good."""

        async def patient(items: Sequence[Any]) -> Outcome:
            outcome = await deliver(items)
            if outcome.result is Result.TAKEN:
                self._failing_since_s = None
                if outcome.rejected:
                    self._sent.reason = "rejected by the receiver"
                return outcome
            self._sent.reason = outcome.reason
            if self._failing_since_s is None:
                self._failing_since_s = self._now_s()
            if self._now_s() - self._failing_since_s < self._patience_s and outcome.result is Result.LATER:
                return outcome
            return replace(outcome, result=Result.REFUSED)

        return patient


@dataclass(slots=True)
class Resending:
    """Sends calls and counts what is taken, destination by destination. `run` its outlets beside it."""

    policy: TelemetryPolicy
    outlets: Outlets
    report: Report
    sent: list[Sent]
    level_of: Callable[[str], TelemetryContent | None]
    calls: int = 0
    skipped: list[str] = field(default_factory=list)  # sessions whose calls are not over
    _waiting_bytes: int = 0

    async def send(self, store: Store, key: SessionKey) -> None:
        """Send one call. Raises Missing and StoreFailed."""
        session = await store.get(key.tenant, key.session_id, SESSION_ID)
        if session.get("state") != SessionState.ENDED:
            self.skipped.append(key.session_id)
            return
        documents = [session, *await store.query(key.tenant, key.session_id, TURN)]
        level = lower(self.policy.content, self.level_of(str(session.get("agent"))))
        scores = await store.query(key.tenant, key.session_id, SCORE) if self.outlets.of(SCORES) else []
        if level is TelemetryContent.NONE:
            documents, scores = [without_words(one) for one in documents], [without_words(one) for one in scores]
        self._queue(documents)
        self._queue_scores(session, scores)
        if level is TelemetryContent.AUDIO and keeps(key.session_id, self.policy.ratio):
            self._queue_sound(documents)
        self.calls += 1
        if self._waiting_bytes > SEND_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Return once each destination has taken or refused what is queued."""
        for outlet in self.outlets.all:
            await outlet.empty()
        self._waiting_bytes = 0
        for one in self.sent:
            one.spans, one.scores, one.sounds = (
                self.report.items.get((signal, one.destination, "sent"), 0) for signal in SENT
            )
            one.refused = sum(
                self.report.items.get((signal, one.destination, how), 0)
                for signal in SENT
                for how in ("refused", "rejected")
            )

    def _queue_scores(self, session: Document, scores: Sequence[Document]) -> None:
        started_s = float(str(session["started_at"]))
        for outlet in self.outlets.of(SCORES) if scores else ():
            bodies = ScoreBodies(self.policy)
            outlet.put(Parcel([bodies.body(score, started_s) for score in scores], 0, lambda has: None))

    def _queue_sound(self, documents: Sequence[Document]) -> None:
        order = order_of(documents[0], documents[1:])
        if order is None:
            return
        for outlet in self.outlets.of(AUDIO):
            outlet.put(Parcel(pieces_of(order, self.policy.shape), 0, lambda has: None))

    def _queue(self, documents: list[Document]) -> None:
        receipts = Receipts(lambda number: None)
        calls, now_s = Calls(self.policy), time.time()
        parts = Parts(self.outlets.of(TRACES), dialects(self.policy), Ledger(None), receipts)
        found = []
        for document in documents:
            key = (str(document["tenant"]), str(document["session_id"]), str(document["id"]))
            size = len(orjson.dumps(document))
            self._waiting_bytes += size
            receipts.arrived(key, 0, size)
            found += calls.document(document, now_s)
        for one in [*found, *calls.at_end(now_s)]:
            parts.send(one.session, one.part, one.spans, one.documents)


def make_resending(
    destinations: Sequence[Destination],
    sender: Sender,
    policy: TelemetryPolicy,
    level_of: Callable[[str], TelemetryContent | None],
    *,
    patience_s: float = PATIENCE_S,
    now_s: Callable[[], float] = time.monotonic,
) -> Resending:
    """Ready to send to those of the destinations that take traces. `level_of` gives what an agent allows."""
    report = Report()
    takers = [replace(one, targets=_of_calls(one)) for one in destinations if one.takes(TRACES)]
    sent = {one.name: Sent(one.name) for one in takers}

    def patient(destination: str, deliver: Deliver) -> Deliver:
        return Patience(sent[destination], patience_s, now_s).around(deliver)

    outlets = make_outlets(takers, sender, report, wrap=patient, gather_s=0.0, max_bytes=sys.maxsize)
    return Resending(policy, outlets, report, list(sent.values()), level_of)


def _of_calls(destination: Destination) -> dict[str, Any]:
    return {signal: target for signal, target in destination.targets.items() if signal in SENT}


async def ended_since(store: Store, tenant: str, since_s: float) -> AsyncIterator[SessionKey]:
    """The sessions of a tenant that have begun since then (Unix time), the newest first."""
    after: str | None = None
    while True:
        page = await store.sessions(tenant, limit=PAGE, after=after, state=SessionState.ENDED)
        for document in page.items:
            if float(str(document.get("started_at", 0))) < since_s:
                return
            yield SessionKey(tenant, str(document["session_id"]))
        after = page.next_cursor
        if after is None:
            return
