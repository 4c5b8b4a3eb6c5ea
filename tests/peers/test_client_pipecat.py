"""Pipecat's `OpenAIRealtimeLLMService` makes a call."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.client_calls import EXPECTED_CALLS, ExpectedCall, check_call, hold_call, needs_python
from peers.client_gateway import ClientGateway

pytestmark = [pytest.mark.pipecat, pytest.mark.timed]


@pytest.mark.parametrize("expected", EXPECTED_CALLS, ids=lambda expected: expected.agent)
def test_pipecat(gateway: ClientGateway, tmp_path: Path, expected: ExpectedCall) -> None:
    needs_python("pipecat-ai")
    check_call(hold_call(gateway, "client_pipecat.py", tmp_path, expected.agent), expected)
