"""The figures of one process together with what measures, reads and shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial

from gateway import __version__
from gateway.telemetry.figures import Figures
from gateway.telemetry.lag import LoopLag
from gateway.telemetry.listener import MetricsAddress, MetricsListener
from gateway.telemetry.names import BUILD_INFO, STORE_WRITE
from gateway.telemetry.writing import FiguresText


class Metrics:
    """Makes the figures of one process; `running` measures, and serves them on a port of their own if there is one."""

    def __init__(self, at: tuple[str, int] | None, now_ns: Callable[[], int], *, inline: bool = False) -> None:
        """`at` is the host and the port to serve them at, without a key; `inline` needs no threads and no timer."""
        self.figures = Figures()
        self.text = FiguresText(self.figures, inline=inline)
        self.listener = None if at is None else MetricsListener(self.text, MetricsAddress(*at))
        self._lag = None if inline else LoopLag(self.figures, now_ns)
        self.figures.set(BUILD_INFO, __version__, to=1)

    @property
    def port(self) -> int | None:
        """The port on which they are served without a key, once that is open; None where there is none."""
        return None if self.listener is None else self.listener.port

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Measure and serve while the `async with` body runs. Raises OSError where the port cannot be opened."""
        try:
            if self.listener is not None:
                await self.listener.start()
            with nullcontext() if self._lag is None else self._lag.measured():
                yield
        finally:
            if self.listener is not None:
                await self.listener.close()

    def store_written(self, store_url: str) -> Callable[[float, str], None]:
        """What counts the writes of a store, in seconds and with their outcome; it is named by its URL's scheme."""
        return partial(self._written, store_url.partition("://")[0])

    def _written(self, store: str, took_s: float, outcome: str) -> None:
        self.figures.observe(STORE_WRITE, took_s, store, outcome)
