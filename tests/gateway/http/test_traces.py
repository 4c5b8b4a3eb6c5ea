"""The API shows where the traces of a call and of its turns are."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from support.api_world import served
from support.virtual import run

from gateway.app import Gateway
from gateway.config.settings import SettingsError, load_settings
from gateway.telemetry.spans.ids import call_trace, turn_trace


def test_a_session_and_its_turns_have_the_ids_of_their_traces_and_a_link(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        call, turn = call_trace("sess_a").hex(), turn_trace("sess_a", 0).hex()
        session = (await client.get("/api/v1/sessions/sess_a")).json()
        assert session["trace"] == {"trace_id": call, "url": f"https://traces.example/sess_a/{call}"}
        assert (await client.get("/api/v1/sessions")).json()["sessions"][0]["trace"] == session["trace"]
        [shown] = (await client.get("/api/v1/sessions/sess_a/transcript")).json()["turns"]
        assert shown["trace"] == {"trace_id": turn, "url": f"https://traces.example/sess_a/{turn}"}

    served(tmp_path, scenario, run, trace_url="https://traces.example/{session_id}/{trace_id}")


def test_where_a_trace_is_a_call_its_turns_have_the_same_one_and_without_a_template_no_link(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        trace = {"trace_id": call_trace("sess_a").hex(), "url": None}
        assert (await client.get("/api/v1/sessions/sess_a")).json()["trace"] == trace
        [turn] = (await client.get("/api/v1/sessions/sess_a/transcript")).json()["turns"]
        assert turn["trace"] == trace

    served(tmp_path, scenario, run, telemetry={"trace": "call"})


@pytest.mark.parametrize(
    "template",
    [
        "traces.example/{trace_id}",
        "ftp://host/{trace_id}",
        "https://host/",
        "https://host/{trace_id}/{turn}",
        "https://",
    ],
)
def test_a_template_that_is_no_link_stops_the_start(template: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PATCHBAY_TRACE_URL"):
        load_settings({"PATCHBAY_TRACE_URL": template}, tmp_path)
