"""The `openai-agents` package's realtime session makes a call."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.client_calls import EXPECTED_CALLS, ExpectedCall, check_call, hold_call, needs_python
from peers.client_gateway import ClientGateway

pytestmark = [pytest.mark.agents_sdk, pytest.mark.timed]


@pytest.mark.parametrize("expected", EXPECTED_CALLS, ids=lambda expected: expected.agent)
def test_openai_agents(gateway: ClientGateway, tmp_path: Path, expected: ExpectedCall) -> None:
    needs_python("openai-agents")
    check_call(hold_call(gateway, "client_openai_agents.py", tmp_path, expected.agent), expected)
