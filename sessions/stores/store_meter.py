"""Counts what a remote store is asked for and what that costs, for `/metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sessions.errors import VoiceError
from sessions.stores.contract import BadCursor, BadDocument, Conflict, Missing, StoreBusy

OUTCOMES: dict[type[BaseException], str] = {
    Conflict: "conflict",
    Missing: "missing",
    BadDocument: "bad_document",
    BadCursor: "bad_cursor",
    StoreBusy: "busy",
}
# The operation of the contract that this task is in, to which its requests are counted.
_OPERATION: ContextVar[str] = ContextVar("store_operation", default="other")


class StoreMeter:
    """Sums over the operations of one store; a store that is not remote leaves it empty."""

    def __init__(self) -> None:
        self.request_units: Counter[str] = Counter()  # request units of Cosmos DB by operation, in hundredths
        self.throttled = 0  # requests that were answered with "too many requests"
        self.operations: Counter[tuple[str, str]] = Counter()  # by operation and outcome
        self.operation_ms: Counter[str] = Counter()  # the time that operations took, by operation

    def request(self, units: float, *, throttled: bool) -> None:
        """Count one request to the store, whatever its outcome; an operation may need several."""
        self.request_units[_OPERATION.get()] += round(units * 100)
        self.throttled += throttled

    @contextmanager
    def measured(self, operation: str, now_ms: Callable[[], int]) -> Iterator[None]:
        """Count what runs inside as one operation, with its outcome, its time and its requests."""
        started_ms, outer = now_ms(), _OPERATION.set(operation)
        outcome = "cancelled"
        try:
            yield
            outcome = "ok"
        except VoiceError as error:
            outcome = OUTCOMES.get(type(error), "failed")
            raise
        finally:
            _OPERATION.reset(outer)
            self.operations[operation, outcome] += 1
            self.operation_ms[operation] += now_ms() - started_ms
