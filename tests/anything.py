"""What foreign code may raise: one list for every test of the boundary around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class OddError(BaseException):
    """A library's own, that is no Exception."""


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
