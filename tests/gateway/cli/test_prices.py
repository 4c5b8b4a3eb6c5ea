"""`patchbay prices check`: what it prints, and with which code it ends."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.stores.records import session_record
from support.stores.store_contract import HandClock

from gateway.cli.commands import run
from gateway.cli.prices import read_since
from sessions.accounts import ResponseOrigin, ResponseUse
from sessions.record import Turn
from sessions.stores.documents import SessionState, session_document, turn_document
from sessions.stores.sqlite import SqliteStore
from sessions.usage import TokenUsage

LONG_ID = "sess_" + "0123456789abcdef" * 4
Captured = pytest.CaptureFixture[str]
PRICES = """
version: t
models:
  - provider: openai
    model: gpt-realtime-9
    text: {input: 1, cached: 1, output: 1}
    audio: {input: 1, cached: 1, output: 1}
    source: https://prices.example
    date: 2026-12-01
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one agent whose model is free, and no setting in the environment."""
    (tmp_path / "agents" / "scripts").mkdir(parents=True)
    (tmp_path / "agents" / "desk.yaml").write_text("model: scripted/scripts/desk.yaml\n")
    monkeypatch.chdir(tmp_path)
    for name in ("PATCHBAY_PRICES", "PATCHBAY_STORE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def stored(home: Path, cost_nano: int | None, session_id: str = "s1", *, has_usage: bool = True) -> None:
    """One ended call with one answer, of a model at 1 dollar, which has this cost in its record."""

    async def put() -> None:
        (home / "data").mkdir(exist_ok=True)
        store = SqliteStore(str(home / "data" / "patchbay.db"), HandClock(), inline=True)
        await store.open()
        turn = Turn(0, 0, 900, [])
        use = ResponseUse("resp_1", ResponseOrigin.MODEL, 0, None, 0, end_ms=9, cost_nano=cost_nano)
        use.usage = TokenUsage(output_audio=500) if has_usage else None
        turn.responses = [use]
        record = session_record(session_id, state=SessionState.ENDED, model="openai/gpt-realtime-9")
        await store.put(turn_document("default", session_id, turn, ttl_s=None), None)
        await store.put(session_document(record, ttl_s=None), None)
        await store.close()

    asyncio.run(put())


def answer(capsys: Captured, *arguments: str) -> tuple[int, Any]:
    code = run(["prices", "check", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_agents_on_this_machine_are_free_and_nothing_is_stored_yet(home: Path, capsys: Captured) -> None:
    code, told = answer(capsys)
    assert (code, told["ok"], told["calls"], told["differences"]) == (0, True, 0, [])
    model, heard = told["models"]
    assert (model["agent"], model["role"], model["model"]) == ("desk", "model", "scripted/scripts/desk.yaml")
    assert model["prices_usd"]["audio_output"] == "0"
    assert (heard["role"], heard["model"]) == ("transcription", "gpt-4o-mini-transcribe")


def test_a_price_is_shown_with_its_source_and_date(home: Path, capsys: Captured) -> None:
    (home / "agents" / "desk.yaml").write_text("model: openai/gpt-realtime-1.5\n")
    code, told = answer(capsys)
    (model, _) = told["models"]
    assert code == 0
    assert model["prices_usd"]["audio_input"] == "32"
    assert (model["source"], model["date"]) == (
        "https://developers.openai.com/api/docs/models/gpt-realtime-1.5",
        "2026-11-30",
    )


@pytest.mark.parametrize("text", ["model: azure/voice\n", "model: openai/gpt-realtime\n"])
def test_a_model_without_a_price_ends_with_1_and_says_what_to_do(home: Path, capsys: Captured, text: str) -> None:
    (home / "agents" / "desk.yaml").write_text(text)
    code, told = answer(capsys)
    assert (code, told["ok"]) == (1, False)
    assert "PATCHBAY_PRICES" in told["models"][0]["advice"]


def test_a_transcription_without_a_price_ends_with_1(home: Path, capsys: Captured) -> None:
    (home / "agents" / "desk.yaml").write_text("model: openai/gpt-realtime-1.5\ntranscription: {model: ears}\n")
    code, told = answer(capsys)
    assert code == 1
    assert told["models"][1]["prices_usd"] is None


def test_a_stored_call_that_costs_the_same_is_counted(home: Path, capsys: Captured) -> None:
    (home / "prices.yaml").write_text(PRICES)
    (home / ".env").write_text("PATCHBAY_PRICES=prices.yaml\n")
    stored(home, 500_000)
    code, told = answer(capsys)
    assert (code, told["calls"], told["differences"], told["version"]) == (0, 1, [], "2026-12-01+t")


def test_a_stored_call_that_costs_something_else_ends_with_1(home: Path, capsys: Captured) -> None:
    (home / "prices.yaml").write_text(PRICES)
    (home / ".env").write_text("PATCHBAY_PRICES=prices.yaml\n")
    stored(home, 400_000)
    code, told = answer(capsys)
    assert code == 1
    (one,) = told["differences"]
    assert (one["session_id"], one["what"], one["stored_nano"], one["computed_nano"]) == (
        "s1",
        "response resp_1",
        400_000,
        500_000,
    )
    assert answer(capsys, "--no-calls")[0] == 0
    assert answer(capsys, "--since", "2999-01-01")[0] == 0


def test_people_see_the_same(home: Path, capsys: Captured) -> None:
    (home / "prices.yaml").write_text(PRICES)
    (home / ".env").write_text("PATCHBAY_PRICES=prices.yaml\n")
    (home / "agents" / "other.yaml").write_text("model: azure/voice\n")
    stored(home, None, LONG_ID)
    with pytest.raises(SystemExit) as ended:
        run(["prices", "check"])
    assert ended.value.code == 1
    told = capsys.readouterr().out
    assert "desk, model: scripted/scripts/desk.yaml\n    free (runs in this process, 2026-12-01)\n" in told
    assert "other, model: azure/voice\n    unknown: say under `deployments`" in told
    assert "price list 2026-12-01+t; 1 stored calls computed again, 1 differences" in told
    assert (
        f"default/{LONG_ID}, turn 0, response resp_1: openai/gpt-realtime-9, stored unknown, computed 0.0005\n" in told
    )


def test_a_stored_call_without_usage_is_counted_apart(home: Path, capsys: Captured) -> None:
    stored(home, None, has_usage=False)
    code, told = answer(capsys)
    assert (code, told["calls"], told["calls_without_usage"]) == (0, 0, 1)
    with pytest.raises(SystemExit) as ended:
        run(["prices", "check"])
    assert ended.value.code == 0
    assert "1 stored calls are without usage" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "code"), [("version: a\nmodel: 1\n", 1), ("version: a\nmodels: [{minute: .nan}]", 1)])
def test_a_bad_price_list_is_told_with_its_line(home: Path, capsys: Captured, text: str, code: int) -> None:
    (home / "prices.yaml").write_text(text)
    (home / ".env").write_text("PATCHBAY_PRICES=prices.yaml\n")
    found, told = answer(capsys)
    assert found == code
    assert told["error"]["message"].startswith("PATCHBAY_PRICES: prices.yaml:2: ")


NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("2026-12-01", datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12-01T09:30", datetime(2026, 12, 1, 9, 30, tzinfo=UTC)),
        ("2026-12-01T09:30+01:00", datetime(2026, 12, 1, 8, 30, tzinfo=UTC)),
        ("90m", datetime(2026, 12, 1, 10, 30, tzinfo=UTC)),
        ("12h", datetime(2026, 12, 1, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 24, 12, 0, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_day_a_moment_or_a_span(text: str, since: datetime) -> None:
    assert read_since(text, NOW.timestamp()) == since.timestamp()


@pytest.mark.parametrize("text", ["yesterday", "", "7w", "-1d"])
def test_another_time_is_wrong_usage(home: Path, capsys: Captured, text: str) -> None:
    code, told = answer(capsys, f"--since={text}")
    assert code == 2
    assert told["error"]["message"].startswith(f"--since {text!r}: ")
