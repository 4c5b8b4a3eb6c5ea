"""The `openai` package's realtime client holds a call, and lets a browser hold one."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.client_calls import TALKS, Talk, check_call, check_order, check_types, hold_call, needs_python
from peers.client_house import House

pytestmark = [pytest.mark.openai_sdk, pytest.mark.timed]


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.agent)
def test_openai_python(gateway: House, tmp_path: Path, talk: Talk) -> None:
    needs_python("openai")
    check_call(hold_call(gateway, "client_openai_python.py", tmp_path, talk.agent), talk)


def test_openai_client_secret_and_visible_tools(gateway: House, tmp_path: Path) -> None:
    from openai.types.realtime import ClientSecretCreateResponse

    needs_python("openai")
    held = hold_call(gateway, "client_openai_secret.py", tmp_path, "brisk")
    assert ClientSecretCreateResponse.model_validate(held.notes["secret"], strict=True).value.startswith("ek_")
    check_types(held)
    check_order(held)
    (call,) = [
        event["item"] for event in held.events("response.output_item.done") if event["item"]["type"] == "mcp_call"
    ]
    assert (call["name"], call["error"]) == ("list_bookings", None)
    assert "There are no bookings" in call["output"]
