"""LiveKit's `openai.realtime.RealtimeModel` holds a call, in an agent session that brings a history along."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.client_calls import TALKS, Talk, check_call, hold_call, needs_python
from peers.client_house import House

pytestmark = [pytest.mark.livekit, pytest.mark.timed]


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.agent)
def test_livekit(gateway: House, tmp_path: Path, talk: Talk) -> None:
    needs_python("livekit-agents", "livekit-plugins-openai")
    # It cancels by itself what the server has cancelled already.
    check_call(
        hold_call(gateway, "client_livekit.py", tmp_path, talk.agent), talk, frozenset({"response_cancel_not_active"})
    )
