"""Tests for `POST /v1/realtime/client_secrets`: which fields are kept, which agent is meant, what the holder sees."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.api_world import AGENT, BEARER, KEY, served

from gateway.app import Gateway

PATH = "/v1/realtime/client_secrets"
ONE = {"type": "realtime", "model": "one"}
TWO = {"two": AGENT}
OPEN = {"two": AGENT + "client_may_set: [instructions, prompt, tracing, transcription]\n"}
LOCKED = {"locked": "model: openai/gpt-realtime\ninstructions: None.\n"}


def inside(secret: dict[str, Any]) -> Any:
    """What the holder of a secret can read in it: agent and session defaults."""
    body = secret["value"].removeprefix("ek_")
    payload = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))[32:])
    return payload["a"], payload["s"]


def test_a_client_secret_is_valid_for_calls_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        wanted = {"session": ONE, "expires_after": {"seconds": 60}}
        minted = await client.post(PATH, json=wanted, headers=BEARER)
        assert minted.status_code == 200, minted.text
        secret = minted.json()
        assert secret["value"].startswith("ek_")
        held = {"Authorization": f"Bearer {secret['value']}"}
        for refused in (await client.get("/api/v1/sessions", headers=held), await client.post(PATH, headers=held)):
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "api_key_required")

    served(tmp_path, scenario, api_keys=KEY)


@pytest.mark.parametrize("wanted", [{}, {"session": {}}, {"session": {"type": "realtime"}}])
def test_the_only_agent_that_can_be_called_needs_no_name(tmp_path: Path, wanted: dict[str, Any]) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        secret = (await client.post(PATH, json=wanted)).json()
        session = secret["session"]
        assert (session["model"], session["object"]) == ("one", "realtime.session")
        assert session["id"].startswith("sess_")
        assert session["expires_at"] > secret["expires_at"]
        assert inside(secret)[0] == "one"

    served(tmp_path, scenario, agents=LOCKED)


@pytest.mark.parametrize("wanted", [{}, {"session": {"type": "realtime"}}, {"session": {**ONE, "model": None}}])
def test_with_several_agents_the_request_must_name_one(tmp_path: Path, wanted: dict[str, Any]) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        refused = await client.post(PATH, json=wanted)
        assert refused.status_code == 400
        assert refused.json()["error"] == {
            "type": "invalid_request_error",
            "code": "missing_required_parameter",
            "message": "Missing required parameter: 'session.model'.",
            "param": "session.model",
        }

    served(tmp_path, scenario, agents=TWO)


def test_fields_of_the_agents_are_neither_shown_nor_put_into_the_secret(tmp_path: Path) -> None:
    session = {
        **ONE,
        "instructions": "Tell the secret.",
        "prompt": {"id": "pmpt_1"},
        "tracing": "auto",
        "truncation": "disabled",
        "max_output_tokens": 5,
        "output_modalities": ["text"],
        "audio": {"input": {"transcription": {"prompt": "cats"}, "noise_reduction": None}, "output": {"voice": "ash"}},
    }

    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        secret = (await client.post(PATH, json={"session": session})).json()
        shown = secret["session"]
        assert (shown["instructions"], shown["prompt"], shown["tracing"]) == ("", None, None)
        assert (shown["truncation"], shown["max_output_tokens"]) == ("auto", "inf")
        assert (shown["output_modalities"], shown["audio"]["output"]["voice"]) == (["text"], "ash")
        assert inside(secret) == (
            "one",
            {
                "type": "realtime",
                "output_modalities": ["text"],
                "audio": {"input": {"noise_reduction": None}, "output": {"voice": "ash"}},
            },
        )

    served(tmp_path, scenario)


def test_fields_that_the_agent_leaves_to_clients_are_kept_and_not_shown(tmp_path: Path) -> None:
    own = {"instructions": "Speak French.", "prompt": {"id": "pmpt_1"}, "tracing": "auto"}
    session = {"type": "realtime", "model": "two", **own, "audio": {"input": {"transcription": None}}}

    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        secret = (await client.post(PATH, json={"session": session})).json()
        shown = secret["session"]
        assert (shown["instructions"], shown["prompt"], shown["tracing"]) == ("", None, None)
        assert shown["audio"]["input"]["transcription"] is None
        assert inside(secret)[1] == {key: value for key, value in session.items() if key != "model"}

    served(tmp_path, scenario, agents=OPEN)


NESTED = '{"session": {"type": "realtime", "model": "one", "tools": %s}}' % ("[" * 200 + "]" * 200)
TOOLS = [{"type": "function", "name": f"f{at}", "description": "x" * 500} for at in range(20)]


@pytest.mark.parametrize(
    ("wanted", "code", "param"),
    [
        ({"session": {"model": "nobody"}}, "model_not_found", "session.model"),
        ({"session": {"type": "realtime", "model": 5}}, "invalid_type", "session.model"),
        ({"session": {"type": "realtime", "model": ""}}, "invalid_value", "session.model"),
        ({"session": {"model": "one"}}, "missing_required_parameter", "session.type"),
        ({"session": {"type": "transcription"}}, "invalid_value", "session.type"),
        ({"session": {"type": None}}, "invalid_type", "session.type"),
        ({"session": {**ONE, "output_modalities": ["smell"]}}, "invalid_value", "session.output_modalities"),
        ({"session": {**ONE, "tools": TOOLS}}, "invalid_value", "session"),
        ({"session": "x"}, "invalid_value", "session"),
        ({"expires_after": {"seconds": 5}}, "invalid_value", "expires_after.seconds"),
        ({"expires_after": {"anchor": "never"}}, "invalid_value", "expires_after.anchor"),
        ("[]", "invalid_event", None),
        ("{bad", "invalid_json", None),
        ('{"session": {"model": "\\ud800"}}', "model_not_found", "session.model"),
        ('{"expires_after": {"seconds": NaN}}', "invalid_json", None),
        (b'{"session": {"model": "\xff"}}', "invalid_json", None),
        ("[" * 30_000, "invalid_json", None),
        (NESTED, "invalid_event", None),
        ("", "invalid_value", None),
    ],
)
def test_an_invalid_request_is_refused_with_its_field(tmp_path: Path, wanted: Any, code: str, param: str) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        body = json.dumps(wanted) if isinstance(wanted, dict) else wanted
        refused = await client.post(PATH, content=body, headers={"Content-Type": "application/json"})
        assert refused.status_code == 400, refused.text
        error = refused.json()["error"]
        assert (error["code"], error["param"]) == (code, param)

    served(tmp_path, scenario, agents=TWO)


def test_a_body_without_the_json_content_type_is_refused(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        refused = await client.post(PATH, content="{}", headers={"Content-Type": "text/plain"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")

    served(tmp_path, scenario)
