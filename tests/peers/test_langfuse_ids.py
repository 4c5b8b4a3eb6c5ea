"""The ids of traces are those that langfuse computes, so that a score finds its call by the session's id alone."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from gateway.telemetry.spans.ids import call_trace, turn_trace

pytestmark = [
    pytest.mark.langfuse,
    pytest.mark.skipif(find_spec("langfuse") is None, reason="langfuse is not installed: pip install langfuse"),
]


def test_langfuse_computes_the_same_ids() -> None:
    sessions = ["sess_1", "sess_0f3a", "ünïcode", "x" * 300]
    seeds = [*sessions, *(f"{session}/{index}" for session in sessions for index in (0, 7, 200))]
    script = (
        "import sys; from langfuse import Langfuse; "
        f"sys.stdout.write(' '.join(Langfuse.create_trace_id(seed=seed) for seed in {seeds!r}))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    own = [call_trace(session) for session in sessions]
    own += [turn_trace(session, index) for session in sessions for index in (0, 7, 200)]
    assert found.stdout.split() == [trace.hex() for trace in own]
