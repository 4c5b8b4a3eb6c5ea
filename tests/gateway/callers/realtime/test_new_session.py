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


@pytest.mark.parametrize(
    ("transcription", "language", "expected"),
    [
        ("", None, {"model": "gpt-4o-mini-transcribe"}),
        ("", "de", {"model": "gpt-4o-mini-transcribe", "language": "de"}),
        ("", "DE-at", {"model": "gpt-4o-mini-transcribe", "language": "de"}),
        ("", "gsw-CH", {"model": "gpt-4o-mini-transcribe"}),
        ("{model: whisper-1, prompt: Boats.}", "fr", {"model": "whisper-1", "prompt": "Boats.", "language": "fr"}),
        ("{model: whisper-1, language: en}", "fr", {"model": "whisper-1", "language": "en"}),
        ("{model: whisper-1, language: }", "fr", {"model": "whisper-1", "language": "fr"}),
    ],
)
def test_the_language_of_a_call_is_a_hint_to_its_transcription_unless_the_agents_file_has_one(
    tmp_path: Path, transcription: str, language: str | None, expected: dict[str, str]
) -> None:
    async def main(gateway: Gateway) -> None:
        agent = gateway.agents.get("numbered")
        assert agent is not None
        caller = CallerFacts.of("+4930", "+4989", language=language)
        session = session_with(agent, gateway.admission.toolbox_for(agent), "sess_9", caller, SystemClock())
        audio: Any = session.as_model_gets()["audio"]
        assert audio["input"]["transcription"] == expected

    within(tmp_path, main, files={"numbered.yaml": f"{NUMBERED}transcription: {transcription}\n"})


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
