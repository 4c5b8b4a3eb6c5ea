"""How much of the processor programs have taken, as Linux counts it. Source: proc(5)."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """The processor time of a program and of those that it has started, in seconds; 0.0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = [
            child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except FileNotFoundError:
        return 0.0
    own = sum(map(int, fields[11:15]))  # of its threads, and of children that have ended
    return own / TICKS_PER_S + sum(cpu_s(int(child)) for child in children)
