"""The `openai-agents` package's realtime session holds a call."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.client_calls import TALKS, Talk, check_call, hold_call, needs_python
from peers.client_house import House

pytestmark = [pytest.mark.agents_sdk, pytest.mark.timed]


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.agent)
def test_openai_agents(gateway: House, tmp_path: Path, talk: Talk) -> None:
    needs_python("openai-agents")
    check_call(hold_call(gateway, "client_openai_agents.py", tmp_path, talk.agent), talk)
