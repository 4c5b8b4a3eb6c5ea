"""The realtime clients from npm hold a call; `openai` insists on TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.client_calls import TALKS, Talk, check_call, hold_call, needs_node
from peers.client_house import House

pytestmark = [pytest.mark.node, pytest.mark.timed]


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.agent)
def test_openai_ws(tls_gateway: House, tmp_path: Path, talk: Talk) -> None:
    needs_node("openai")
    check_call(hold_call(tls_gateway, "openai_ws.mjs", tmp_path, talk.agent), talk)


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.agent)
def test_agents_realtime(gateway: House, tmp_path: Path, talk: Talk) -> None:
    needs_node("@openai/agents-realtime")
    check_call(hold_call(gateway, "agents_realtime.mjs", tmp_path, talk.agent), talk)
