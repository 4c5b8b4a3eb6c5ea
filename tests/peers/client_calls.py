"""Runs a client's script that makes the call, and compares what the client saw with the gateway's record of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from peers.client_gateway import KEY, LINES, TYPED, ClientGateway

HERE = Path(__file__).resolve().parent
NODE = HERE / "node"
OWN_PYTHON = HERE.parents[1] / ".venv-peers" / "bin" / "python"
PYTHON = os.environ.get("TEST_PEERS_PYTHON") or str(OWN_PYTHON if OWN_PYTHON.exists() else sys.executable)
CALL_LIMIT_S = 45.0
RECORD_LIMIT_S = 10.0
ANSWERS = (
    "Harbour Restaurant.",
    "Good evening. How can I help?",
    "One moment, I am looking. There is a table for two at seven.",
    "Tomorrow will be sunny",
    "Goodbye then.",
)
# The end of the answer that is interrupted.
NEVER_SAID = "lighthouse"


def needs_python(*packages: str) -> None:
    """Skip the test where the clients' interpreter lacks a package."""
    code = f"from importlib.metadata import version; [version(name) for name in {packages!r}]"
    if subprocess.run([PYTHON, "-c", code], capture_output=True).returncode != 0:
        pytest.skip(f"{PYTHON} lacks {' or '.join(packages)}: pip install -r tests/peers/requirements.txt there")


def needs_node(package: str) -> None:
    """Skip the test where node or the package is missing."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (NODE / "node_modules" / package / "package.json").is_file():
        pytest.skip(f"{package} is not installed: npm install --prefix tests/peers/node")


@dataclass(frozen=True)
class FinishedCall:
    """A finished call of a client: the client's notes, and the gateway that it called."""

    gateway: ClientGateway
    notes: dict[str, Any]

    def events(self, kind: str) -> list[Any]:
        """The server's events of one type, as the client received them."""
        return [event for event in self.notes["events"] if event["type"] == kind]

    @property
    def session_id(self) -> str:
        """The session's id, as the server sent it to the client."""
        session: dict[str, str] = next(event["session"] for event in self.notes["events"] if "session" in event)
        return session["id"]


def hold_call(gateway: ClientGateway, script: str, tmp_path: Path, agent: str) -> FinishedCall:
    """Run a client's script against the gateway. Fails with its output where it did not end well."""
    runner = ["node", str(NODE / script)] if script.endswith(".mjs") else [PYTHON, str(HERE / script)]
    notes = tmp_path / "notes.json"
    extra = {"NODE_EXTRA_CA_CERTS": str(gateway.cert)} if gateway.cert is not None else {}
    ours = ("PATCHBAY_", "OPENAI_", "PYTHON")  # the clients know only the gateway's address
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    ran = subprocess.run(
        [*runner, gateway.url, str(gateway.folder), KEY, str(notes), agent],
        capture_output=True,
        text=True,
        timeout=CALL_LIMIT_S,
        env={**kept, **extra},
    )
    assert ran.returncode == 0, f"{script} failed\n{ran.stdout}\n{ran.stderr}\n{gateway.log()[-4000:]}"
    return FinishedCall(gateway, json.loads(notes.read_text()))


@dataclass(frozen=True)
class ExpectedCall:
    """What one of the agents does in the call; both say the same words."""

    agent: str
    outcomes: tuple[str, ...]  # of the turns
    tools: dict[int, list[str]]  # by turn, in order
    cancelled: tuple[str, ...]  # why responses were cancelled


DESK = ExpectedCall(
    "desk",
    ("completed", "completed", "completed", "cancelled", "completed"),
    {2: ["find_tables"], 3: ["get_weather"]},
    ("turn_detected",),
)
BRISK = ExpectedCall("brisk", ("completed",) * 5, {1: ["list_bookings"], 2: ["get_weather", "find_tables"]}, ())
EXPECTED_CALLS = (DESK, BRISK)


def check_call(finished: FinishedCall, expected: ExpectedCall, races: frozenset[str] = frozenset()) -> None:
    """Check the call from both sides. `races`: error codes that this client causes by itself, and ignores."""
    check_notes(finished, expected)
    check_events(finished, expected, races)
    check_order(finished)
    check_record(finished, expected)


def check_notes(finished: FinishedCall, expected: ExpectedCall) -> None:
    """Check the client's own notes."""
    notes = finished.notes
    assert notes["errors"] == []
    said = " ".join(notes["agent_said"])
    for answer in ANSWERS:
        assert answer in said
    if expected.cancelled:
        assert NEVER_SAID not in said
    assert [text for text in notes["caller_said"] if text in LINES.values()] == list(LINES.values())
    assert notes["tools"] == [{"name": "get_weather", "place": "Harbour"}]
    assert notes["interruptions"] >= 1
    assert 4000 < notes["heard_ms"] < 8000
    assert notes["heard_ms"] <= notes["got_ms"]


def check_events(finished: FinishedCall, expected: ExpectedCall, races: frozenset[str]) -> None:
    """Check what the server sent: strictly the vendor's types, no error, and nothing of the agent's own tools."""
    check_types(finished)
    assert {event["error"]["code"] for event in finished.events("error")} <= races
    items = [event["item"] for event in finished.notes["events"] if isinstance(event.get("item"), dict)]
    items += [item for event in finished.events("response.done") for item in event["response"]["output"]]
    assert {item["type"] for item in items} == {"message", "function_call", "function_call_output"}
    assert {item["name"] for item in items if item["type"] == "function_call"} == {"get_weather"}
    unfinished = [
        done["response"] for done in finished.events("response.done") if done["response"]["status"] != "completed"
    ]
    assert tuple(response["status_details"]["reason"] for response in unfinished) == expected.cancelled


def check_types(finished: FinishedCall) -> None:
    """Every event matches the vendor's types strictly."""
    for event in finished.notes["events"]:
        assert strict().validate_python(event, strict=True).type == event["type"]


def check_order(finished: FinishedCall) -> None:
    """Items follow items that the client knows, and are ordered within their responses."""
    known: set[str | None] = {None}
    places: dict[str, list[int]] = {}
    for event in finished.notes["events"]:
        assert event.get("previous_item_id") in known, event
        if event["type"] == "response.output_item.added":
            places.setdefault(event["response_id"], []).append(event["output_index"])
        if event["type"] in ("conversation.item.added", "input_audio_buffer.committed"):
            known.add(event["item"]["id"] if "item" in event else event["item_id"])
    for indices in places.values():
        assert indices == list(range(len(indices)))
    began = [event["response"]["id"] for event in finished.events("response.created")]
    assert began == [event["response"]["id"] for event in finished.events("response.done")]


def check_record(finished: FinishedCall, expected: ExpectedCall) -> None:
    """Check the call's record in the gateway's API."""
    session = ended(finished)
    assert session["end_reason"] == "caller_hung_up"
    assert session["summary"]["turns"] == 5
    assert session["summary"]["redials"] == session["summary"]["dropped_audio_ms"] == 0
    assert session["recording"]["complete"]
    turns = finished.gateway.get(f"/api/v1/sessions/{finished.session_id}/transcript")["turns"]
    assert [turn["interrupted"] for turn in turns] == [False, False, False, True, False]
    assert tuple(turn["outcome"] for turn in turns) == expected.outcomes
    heard = [[entry for entry in turn["entries"] if entry["speaker"] == "caller"] for turn in turns]
    assert [entries[-1]["text"] for entries in heard] == [TYPED, *LINES.values()]
    for turn in turns[1:]:
        assert 200 <= turn["latency_ms"] <= 2500
    for turn, answer in zip(turns, ANSWERS, strict=True):
        assert " ".join(entry["text"] for entry in said(turn)).startswith(answer)
    used = {place: tools(turn) for place, turn in enumerate(turns) if tools(turn)}
    assert {place: [tool["name"] for tool in ran] for place, ran in used.items()} == expected.tools
    for tool in [tool for ran in used.values() for tool in ran]:
        assert tool["server_side"] == (tool["name"] != "get_weather")
        assert tool["error"] is None
        assert {"find_tables": '"free": true', "get_weather": "sunny", "list_bookings": '"total": 0'}[
            tool["name"]
        ] in tool["output"]
    check_interruption(finished, said(turns[3])[-1])


def check_interruption(finished: FinishedCall, cut: dict[str, Any]) -> None:
    """The client reported where playback stopped, and the record uses this."""
    truncated = [
        event for event in finished.events("conversation.item.truncated") if event["item_id"] == cut["item_id"]
    ]
    assert len(truncated) == 1
    assert cut["heard"] == "reported"
    assert cut["heard_ms"] == truncated[0]["audio_end_ms"]
    assert 1000 <= cut["heard_ms"] < cut["sent_ms"]
    assert cut["text"].startswith(cut["heard_text"])
    assert len(cut["heard_text"]) < len(cut["text"])


def said(turn: dict[str, Any]) -> list[dict[str, Any]]:
    """What the agent said in a turn."""
    return [entry for entry in turn["entries"] if entry["speaker"] == "agent"]


def tools(turn: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools that ran in a turn."""
    return [entry for entry in turn["entries"] if entry["kind"] == "tool"]


def ended(finished: FinishedCall) -> dict[str, Any]:
    """The session's record, once the call has ended and its recording is finished."""
    until = time.monotonic() + RECORD_LIMIT_S
    while True:
        session: dict[str, Any] = finished.gateway.get(f"/api/v1/sessions/{finished.session_id}")
        if session["state"] == "ended" and session["recording"]["state"] == "ready":
            return session
        assert time.monotonic() < until, session
        time.sleep(0.05)


@cache
def strict() -> Any:
    """The vendor's types for server events."""
    from openai.types.realtime import RealtimeServerEvent
    from pydantic import TypeAdapter

    return TypeAdapter(RealtimeServerEvent)
