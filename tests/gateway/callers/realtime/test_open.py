"""From a Realtime client's request to its running call: who is refused, and what the client is sent first."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.calls.call_rig import later
from support.calls.whole_gateway import Client, admitted, wish, within

from gateway.app import Gateway
from gateway.auth.client_secrets import ClientSecrets, derive_signing_key
from gateway.auth.requests import Refusal
from gateway.callers.realtime.open import asks_for_beta
from sessions.stores.documents import SESSION_ID, session_from_document

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ({"model": "nobody"}, {}, (404, "model_not_found")),
        ({"model": ""}, {}, (404, "model_not_found")),
        ({"model": "locked"}, {}, (503, "agent_unavailable")),
        ({"intent": "transcription"}, {}, (400, "unsupported_parameter")),
        ({"call_id": "rtc_1"}, {}, (400, "unsupported_parameter")),
        ({}, {"origin": "https://evil.example"}, (403, "origin_not_allowed")),
        ({}, {"openai-beta": "realtime=v1"}, (400, "beta_api_shape_disabled")),
        ({}, {"authorization": "Bearer ek_AAAA"}, (401, "invalid_client_secret")),
    ],
)
def test_a_refusal_opens_and_counts_nothing(
    tmp_path: Path, query: dict[str, str], headers: dict[str, str], expected: tuple[int, str]
) -> None:
    async def main(gateway: Gateway) -> None:
        refusal = await gateway.realtime.admit(wish(query, **headers))
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.code) == expected
        assert (gateway.admission.model_legs_opened, len(gateway.live_calls)) == (0, 0)
        gateway.realtime.release(await admitted(gateway, wish()))  # the only place is free

    within(tmp_path, main, max_calls=1)


def test_only_the_beta_of_this_protocol_is_refused() -> None:
    assert asks_for_beta(wish(**{"openai-beta": "assistants=v2, realtime=v1"}))
    assert not asks_for_beta(wish(**{"openai-beta": "assistants=v2"}))


def test_a_client_is_told_how_an_agent_is_named(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        refusal = await gateway.realtime.admit(wish({"model": "nobody"}))
        assert isinstance(refusal, Refusal)
        assert "?model=" in refusal.message

    within(tmp_path, main)


def test_defaults_that_do_not_fit_refuse_the_client_and_free_its_place(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        defaults = {"type": "realtime", "max_output_tokens": -1}
        secrets = ClientSecrets(derive_signing_key(b"house" * 8))
        odd, _ = secrets.mint(tenant="default", agent="desk", session=defaults, now_s=1_900_000_000.0)
        refusal = await gateway.realtime.admit(wish(authorization=f"Bearer {odd}"))
        assert isinstance(refusal, Refusal)
        assert refusal.status == 400
        assert "max_output_tokens" in refusal.message
        gateway.realtime.release(await admitted(gateway, wish()))

    within(tmp_path, main, max_calls=1, client_secret_key="house" * 8)


def test_a_client_is_greeted_by_the_protocol_before_the_model_is_there(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        client = Client(gateway, await admitted(gateway, wish()))
        assert client.kinds() == ["session.created"]
        assert gateway.admission.model_legs_opened == 0
        session = client.told[0]["session"]
        assert (session["model"], session["instructions"]) == ("desk", "")
        live = gateway.live_calls.find("default", session["id"])
        assert live is not None
        assert (live.protocol, live.agent, live.running.call.caller.number) == ("realtime", "desk", None)
        await later(1)
        assert gateway.admission.model_legs_opened == 1
        assert "Zanzibar" not in str(client.told)
        client.leg.hang_up()
        await gateway.live_calls.wait_empty()

    within(tmp_path, main)


@pytest.mark.parametrize(("header", "kept"), [(TRACE, TRACE), ("00-call-me", ""), (None, "")])
def test_the_record_has_the_clients_own_trace_if_it_is_well_formed(
    tmp_path: Path, header: str | None, kept: str
) -> None:
    async def main(gateway: Gateway) -> None:
        request = wish() if header is None else wish(traceparent=header)
        client = Client(gateway, await admitted(gateway, request), request)
        session_id = client.told[0]["session"]["id"]
        await later(1)
        client.leg.hang_up()
        await gateway.live_calls.wait_empty()
        await gateway.write_behind.flush("default", session_id)
        record = session_from_document(await gateway.store.get("default", session_id, SESSION_ID))
        assert record.setup.traceparent == kept

    within(tmp_path, main)


def test_a_greeting_is_spoken_to_who_asks_for_it(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        silent = Client(gateway, await admitted(gateway, wish()))
        greeted = Client(gateway, await admitted(gateway, wish({"greeting": "1"})))
        await later(3)
        assert "response.created" not in silent.kinds()
        said = [event["transcript"] for event in greeted.told if event["type"].endswith("audio_transcript.done")]
        assert said == ["Hello there."]
        silent.leg.hang_up()
        greeted.leg.drop()
        await gateway.live_calls.wait_empty()

    within(tmp_path, main)


def test_calls_are_told_goodbye_when_the_gateway_closes(tmp_path: Path) -> None:
    clients: list[Client] = []

    async def main(gateway: Gateway) -> None:
        clients.append(Client(gateway, await admitted(gateway, wish())))
        await later(1)

    within(tmp_path, main)
    assert clients[0].closed == [(1001, "the server is going down")]
