"""The calls that the courier follows: documents in, parts of sessions out, and which documents are done without any.

`Settling` decides what is sent. Documents of turns that it leaves out (by sampling), and of sessions that are over, are
found here by their age, so that the server need not keep them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.telemetry.courier.receipts import DocumentKey
from gateway.telemetry.spans.policy import TelemetryPolicy
from gateway.telemetry.spans.settled import Settled, What
from gateway.telemetry.spans.settling import WAIT_S, Settling
from gateway.telemetry.spans.span import Span
from sessions.stores.contract import SESSION, Document
from sessions.stores.documents import TURN, SessionState

LEFT_OUT_S = WAIT_S + 1.0  # after which a turn, or a call that is over, that yields nothing has been left out


@dataclass(frozen=True, slots=True)
class PartToSend:
    """A part of a session: spans to be sent, if any, and the documents that are done with that.

    Without spans, the documents are done as soon as the part is not on its way.
    """

    session: str
    part: str
    spans: Sequence[Span]
    documents: list[DocumentKey]
    over: bool = False  # nothing more of the session comes


@dataclass(slots=True)
class _Known:
    """What is known of one session."""

    started_s: float = 0.0
    sent: set[int] = field(default_factory=set)  # turns
    ended: dict[int, tuple[float, DocumentKey]] = field(default_factory=dict)  # turns not sent; when they are left out
    over_s: float | None = None


class Calls:
    """Follows calls by their documents."""

    def __init__(self, policy: TelemetryPolicy) -> None:
        self._settling = Settling(policy)
        self._known: dict[tuple[str, str], _Known] = {}  # by tenant and session
        self._unreadable = 0

    def document(self, document: Document, now_s: float) -> list[PartToSend]:
        """Take a document; what it yields at once."""
        key = (str(document["tenant"]), str(document["session_id"]), str(document["id"]))
        known = self._known.setdefault(key[:2], _Known())
        if document["type"] == TURN:
            return self._turn(document, key, known, now_s)
        self._settling.take(document)
        if isinstance(started_s := document.get("started_at"), int | float):
            known.started_s = started_s
        if document["type"] == SESSION and document.get("state") == SessionState.ENDED and known.over_s is None:
            known.over_s = now_s
        return []

    def on_time(self, now_s: float) -> list[PartToSend]:
        """What has settled by now (Unix time)."""
        found = [self._part(one) for one in self._settling.on_time(now_s)]
        for (tenant, session), known in list(self._known.items()):
            for index, (left_out_s, key) in list(known.ended.items()):
                if now_s >= left_out_s:
                    del known.ended[index]
                    found.append(PartToSend(session, "", (), [key]))
            if known.over_s is not None and now_s >= known.over_s + LEFT_OUT_S:
                del self._known[tenant, session]
                found.append(PartToSend(session, "", (), [], over=True))
        return found

    def at_end(self, now_s: float) -> list[PartToSend]:
        """What there is to send if nothing more is waited for."""
        return self.on_time(now_s + LEFT_OUT_S)

    def unreadable(self) -> int:
        """How many documents could not be read since the last time that this was asked."""
        found = self._settling.unreadable - self._unreadable
        self._unreadable = self._settling.unreadable
        return found

    def _turn(self, document: Document, key: DocumentKey, known: _Known, now_s: float) -> list[PartToSend]:
        index = document.get("index")
        if not isinstance(index, int) or index in known.sent:
            return [PartToSend(key[1], f"{What.TURN.value}/{index}", (), [key])]
        self._settling.take(document)
        if document.get("end_ms") is not None:
            last_s = known.started_s + _last_ms(document) / 1000
            known.ended[index] = (max(now_s, last_s) + LEFT_OUT_S, key)
        return []

    def _part(self, one: Settled) -> PartToSend:
        documents: list[DocumentKey] = []
        if one.what is What.TURN and one.index is not None:
            documents = [(one.tenant, one.session_id, f"turn_{one.index:05}")]
            known = self._known.get((one.tenant, one.session_id))
            if known is not None:
                known.sent.add(one.index)
                known.ended.pop(one.index, None)
        part = one.what.value if one.index is None else f"{one.what.value}/{one.index}"
        return PartToSend(one.session_id, part, one.spans, documents)


def _last_ms(document: Document) -> float:
    """When a turn is over: the later of its end, and of the last sample of its speech, which may still be sounding."""
    found = [document.get("end_ms")]
    entries = document.get("entries")
    for entry in entries if isinstance(entries, list) else ():
        begin_ms, sent_ms = (entry.get("begin_ms"), entry.get("sent_ms")) if isinstance(entry, dict) else (None, None)
        if isinstance(begin_ms, int) and isinstance(sent_ms, int):
            found.append(begin_ms + sent_ms)
    return max((one for one in found if isinstance(one, int)), default=0)
