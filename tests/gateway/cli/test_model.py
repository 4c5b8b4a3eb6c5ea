"""Who may connect to a model that is served by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.auth.requests import Fields, Headers, Refusal, UpgradeRequest
from gateway.cli.model import ModelHost, model_entrance, serve_model
from gateway.clock import SystemClock
from gateway.config.settings import Settings
from gateway.realtime.server.server import RealtimeServer

KEY = "k-quokka-0001"


class Refusing:
    """An engine whose script refuses the first connection."""

    def refuses(self, attempt: int) -> int | None:
        return 429 if attempt == 0 else None

    def server(self, emit: Callable[[bytes], None], on_drop: Callable[[], None], attempt: int) -> RealtimeServer:
        raise AssertionError("nobody is let in here")


def answer(model: ModelHost, peer: str = "127.0.0.1", *, secure: bool = False, **headers: str) -> int | str:
    """The number of the attempt that is accepted, or the refusal's status code."""
    sent = {"host": "127.0.0.1:8090", **headers}
    request = UpgradeRequest("/v1/realtime", Fields(()), Headers(sent.items()), (), peer, secure)
    found = asyncio.run(model.admit(request))
    return found.code if isinstance(found, Refusal) else found


def open_host(settings: Settings, address: str = "127.0.0.1") -> ModelHost:
    clock = SystemClock()
    return ModelHost(Refusing(), clock, model_entrance(settings, address, clock))


def test_without_keys_only_this_machine_and_no_foreign_page_may_connect() -> None:
    host = open_host(Settings())
    assert answer(host, origin="https://evil.example") == "origin_not_allowed"
    assert answer(host, host="evil.example:8090") == "host_not_allowed"
    assert answer(host, "192.0.2.7") == "tls_required"
    assert host.dials == 0
    assert answer(host) == "refused_by_script"
    assert answer(host, origin="http://127.0.0.1:8090") == 1
    assert answer(host, authorization="Bearer any-will-do") == 2


def test_with_keys_a_client_must_send_one() -> None:
    host = open_host(Settings(api_keys=KEY), "0.0.0.0")
    assert answer(host) == "missing_api_key"
    assert answer(host, authorization="Bearer other") == "invalid_api_key"
    assert answer(host, authorization="Bearer ek_other") == "invalid_client_secret"
    assert answer(host, "192.0.2.7", authorization=f"Bearer {KEY}") == "tls_required"
    assert host.dials == 0
    assert answer(host, "192.0.2.7", secure=True, authorization=f"Bearer {KEY}") == "refused_by_script"


def test_without_keys_it_listens_on_this_machine_only() -> None:
    with pytest.raises(ValueError, match=r"--host: without API keys .*'0\.0\.0\.0'; give --key"):
        serve_model(Settings(), script=Path("never-read.yaml"), agent=None, host="0.0.0.0", port=0)


def test_only_an_agent_on_the_local_model_can_be_served(tmp_path: Path) -> None:
    (tmp_path / "cloud.yaml").write_text("model: openai/gpt-realtime\n")
    settings = Settings(agents_dir=tmp_path)
    with pytest.raises(ValueError, match="--agent: cloud is on openai/gpt-realtime; name an agent on local/offline"):
        serve_model(settings, script=None, agent="cloud", host="127.0.0.1", port=0)
    with pytest.raises(ValueError, match="--agent: there is no agent 'nobody'"):
        serve_model(settings, script=None, agent="nobody", host="127.0.0.1", port=0)
