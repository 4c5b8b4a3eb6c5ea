"""The inside half of `bench profile` without py-spy: cProfile in the server itself, switched by signals.

SIGUSR1 starts the profile of the main thread, SIGUSR2 ends it and writes it to the file that `BENCH_PROFILE` names. So
start-up and set-up stay out of it, and the server need not know or end well.
"""

from __future__ import annotations

import cProfile
import os
import signal

VARIABLE = "BENCH_PROFILE"
HOOK = "from bench.profiled import install\ninstall()\n"  # as sitecustomize.py, which Python imports by itself


def install() -> None:
    """Wait for the signals, where the environment asks for it."""
    target = os.environ.pop(VARIABLE, "")  # popped: the server's own children are not profiled
    if not target:
        return
    profile = cProfile.Profile()

    def begin(_number: int, _frame: object) -> None:
        profile.enable()

    def end(_number: int, _frame: object) -> None:
        profile.disable()
        profile.dump_stats(f"{target}.part")
        os.replace(f"{target}.part", target)

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
