"""The stall watch, which runs inside a server: how late the server's loop is, and what held it.

Between SIGUSR1 and SIGUSR2 a tick of 1 ms runs on the loop. The watch notes how late each tick is and, if 5 ms have
passed since the tick before, what held the loop. To find that out, a timer signal interrupts the loop's thread every
2 ms and notes where it is. A second thread does the same for all other threads; it cannot observe the loop's thread,
because it only runs between two steps of the loop. At the end the result is written as JSON to the file that
`BENCH_STALLS` names. So start-up and set-up are not in the result, and the server needs no code for it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
import time
from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from types import FrameType

from bench.figures import Held, LoopLateness, spread
from bench.ticker import Ticker

VARIABLE = "BENCH_STALLS"
HOOK = "from bench.stalls import install\ninstall()\n"  # for sitecustomize.py, which Python imports at start-up
TICK_S = 0.001
STALL_S = 0.005
SAMPLE_S = 0.002
MOST_NAMES = 8
WATCH_NAME = "bench-stalls"
GC_NAME = "garbage collection"  # followed by the generation
OTHER = "another thread"
THREADS_EVERY = 25  # samples; reading the clocks of all threads takes a while
LOOP_ITSELF = "the loop itself, outside Python"
CORE_TAKEN = "other processes on the server's core"
PROJECT = frozenset({"gateway", "sessions", "audio", "bench"})
WAITS = frozenset({"threading", "queue", "selectors", "concurrent.futures.thread", "asyncio.base_events"})


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds of CPU, of garbage collection and of waiting for a core, until a moment or between two moments."""

    loop_s: float  # by the loop's thread
    all_s: float  # by the whole process
    gc_s: float  # in collections of garbage
    queued_s: float  # the loop's thread was ready to run, but its core was busy

    def since(self, before: Used) -> Used:
        """What was used between `before` and this moment."""
        return Used(
            self.loop_s - before.loop_s,
            self.all_s - before.all_s,
            self.gc_s - before.gc_s,
            self.queued_s - before.queued_s,
        )


@dataclass
class Stall:
    """The samples since a tick: how often each thread was seen at each place."""

    begun_s: float
    used: Used  # until the begin
    loop_at: Counter[str] = field(default_factory=Counter)
    others_at: Counter[str] = field(default_factory=Counter)
    collected: str = ""  # the generation of the last garbage collection


def place_of(frame: FrameType | None, base: FrameType | None = None) -> str:
    """Where a thread is: the innermost function of this project, and after it the function that really runs.

    `base` is the frame in which the loop runs; a thread whose frame that is runs no Python code.
    """
    if frame is None or frame is base:
        return LOOP_ITSELF
    own: FrameType | None = frame
    while own is not None and own is not base and _module(own).partition(".")[0] not in PROJECT:
        own = own.f_back
    if own is None or own is base:
        return _name(frame)
    return _name(own) if own is frame else f"{_name(own)} > {_name(frame)}"


def blame(stall: Stall, length_s: float, used: Used) -> str:
    """The name of what held the loop during a stall of this length, with what was used meanwhile."""
    others_s = used.all_s - used.loop_s
    where = stall.loop_at.most_common(1)[0][0] if stall.loop_at else LOOP_ITSELF
    if used.gc_s > length_s / 2:
        return f"{GC_NAME}{stall.collected}"
    if others_s > used.loop_s and others_s > length_s / 4:
        return stall.others_at.most_common(1)[0][0] if stall.others_at else OTHER
    if used.queued_s > length_s / 2:
        return CORE_TAKEN
    if used.all_s < length_s / 4:
        return f"{where} (waiting)"
    return where


class StallWatch:
    """Watches one loop from its construction, on the loop's thread, until `end`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, base: FrameType | None) -> None:
        self._base = base
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._queue = _open_or_none(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._late_ms = array("d")
        self._held: dict[str, list[float]] = {}
        self._gc_s = self._gc_begun_s = 0.0
        self._begun_s = time.perf_counter()
        self._stall = Stall(self._begun_s, self._used())  # the time since the last tick, which may become a stall
        self._threads = _thread_times()
        self._over = threading.Event()
        signal.signal(signal.SIGALRM, self._on_timer)
        signal.setitimer(signal.ITIMER_REAL, SAMPLE_S, SAMPLE_S)
        gc.callbacks.append(self._on_collection)
        self._ticker = Ticker(loop, TICK_S, self._on_tick)
        self._sampler = threading.Thread(target=self._sample, name=WATCH_NAME, daemon=True)
        self._sampler.start()

    @property
    def ticks(self) -> int:
        """How many ticks there were so far."""
        return len(self._late_ms)

    def end(self) -> LoopLateness:
        """Stop, and return the result; call it on the loop's thread."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._ticker.close()
        seconds = time.perf_counter() - self._begun_s
        self._over.set()
        self._sampler.join()
        gc.callbacks.remove(self._on_collection)
        if self._queue is not None:
            os.close(self._queue)
        named = [Held(name, len(ms), round(sum(ms), 2), round(max(ms), 2)) for name, ms in self._held.items()]
        named.sort(key=lambda held: -held.total_ms)
        return LoopLateness(round(seconds, 3), spread(self._late_ms), tuple(named[:MOST_NAMES]))

    def _on_tick(self, number: int, due_s: float) -> None:
        now_s, used = time.perf_counter(), self._used()
        self._late_ms.append((now_s - due_s) * 1000)
        before, self._stall = self._stall, Stall(now_s, used)
        length_s = now_s - before.begun_s
        if length_s > STALL_S:
            name = blame(before, length_s, used.since(before.used))
            if name == OTHER:  # it ran while the sampling thread had to wait
                name = _busiest(self._threads, _thread_times()) or OTHER
            self._held.setdefault(name, []).append(length_s * 1000)

    def _on_timer(self, number: int, frame: FrameType | None) -> None:
        stall = self._stall
        if time.perf_counter() - stall.begun_s > SAMPLE_S:
            stall.loop_at[place_of(frame, self._base)] += 1

    def _sample(self) -> None:
        samples = 0
        while not self._over.wait(SAMPLE_S):
            stall, samples = self._stall, samples + 1
            if samples % THREADS_EVERY == 0:
                self._threads = _thread_times()
            if time.perf_counter() - stall.begun_s > SAMPLE_S:
                names = {thread.ident: thread.name for thread in threading.enumerate()}
                for thread, frame in sys._current_frames().items():
                    if thread not in (self._thread, threading.get_ident()) and _module(frame) not in WAITS:
                        stall.others_at[f"thread {names.get(thread, '?')}: {place_of(frame)}"] += 1

    def _on_collection(self, phase: str, info: dict[str, int]) -> None:
        now_s = time.perf_counter()
        if phase == "start":
            self._gc_begun_s = now_s
        else:
            self._gc_s += now_s - self._gc_begun_s
            self._stall.collected = f" of generation {info['generation']}"

    def _used(self) -> Used:
        queued_s = 0.0
        if self._queue is not None:
            queued_s = int(os.pread(self._queue, 80, 0).split()[1]) / 1e9
        return Used(time.clock_gettime(self._clock), time.process_time(), self._gc_s, queued_s)


def _thread_times() -> dict[int, float]:
    """The CPU seconds that each thread has used, by its native id."""
    found = {}
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/schedstat", "rb") as file:
                found[int(task)] = int(file.read().split()[0]) / 1e9
        except (OSError, IndexError):
            continue  # the thread has just ended, or this kernel does not count
    return found


def _busiest(before: dict[int, float], now: dict[int, float]) -> str | None:
    """The name of the thread that used most CPU since then, without this thread and the sampling thread."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    used = {task: spent_s - before.get(task, 0.0) for task, spent_s in now.items()}
    others = [task for task in used if task != threading.get_native_id() and names.get(task) != WATCH_NAME]
    busiest = max(others, key=lambda task: used[task], default=None)
    return None if busiest is None else f"thread {names.get(busiest, 'not of Python')}"


def _open_or_none(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # this kernel does not count it


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def _name(frame: FrameType) -> str:
    return f"{_module(frame)}:{getattr(frame.f_code, 'co_qualname', frame.f_code.co_name)}"


def install() -> None:
    """Install the signal handlers if the environment variable is set."""
    target = os.environ.pop(VARIABLE, "")  # removed, so that child processes are not watched
    if not target:
        return
    running: list[StallWatch] = []

    def begin() -> None:
        base = sys._getframe().f_back  # the loop calls this from C
        running.append(StallWatch(asyncio.get_running_loop(), base))

    def end() -> None:
        if running:
            with open(f"{target}.part", "w", encoding="utf-8") as out:
                json.dump(asdict(running.pop().end()), out)
            os.replace(f"{target}.part", target)

    def on_signal(number: int, _frame: object) -> None:
        asyncio.get_running_loop().call_soon_threadsafe(begin if number == signal.SIGUSR1 else end)

    signal.signal(signal.SIGUSR1, on_signal)
    signal.signal(signal.SIGUSR2, on_signal)
