"""Pipecat's `OpenAIRealtimeLLMService` holds a call."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.client_calls import TALKS, Talk, check_call, hold_call, needs_python
from peers.client_house import House

pytestmark = [pytest.mark.pipecat, pytest.mark.timed]


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.agent)
def test_pipecat(gateway: House, tmp_path: Path, talk: Talk) -> None:
    needs_python("pipecat-ai")
    check_call(hold_call(gateway, "client_pipecat.py", tmp_path, talk.agent), talk)
