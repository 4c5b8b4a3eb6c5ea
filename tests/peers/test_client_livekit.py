"""LiveKit's `openai.realtime.RealtimeModel` makes a call, in an agent session that starts with a history."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.client_calls import EXPECTED_CALLS, ExpectedCall, check_call, hold_call, needs_python
from peers.client_gateway import ClientGateway

pytestmark = [pytest.mark.livekit, pytest.mark.timed]


@pytest.mark.parametrize("expected", EXPECTED_CALLS, ids=lambda expected: expected.agent)
def test_livekit(gateway: ClientGateway, tmp_path: Path, expected: ExpectedCall) -> None:
    needs_python("livekit-agents", "livekit-plugins-openai")
    # LiveKit also cancels responses that the server has already cancelled.
    check_call(
        hold_call(gateway, "client_livekit.py", tmp_path, expected.agent),
        expected,
        frozenset({"response_cancel_not_active"}),
    )
