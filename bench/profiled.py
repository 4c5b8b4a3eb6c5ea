"""The part of `bench profile` that runs inside the server: cProfile, started and stopped by signals.

SIGUSR1 starts the profile of the main thread. SIGUSR2 ends it and writes it to the file that `BENCH_PROFILE` names. So
start-up and set-up are not in the profile, and the server needs no code for it and no clean end.
"""

from __future__ import annotations

import cProfile
import os
import signal

VARIABLE = "BENCH_PROFILE"
HOOK = "from bench.profiled import install\ninstall()\n"  # for sitecustomize.py, which Python imports at start-up


def install() -> None:
    """Install the signal handlers if the environment variable is set."""
    target = os.environ.pop(VARIABLE, "")  # removed, so that child processes are not profiled
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
