"""The realtime clients from npm make a call; `openai` requires TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.client_calls import EXPECTED_CALLS, ExpectedCall, check_call, hold_call, needs_node
from peers.client_gateway import ClientGateway

pytestmark = [pytest.mark.node, pytest.mark.timed]


@pytest.mark.parametrize("expected", EXPECTED_CALLS, ids=lambda expected: expected.agent)
def test_openai_ws(tls_gateway: ClientGateway, tmp_path: Path, expected: ExpectedCall) -> None:
    needs_node("openai")
    check_call(hold_call(tls_gateway, "openai_ws.mjs", tmp_path, expected.agent), expected)


@pytest.mark.parametrize("expected", EXPECTED_CALLS, ids=lambda expected: expected.agent)
def test_agents_realtime(gateway: ClientGateway, tmp_path: Path, expected: ExpectedCall) -> None:
    needs_node("@openai/agents-realtime")
    check_call(hold_call(gateway, "agents_realtime.mjs", tmp_path, expected.agent), expected)
