"""A call on the scripted model whose budget is used up, in a whole gateway: what its client is sent, and its record."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.calls.call_driver import pcm
from support.calls.call_rig import later
from support.calls.whole_gateway import Client, admitted, wish, within

from gateway.app import Gateway
from sessions.stores.documents import TURN, session_from_document, turn_from_document

GOODBYE = "We have to stop here. Goodbye."
AGENT = f"""
model: scripted/scripts/paid.yaml
instructions: None.
limits: {{cost_usd: 0.0050}}
budget_goodbye: {GOODBYE}
turn_detection: %s
tools: [{{function: wait}}]
"""
# An answer costs 20 x 0.00001 + 30 x 0.00006 = 0.002 dollars.
SCRIPT = """
model: paid
usage: {input_text: 20, output_audio: 30}
turns:
  - {say: One.}
  - {say: Two.}
  - {say: Three.%s}
otherwise: {say: And more and more.}
"""
PRICES = """
version: test-1
models:
  - provider: scripted
    model: "scripts/paid*"
    text: {input: 10, cached: 1, output: 0}
    audio: {input: 0, cached: 0, output: 60}
    source: this test
    date: 2026-12-01
"""
PLUGIN = """
import asyncio
from patchbay import tool


@tool
async def wait() -> str:
    \"\"\"Wait for a while.\"\"\"
    await asyncio.sleep(3)
    return "done"
"""


def spoken(client: Client) -> list[str]:
    """The transcripts of the answers that were given whole."""
    return [event["transcript"] for event in client.told if event["type"] == "response.output_audio_transcript.done"]


def paid(tmp_path: Path, main: Any, *, vad: bool = False, script: str = "") -> None:
    """A gateway with a paid agent, `desk`."""
    (tmp_path / "prices.yaml").write_text(PRICES)
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "waiting.py").write_text(PLUGIN)
    detection = "{type: server_vad, silence_ms: 200}" if vad else "none"
    files = {"desk.yaml": AGENT % detection, "scripts/paid.yaml": SCRIPT % script}
    within(tmp_path, main, files=files, prices=tmp_path / "prices.yaml", plugins_dir=plugins)


async def record(gateway: Gateway) -> tuple[Any, list[Any]]:
    """The only session of the store, and its turns."""
    await later(2_000 / 1000)
    (document,) = (await gateway.store.sessions("default", limit=10, after=None)).items
    turns = await gateway.store.query("default", str(document["session_id"]), TURN)
    return session_from_document(document), [turn_from_document(turn) for turn in turns]


async def asks(client: Client, *, ms: int = 3_000) -> None:
    client.leg.send(orjson.dumps({"type": "response.create", "event_id": "mine"}))
    await later(ms / 1000)


def test_a_client_hears_the_goodbye_and_the_call_ends_within_one_response_of_its_budget(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(gateway: Gateway) -> None:
        client = Client(gateway, await admitted(gateway, wish()))
        await later(100 / 1000)
        with caplog.at_level(logging.WARNING):
            for ms in (3_000, 3_000, 300):
                await asks(client, ms=ms)
        assert spoken(client) == ["One.", "Two.", "Three.", GOODBYE]
        assert not client.closed
        await asks(client, ms=100)
        refused = [event["error"] for event in client.told if event["type"] == "error"]
        assert [(error["code"], error["event_id"]) for error in refused] == [("budget_reached", "mine")]
        await later(10_000 / 1000)
        assert client.closed
        session, turns = await record(gateway)
        assert session.summary.end_reason == "budget"
        assert session.prices.endswith("+test-1")
        # Three answers and the goodbye, which the script prices like any answer.
        costs = [use.cost_nano for turn in turns for use in turn.responses]
        assert costs == [2_000_000] * 4
        assert session.summary.cost_nano == 8_000_000
        assert [turn.budget_reached for turn in turns] == [False] * (len(turns) - 1) + [True]
        noted = [entry for entry in caplog.records if entry.message.startswith("a call has spent")]
        assert [(entry.percent, entry.spent_usd, entry.budget_usd) for entry in noted] == [  # type: ignore[attr-defined]
            (80, "0.004", "0.005"),
            (100, "0.006", "0.005"),
        ]

    paid(tmp_path, main)


def test_a_model_that_answers_by_itself_is_told_not_to_and_a_caller_who_talks_on_hears_the_goodbye(
    tmp_path: Path,
) -> None:
    async def main(gateway: Gateway) -> None:
        client = Client(gateway, await admitted(gateway, wish()))
        client.leg.send(
            orjson.dumps(
                {
                    "type": "session.update",
                    "session": {
                        "type": "realtime",
                        "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}},
                    },
                }
            )
        )
        await later(100 / 1000)
        for _ in range(60):  # a caller who says something every 1.2 s, whatever the agent says
            for loud in (*[True] * 20, *[False] * 40):
                if client.closed:
                    break
                client.leg.send(append(loud))
                await later(20 / 1000)
        assert client.closed
        session, turns = await record(gateway)
        assert session.summary.end_reason == "budget"
        uses = [use for turn in turns for use in turn.responses]
        over = next(at for at in range(len(uses)) if sum(one.cost_nano for one in uses[: at + 1]) >= 5_000_000)
        after = [use.origin for use in uses[over + 1 :]]
        assert after[-1] == "budget"
        assert after.count("budget") == 1
        assert GOODBYE in [entry.text for turn in turns for entry in turn.entries]
        assert all(use.outcome == "cancelled" for use in uses[over + 1 : -1])

    paid(tmp_path, main, vad=True)


def append(loud: bool) -> bytes:
    sound = b"".join(pcm(20, loud)[at : at + 2] * 3 for at in range(0, 320, 2))
    return orjson.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(sound).decode()})


def test_a_tool_that_runs_when_the_budget_is_used_up_gets_no_further_answer(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        client = Client(gateway, await admitted(gateway, wish()))
        await later(100 / 1000)
        for _ in range(3):
            await asks(client)
        await later(15_000 / 1000)
        assert spoken(client)[-1] == GOODBYE
        session, turns = await record(gateway)
        assert session.summary.end_reason == "budget"
        uses = [use for turn in turns for use in turn.responses]
        assert [use.origin for use in uses] == ["client", "client", "client", "budget"]
        (used,) = [entry for turn in turns for entry in turn.entries if hasattr(entry, "call_id")]
        assert used.name == "wait"

    paid(tmp_path, main, script=", calls: [{name: wait, arguments: {}}]")
