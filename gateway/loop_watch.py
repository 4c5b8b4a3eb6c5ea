"""Notices when the event loop is held, and logs by what: sound of every call stands still meanwhile.

A timer of the loop notes the time every 50 ms; a thread looks whether it did. While it does not, the thread reads where
the loop's thread is. What a hold costs in CPU time tells a long computation from a call that blocks, and both from a
machine that gave the process no time.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gateway.clock import SystemClock

log = logging.getLogger(__name__)

HELD_MS = 200  # from here on a hold is logged
_BEAT_S = 0.05
_LOOK_S = 0.04
_DEEPEST = 40  # frames that are read of the loop's thread
_LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))


class LoopWatch:
    """Watches the loop in which `watching` is entered."""

    def __init__(self, *, held_ms: int = HELD_MS) -> None:
        self._held_s = held_ms / 1000
        self._beat_at = 0.0
        self._beat_cpu = 0.0
        self._seen: str | None = None  # where the loop's thread was, while it was late
        self._timer: asyncio.TimerHandle | None = None
        self._stop = threading.Event()
        self.held = 0  # how often, so far
        self.longest_ms = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the running loop until the body has ended."""
        loop = asyncio.get_running_loop()
        watcher = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="patchbay-watch", daemon=True
        )
        self._begin(loop)
        watcher.start()
        try:
            yield
        finally:
            self._stop.set()
            if self._timer is not None:
                self._timer.cancel()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._seen = None
        self._beat_at, self._beat_cpu = _now_s(), time.thread_time()
        self._timer = loop.call_later(_BEAT_S, self._beat, loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        held_s = _now_s() - self._beat_at
        if held_s > self._held_s:  # a beat that is in time adds its own 50 ms: a hold of 200 ms is never missed
            self._tell(held_s, time.thread_time() - self._beat_cpu)
        self._begin(loop)

    def _tell(self, held_s: float, cpu_s: float) -> None:
        self.held += 1
        self.longest_ms = max(self.longest_ms, round(held_s * 1000))
        fields = {"held_ms": round(held_s * 1000), "cpu_ms": round(cpu_s * 1000), "by": self._seen or "not seen"}
        log.warning("the event loop was held: every call stood still", extra=fields)

    def _watch(self, loop_thread: int) -> None:
        while not self._stop.wait(_LOOK_S):
            if _now_s() - self._beat_at < self._held_s / 2 + _BEAT_S:
                continue
            frame = sys._current_frames().get(loop_thread)
            if frame is not None:
                self._seen = _place(frame)


def _now_s() -> float:
    return SystemClock.now_ns() / 1e9


def _place(frame: FrameType) -> str:
    """The innermost line that is no library's, and the innermost of all; without any value of a variable."""
    stack = traceback.StackSummary.extract(_up(frame), limit=_DEEPEST, lookup_lines=False)
    lines = [f"{one.filename}:{one.lineno} {one.name}" for one in stack]
    own = [line for line, one in zip(lines, stack, strict=True) if not _is_library(one.filename)]
    return lines[0] if not own or own[0] == lines[0] else f"{own[0]} in {lines[0]}"


def _up(frame: FrameType | None) -> Iterator[tuple[FrameType, int]]:
    while frame is not None:
        yield frame, frame.f_lineno
        frame = frame.f_back


def _is_library(filename: str) -> bool:
    return filename.startswith(("<", *_LIBRARIES))
