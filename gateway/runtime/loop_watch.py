"""Notices when something blocks the event loop, which stops the sound of all calls, and logs which code it was.

A timer in the loop records the time every 50 ms, and a thread checks that it does. If it does not, the thread reads
which line the loop's thread executes. The CPU time that was used meanwhile tells a long computation from a blocking
call, and both from a machine that gave the process no time.
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

HELD_MS = 200  # a longer block is logged
_BEAT_S = 0.05
_CHECK_S = 0.04
_MAX_FRAMES = 40  # stack frames that are read of the loop's thread
_LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))


class LoopWatch:
    """Watches the event loop in which `watching` is entered."""

    def __init__(self, *, held_ms: int = HELD_MS) -> None:
        self._held_s = held_ms / 1000
        self._beat_at = 0.0
        self._beat_cpu = 0.0
        self._seen: str | None = None  # the line that the loop's thread executed while the timer was late
        self._timer: asyncio.TimerHandle | None = None
        self._stop = threading.Event()
        self.held = 0  # number of blocks so far
        self.longest_ms = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the running loop while the `with` body runs."""
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
        # `held_s` includes the timer's own 50 ms, so a block of 200 ms is never missed.
        if held_s > self._held_s:
            self._report(held_s, time.thread_time() - self._beat_cpu)
        self._begin(loop)

    def _report(self, held_s: float, cpu_s: float) -> None:
        self.held += 1
        self.longest_ms = max(self.longest_ms, round(held_s * 1000))
        fields = {"held_ms": round(held_s * 1000), "cpu_ms": round(cpu_s * 1000), "by": self._seen or "not seen"}
        log.warning("the event loop was blocked; the sound of all calls stopped meanwhile", extra=fields)

    def _watch(self, loop_thread: int) -> None:
        while not self._stop.wait(_CHECK_S):
            if _now_s() - self._beat_at < self._held_s / 2 + _BEAT_S:
                continue
            frame = sys._current_frames().get(loop_thread)
            if frame is not None:
                self._seen = _place(frame)


def _now_s() -> float:
    return SystemClock.now_ns() / 1e9


def _place(frame: FrameType) -> str:
    """The innermost line outside the libraries, and the innermost line of all; no values of variables."""
    stack = traceback.StackSummary.extract(_up(frame), limit=_MAX_FRAMES, lookup_lines=False)
    lines = [f"{one.filename}:{one.lineno} {one.name}" for one in stack]
    own = [line for line, one in zip(lines, stack, strict=True) if not _is_library(one.filename)]
    return lines[0] if not own or own[0] == lines[0] else f"{own[0]} in {lines[0]}"


def _up(frame: FrameType | None) -> Iterator[tuple[FrameType, int]]:
    while frame is not None:
        yield frame, frame.f_lineno
        frame = frame.f_back


def _is_library(filename: str) -> bool:
    return filename.startswith(("<", *_LIBRARIES))
