"""Langfuse's own client against the receiver of our tests, so that the receiver asks for what that client sends."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from peers.langfuse_receiver import KEYS, langfuse_receiving
from peers.server_process import serving
from peers.test_telemetry_langfuse import AUDIO, quick_call, recorded, score, wait_for

pytestmark = [
    pytest.mark.sockets,
    pytest.mark.langfuse,
    pytest.mark.skipif(find_spec("langfuse") is None, reason="langfuse is not installed: pip install langfuse"),
]
# What its client does for a score of a session, and for sound in the output of an observation.
SCRIPT = """
from langfuse import Langfuse
from langfuse.media import LangfuseMedia
client = Langfuse()
client.create_score(name="booked", value=1, data_type="BOOLEAN", session_id="sess_1", score_id="id_1", comment="fine")
with client.start_as_current_observation(name="turn") as span:
    span.update(output=LangfuseMedia(content_bytes=b"OggS and more", content_type="audio/ogg"))
client.shutdown()
"""


def python(script: str, **env: str) -> None:
    """Run a script with Langfuse's client in it."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_our_requests_are_those_of_langfuses_client(tmp_path: Path) -> None:
    with langfuse_receiving() as theirs:
        python(SCRIPT, **KEYS, LANGFUSE_BASE_URL=theirs.receiver.url, NO_PROXY="*")
    with (
        langfuse_receiving() as ours,
        serving(tmp_path, LANGFUSE_BASE_URL=ours.receiver.url, **KEYS, **AUDIO) as server,
    ):
        session = quick_call(server)
        recorded(server, session)
        score(server, session, "booked", True, "fine")
        wait_for(server, "scores", "sent", 1)
        wait_for(server, "audio", "sent", 2)
    assert (theirs.faults, ours.faults) == ([], [])
    (their_score,), (our_score,) = theirs.posted[0], ours.posted[0]
    assert set(our_score) - {"timestamp"} == set(their_score) - {"environment", "timestamp"}
    assert {name: our_score[name] for name in ("name", "value", "dataType", "comment")} == {
        name: their_score[name] for name in ("name", "value", "dataType", "comment")
    }
    their_media = {name for name, value in theirs.asked[0].items() if value is not None}
    assert their_media == set(ours.asked[0])
    assert (len(theirs.files), len(ours.files)) == (1, 2)
    assert set(ours.reports[0]) <= set(theirs.reports[0])
