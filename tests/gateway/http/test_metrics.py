"""`/metrics` of a whole gateway: who may read it, and what is read of the gateway's parts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import virtual
from support.api_world import BEARER, KEY, served
from support.calls.call_rig import later, turn
from support.calls.whole_gateway import Client, admitted, opened, wish
from support.shown_figures import shown

from gateway import __version__
from gateway.app import Gateway
from gateway.auth.requests import Refusal
from gateway.telemetry.names import FAMILIES
from gateway.telemetry.writing import CONTENT_TYPE


def test_the_figures_need_a_key_once_there_are_keys(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        for headers, code in (({}, "missing_api_key"), ({"Authorization": "Bearer wrong"}, "invalid_api_key")):
            refused = await client.get("/metrics", headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, code)
        answer = await client.get("/metrics", headers=BEARER)
        assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)
        head = await client.head("/metrics", headers=BEARER)
        assert (head.status_code, head.content) == (200, b"")

    served(tmp_path, scenario, api_keys=KEY)


def test_without_keys_nobody_but_this_machine_reads_them(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        assert (await client.get("/metrics")).status_code == 200
        refused = await client.get("/metrics", headers={"Host": "evil.example"})
        assert refused.status_code in (403, 421)

    served(tmp_path, scenario)


def test_every_family_is_there_with_its_help(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        text = (await client.get("/metrics")).text
        found = {family.name: family for family in text_string_to_metric_families(text)}
        for family in FAMILIES:
            one = found[family.name.removesuffix("_total")]
            assert (one.type, one.documentation) == (family.kind, family.help)
        assert f'patchbay_build_info{{version="{__version__}"}} 1.0\n' in text
        assert {"patchbay_ready 1.0", "patchbay_call_capacity 400.0", "patchbay_store_healthy 1.0"} <= set(
            text.splitlines()
        )

    served(tmp_path, scenario)


def test_a_live_call_is_shown_while_it_lasts_and_counted_when_it_has_ended(tmp_path: Path) -> None:
    live = {
        "patchbay_live_calls['desk', 'realtime']": 1,
        "patchbay_model_legs_open['scripted/scripts/desk.yaml']": 1,
    }

    async def main() -> None:
        async with opened(tmp_path) as gateway:
            figures = gateway.metrics.figures
            assert shown(figures, "patchbay_live", "patchbay_model", "patchbay_calls") == {}
            client = Client(gateway, await admitted(gateway, wish()))
            await later(1)
            assert shown(figures, *(name.partition("[")[0] for name in live)) == {
                **live,
                "patchbay_model_legs_opened_total['scripted/scripts/desk.yaml']": 1,
            }
            client.leg.hang_up()
            await gateway.live_calls.wait_empty()
            assert shown(figures, "patchbay_live", "patchbay_model", "patchbay_calls") == {
                "patchbay_calls_started_total['desk', 'realtime']": 1,
                "patchbay_calls_ended_total['desk', 'realtime', 'caller_hung_up']": 1,
                "patchbay_model_legs_opened_total['scripted/scripts/desk.yaml']": 1,
                "patchbay_model_dials_total['scripted/scripts/desk.yaml', 'start', 'ready']": 1,
                "patchbay_model_dial_seconds['scripted/scripts/desk.yaml']": (1, 0),
            }
            await later(1)
            written = shown(figures, "patchbay_store_write")
            assert list(written) == ["patchbay_store_write_seconds['sqlite', 'ok']"]

    virtual.run(main())


@pytest.mark.parametrize(
    ("query", "code"), [({"model": "nobody"}, "model_not_found"), ({"call_id": "x"}, "unsupported_parameter")]
)
def test_a_call_that_is_not_let_in_is_counted_once_by_the_refusals_code(
    tmp_path: Path, query: dict[str, str], code: str
) -> None:
    async def main() -> None:
        async with opened(tmp_path) as gateway:
            assert isinstance(await gateway.realtime.admit(wish(query)), Refusal)
            assert shown(gateway.metrics.figures, "patchbay_calls") == {f"patchbay_calls_refused_total['{code}']": 1}

    virtual.run(main())


def test_a_call_without_a_key_and_one_too_many_are_counted(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path, api_keys=KEY, max_calls=1) as gateway:
            keyed = wish(None, authorization=f"Bearer {KEY}")
            assert isinstance(await gateway.realtime.admit(wish()), Refusal)
            Client(gateway, await admitted(gateway, keyed))
            assert isinstance(await gateway.realtime.admit(keyed), Refusal)
            assert shown(gateway.metrics.figures, "patchbay_calls_refused") == {
                "patchbay_calls_refused_total['missing_api_key']": 1,
                "patchbay_calls_refused_total['server_full']": 1,
            }

    virtual.run(main())


def test_a_scrape_lets_calls_go_on_between_its_pieces(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        turns = 0
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(client.get("/metrics"))
            while not answer.done():
                turns += 1
                await turn()
        assert answer.result().status_code == 200
        assert turns > len(FAMILIES)

    served(tmp_path, scenario)
