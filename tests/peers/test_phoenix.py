"""Arize Phoenix reads a spoken call: one session, a trace a turn, kinds, sums of tokens, inputs and outputs."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from peers.demo_desk import call, demo_desk, needs_local
from peers.phoenix_server import PROGRAM, Phoenix, phoenix
from peers.server_process import Server

pytestmark = [
    needs_local,
    pytest.mark.skipif(not PROGRAM.exists(), reason="install Phoenix with: bash tests/peers/set_up.sh phoenix"),
]
WORDS = ("I want to book a table", "two people", "tomorrow at seven pm", "my name is Robinson", "yes please")
BARGE_IN = ("--barge-in", "2:300")  # the caller says the second while the agent answers the first
SETTLED_S = 20.0
PAID = """
model: scripted/scripts/paid.yaml
instructions: Listen.
"""
PAID_SCRIPT = """
pace: real
ms_per_word: 150
voice_gate: 300
usage: {input_text: 40, input_audio: 100, input_cached: 20, cached_text: 20, output_text: 12, output_audio: 30}
turns: []
otherwise: {hears: Something was said., say: I have heard you., after_ms: 100}
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """One Phoenix for all tests of this file."""
    with phoenix(tmp_path_factory.mktemp("phoenix")) as running:
        yield running


@pytest.fixture(scope="module")
def spoken(reader: Phoenix, tmp_path_factory: pytest.TempPathFactory) -> tuple[Server, dict[str, Any]]:
    """The report of a call with a tool and a barge-in, after the server has ended and all its spans were sent."""
    folder = tmp_path_factory.mktemp("desk")
    settings = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{reader.url}/v1/traces", "PATCHBAY_TELEMETRY__CONTENT": "text"}
    agents = {"agents/paid_yaml": PAID, "agents/scripts/paid_yaml": PAID_SCRIPT}
    with demo_desk(folder, settings, **agents) as server:
        texts = [argument for word in WORDS for argument in ("--text", word)]
        report = call(server, "front-desk", *texts, *BARGE_IN, save=folder / "call.wav")
        report["record"] = server.ended(report["session_id"])
        report["turns_kept"] = server.turns(report["session_id"])
        paid = call(server, "paid", "--text", "one", "--text", "two", save=folder / "paid.wav")
        server.ended(paid["session_id"])
        report["paid"] = paid["session_id"]
    return server, report


def soon(look: Callable[[], bool], why: str) -> None:
    """Wait until this is so; Phoenix writes what it takes a moment later."""
    until = time.monotonic() + SETTLED_S
    while not look():
        assert time.monotonic() < until, why
        time.sleep(0.2)


def test_the_call_is_one_session_with_a_trace_for_each_turn(
    reader: Phoenix, spoken: tuple[Server, dict[str, Any]]
) -> None:
    _, report = spoken
    turns = report["turns_kept"]
    soon(lambda: report["session_id"] in _sessions(reader), "no session came")
    soon(lambda: _sessions(reader)[report["session_id"]]["numTraces"] == len(turns), "a turn's trace is missing")
    session = _sessions(reader)[report["session_id"]]
    assert session["lastOutput"]["value"] == _words(turns[-1], "agent")


def test_tokens_of_a_session_add_up(reader: Phoenix, spoken: tuple[Server, dict[str, Any]]) -> None:
    _, report = spoken
    soon(lambda: report["paid"] in _sessions(reader), "no session came")
    soon(lambda: _sessions(reader)[report["paid"]]["numTraces"] == 2, "a turn's trace is missing")
    session = _sessions(reader)[report["paid"]]
    assert session["tokenUsage"] == {"prompt": 2 * 140, "completion": 2 * 42, "total": 2 * 182}
    assert (session["firstInput"]["value"], session["lastOutput"]["value"]) == (
        "Something was said.",
        "I have heard you.",
    )


def test_spans_have_their_kinds_and_their_words(reader: Phoenix, spoken: tuple[Server, dict[str, Any]]) -> None:
    _, report = spoken
    turns = report["turns_kept"]
    session_id = report["session_id"]
    soon(lambda: len(_roots(reader, session_id)) == len(turns), "a turn's root is missing")
    spans = _spans(reader, report["session_id"])
    kinds = Counter((span["name"].split(" ")[0], span["span_kind"]) for span in spans)
    assert kinds["invoke_agent", "AGENT"] == len(turns)
    assert kinds["realtime_inference", "LLM"] == sum(len(turn["responses"]) for turn in turns)
    assert kinds["execute_tool", "TOOL"] == len(report_tools(report)) == 1
    assert not [kind for kind in kinds if kind[1] == "UNKNOWN"]
    said = {span["attributes"].get("output.value") for span in _roots(reader, session_id)}
    heard = [_words(turn, "agent") for turn in turns]
    assert said >= {text for text in heard if text}
    interrupted = [span for span in _roots(reader, session_id) if _end_of(span) == "interrupted"]
    assert len(interrupted) == sum(turn["interrupted"] for turn in turns) >= 1


def _sessions(reader: Phoenix) -> dict[str, dict[str, Any]]:
    return {session["sessionId"]: session for session in reader.sessions()}


def _spans(reader: Phoenix, session_id: str) -> list[dict[str, Any]]:
    return [span for span in reader.spans() if span["attributes"].get("patchbay.session.id") == session_id]


def _roots(reader: Phoenix, session_id: str) -> list[dict[str, Any]]:
    return [span for span in _spans(reader, session_id) if span["name"].startswith("invoke_agent")]


def _end_of(span: dict[str, Any]) -> Any:
    return span["attributes"].get("gen_ai.agent.invocation.end_reason")


def _words(turn: dict[str, Any], speaker: str) -> str:
    entries = [entry for entry in turn["entries"] if entry["kind"] == "said" and entry["speaker"] == speaker]
    return " ".join(entry["heard_text"] for entry in entries if entry["heard_text"])


def report_tools(report: dict[str, Any]) -> list[str]:
    """The tools that the call ran."""
    return [json.dumps(tool) for turn in report["turns"] for tool in turn["tools"]]
