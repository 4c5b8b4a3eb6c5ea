"""A session before its client has sent anything: rendered for its caller, or made for a client secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.calls.whole_gateway import within

from gateway.app import Gateway
from gateway.callers.realtime.new_session import session_with
from gateway.clock import SystemClock
from sessions.caller_facts import CallerFacts
from sessions.errors import WireError

NUMBERED = "model: scripted/scripts/desk.yaml\ninstructions: '{caller.number} calls {caller.called}.'\n"


def test_a_session_is_made_for_its_caller(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        agent = gateway.agents.get("numbered")
        assert agent is not None
        toolbox = gateway.admission.toolbox_for(agent)
        session = session_with(agent, toolbox, "sess_9", CallerFacts.of("+4930", "+4989"), SystemClock())
        assert session.session_id == "sess_9"
        assert session.as_model_gets()["instructions"] == "+4930 calls +4989."

    within(tmp_path, main, files={"numbered.yaml": NUMBERED})


def test_a_client_secret_brings_its_agent_and_its_defaults(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        secret = gateway.secret_session({"type": "realtime", "model": "desk", "max_output_tokens": 50})
        assert (secret.agent, secret.shown["max_output_tokens"]) == ("desk", 50)
        assert secret.defaults == {"type": "realtime", "max_output_tokens": 50}
        only = gateway.secret_session({})  # the other agent cannot be called
        assert (only.agent, only.defaults, only.shown["model"]) == ("desk", None, "desk")
        wishes: list[tuple[dict[str, Any], str]] = [
            ({"type": "realtime", "model": "nobody"}, "session.model"),
            ({"type": "realtime", "max_output_tokens": -1}, "session.max_output_tokens"),
        ]
        for wish_for_one, param in wishes:
            with pytest.raises(WireError) as problem:
                gateway.secret_session(wish_for_one)
            assert problem.value.param == param

    within(tmp_path, main)
