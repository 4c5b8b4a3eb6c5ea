"""Faults on command: which request fails, when, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["status", "hang", "delay", "cut", "lag", "odd", "bare"]


@dataclass(slots=True)
class Fault:
    """One rule. Several may stand at once; the first that fits a request is the one that it meets.

    - `status`: an answer of this status, with `retry_after_ms` and `substatus` where given.
    - `hang`: no answer until the fault is cleared; then the connection is cut.
    - `delay`: the answer comes `delay_ms` later.
    - `cut`: the connection is closed without an answer.
    - `lag`: reads go to followers that stand still from the moment at which the fault was set.
    - `odd`: an answer of this status with `body` and without any of the service's headers, as from a proxy.
    - `bare`: the right answer without its ETags, as from a proxy that drops them.
    `after_commit` lets all but `lag` and `bare` strike when the request has been carried out.
    """

    kind: Kind
    status: int = 503
    substatus: int | None = None
    retry_after_ms: int | None = None
    delay_ms: int = 0
    body: bytes = b""
    after_commit: bool = False
    operations: tuple[str, ...] = ()  # names as in the counters; empty: all that reach the data
    count: int | None = None  # so many requests; None: until cleared
    every: int = 1  # of those that fit, each n-th
    skip: int = 0  # leave the first ones alone
    _seen: int = field(default=0, repr=False)
    struck: int = 0  # how often so far

    def strikes(self, operation: str) -> bool:
        """Whether this request meets the fault; counts it."""
        if self.operations and operation not in self.operations:
            return False
        if self.count is not None and self.struck >= self.count:
            return False
        self._seen += 1
        if self._seen <= self.skip or (self._seen - self.skip) % self.every:
            return False
        self.struck += 1
        return True


def throttled(retry_after_ms: int | None = 10, **rule: int | tuple[str, ...] | None) -> Fault:
    """429, with a hint or without."""
    return Fault("status", status=429, substatus=3200, retry_after_ms=retry_after_ms, **rule)  # type: ignore[arg-type]


def unavailable(**rule: int | bool | tuple[str, ...] | None) -> Fault:
    """503."""
    return Fault("status", status=503, **rule)  # type: ignore[arg-type]


def gone(**rule: int | bool | tuple[str, ...] | None) -> Fault:
    """410."""
    return Fault("status", status=410, **rule)  # type: ignore[arg-type]


def lost_answer(**rule: int | tuple[str, ...] | None) -> Fault:
    """The connection is cut after the request was carried out."""
    return Fault("cut", after_commit=True, **rule)  # type: ignore[arg-type]
