"""The parts of sessions on their way: each is sent once to each destination, and its documents are done after that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from gateway.guard import Boundary, cause_of
from gateway.telemetry.courier.outlet import Outlet, Parcel
from gateway.telemetry.courier.receipts import DocumentKey, Receipts
from gateway.telemetry.link.destinations import AZURE, LANGFUSE, OTLP
from gateway.telemetry.link.ledger import Ledger
from gateway.telemetry.spans.dialects import for_azure, for_langfuse, for_otlp
from gateway.telemetry.spans.policy import TelemetryPolicy
from gateway.telemetry.spans.span import Span

log = logging.getLogger("patchbay.telemetry")

Dialect = Callable[[Sequence[Span], str], Sequence[Span]]


def dialects(policy: TelemetryPolicy) -> Dialect:
    """Adds to spans what each destination, by its name, understands beside the standard names."""
    made: dict[str, Callable[[Span], Span]] = {
        OTLP: for_otlp,
        LANGFUSE: partial(for_langfuse, policy=policy),
        AZURE: for_azure,
    }
    return lambda spans, destination: [made[destination](span) for span in spans]


class Parts:
    """Gives each part of a session to the destinations that do not have it, and keeps ledger and receipts of them."""

    def __init__(self, outlets: Sequence[Outlet], dialect: Dialect, ledger: Ledger, receipts: Receipts) -> None:
        """`dialect` adds to spans what one destination, by its name, understands beside the standard names."""
        self._outlets = outlets
        self._dialect = dialect
        self._ledger = ledger
        self._receipts = receipts
        self._ledger_failed = False

    def send(self, session: str, part: str, spans: Sequence[Span], documents: list[DocumentKey]) -> None:
        """Send the spans of a part, and be done with these documents once all destinations have them."""
        waiting = [one for one in self._outlets if not self._ledger.has(session, part, one.destination)]
        if self._receipts.is_open(session, part):
            return  # a later version of a document, whose spans are on their way
        if not waiting or not spans:
            self._receipts.settled(documents)
            return
        size = self._receipts.size_bytes(documents)
        self._receipts.begun(session, part, documents, {one.destination for one in waiting})
        for outlet in waiting:
            done = partial(self._done, session, part, outlet.destination)
            outlet.put(Parcel(self._dialect(spans, outlet.destination), size, done))

    def over(self, session: str) -> None:
        """No further part of a session will come."""
        if self._receipts.over(session):
            self._note_over(session)

    def _done(self, session: str, part: str, destination: str, has: bool) -> None:
        with Boundary(self._failed):
            if has:
                self._ledger.note([(session, part, destination)])
        if self._receipts.has(session, part, destination):
            self._note_over(session)

    def _note_over(self, session: str) -> None:
        with Boundary(self._failed):
            self._ledger.over(session)

    def _failed(self, fault: BaseException) -> None:
        """A disk that is full costs this: spans may be sent twice after a courier or a server was killed."""
        if not self._ledger_failed:
            self._ledger_failed = True
            log.error("the ledger of what has been sent cannot be written", extra=cause_of(fault))
