"""The `openai` package's realtime client makes a call, and creates a client secret for a browser's call."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.client_calls import (
    EXPECTED_CALLS,
    ExpectedCall,
    check_call,
    check_order,
    check_types,
    hold_call,
    needs_python,
)
from peers.client_gateway import ClientGateway

pytestmark = [pytest.mark.openai_sdk, pytest.mark.timed]


@pytest.mark.parametrize("expected", EXPECTED_CALLS, ids=lambda expected: expected.agent)
def test_openai_python(gateway: ClientGateway, tmp_path: Path, expected: ExpectedCall) -> None:
    needs_python("openai")
    check_call(hold_call(gateway, "client_openai_python.py", tmp_path, expected.agent), expected)


def test_openai_client_secret_and_visible_tools(gateway: ClientGateway, tmp_path: Path) -> None:
    from openai.types.realtime import ClientSecretCreateResponse

    needs_python("openai")
    finished = hold_call(gateway, "client_openai_secret.py", tmp_path, "brisk")
    assert ClientSecretCreateResponse.model_validate(finished.notes["secret"], strict=True).value.startswith("ek_")
    check_types(finished)
    check_order(finished)
    (call,) = [
        event["item"] for event in finished.events("response.output_item.done") if event["item"]["type"] == "mcp_call"
    ]
    assert (call["name"], call["error"]) == ("list_bookings", None)
    assert "There are no bookings" in call["output"]
