"""The exceptions that foreign code may raise: one list for all tests of the boundary around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class OddError(BaseException):
    """A library's exception class that is not an `Exception`."""


ANYTHING: list[Callable[[], BaseException]] = [
    lambda: SystemExit(2),
    lambda: KeyboardInterrupt(),
    lambda: GeneratorExit(),
    lambda: asyncio.CancelledError(),
    lambda: RecursionError(),
    lambda: MemoryError(),
    lambda: TypeError("what the caller said"),
    lambda: AttributeError("text"),
    lambda: OddError(),
    lambda: BaseExceptionGroup("several", [SystemExit(1)]),
    lambda: TimeoutError(),
    lambda: OSError(),
]
