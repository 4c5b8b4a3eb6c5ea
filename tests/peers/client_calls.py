"""Has a client's script hold the call, and checks what the client saw against the gateway's record of it."""

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
from peers.client_house import KEY, LINES, TYPED, House

HERE = Path(__file__).resolve().parent
NODE = HERE / "node"
OWN_PYTHON = HERE.parents[1] / ".venv-peers" / "bin" / "python"
PYTHON = os.environ.get("PATCHBAY_PEERS_PYTHON") or str(OWN_PYTHON if OWN_PYTHON.exists() else sys.executable)
CALL_LIMIT_S = 45.0
RECORD_LIMIT_S = 10.0
ANSWERS = (
    "Harbour Restaurant.",
    "Good evening. How can I help?",
    "One moment, I am looking. There is a table for two at seven.",
    "Tomorrow will be sunny",
    "Goodbye then.",
)
NEVER_SAID = "lighthouse"  # the end of the answer that is interrupted


def needs_python(*packages: str) -> None:
    """Skip the test where the clients' interpreter lacks a package."""
    code = f"from importlib.metadata import version; [version(name) for name in {packages!r}]"
    if subprocess.run([PYTHON, "-c", code], capture_output=True).returncode != 0:
        pytest.skip(f"{PYTHON} lacks {' or '.join(packages)}: pip install -r tests/peers/requirements.txt there")


def needs_node(package: str) -> None:
    """Skip the test where node or the package is not there."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (NODE / "node_modules" / package / "package.json").is_file():
        pytest.skip(f"{package} is not installed: npm install --prefix tests/peers/node")


@dataclass(frozen=True)
class Held:
    """A call that a client held: its notes, and where."""

    house: House
    notes: dict[str, Any]

    def events(self, kind: str) -> list[Any]:
        """The server's events of one type, as the client got them."""
        return [event for event in self.notes["events"] if event["type"] == kind]

    @property
    def session_id(self) -> str:
        """The session, as the server told the client."""
        session: dict[str, str] = next(event["session"] for event in self.notes["events"] if "session" in event)
        return session["id"]


def hold_call(house: House, script: str, tmp_path: Path, agent: str) -> Held:
    """Run a client's script against the gateway. Fails with what it printed where it did not end well."""
    runner = ["node", str(NODE / script)] if script.endswith(".mjs") else [PYTHON, str(HERE / script)]
    notes = tmp_path / "notes.json"
    extra = {"NODE_EXTRA_CA_CERTS": str(house.cert)} if house.cert is not None else {}
    ours = ("PATCHBAY_", "OPENAI_", "PYTHON")  # the clients know the gateway by its address and nothing else
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    ran = subprocess.run(
        [*runner, house.url, str(house.folder), KEY, str(notes), agent],
        capture_output=True,
        text=True,
        timeout=CALL_LIMIT_S,
        env={**kept, **extra},
    )
    assert ran.returncode == 0, f"{script} failed\n{ran.stdout}\n{ran.stderr}\n{house.log()[-4000:]}"
    return Held(house, json.loads(notes.read_text()))


@dataclass(frozen=True)
class Talk:
    """What one of the agents makes of the call; both say the same."""

    agent: str
    outcomes: tuple[str, ...]  # of the turns
    tools: dict[int, list[str]]  # by turn, in order
    cancelled: tuple[str, ...]  # why responses were


DESK = Talk(
    "desk",
    ("completed", "completed", "completed", "cancelled", "completed"),
    {2: ["find_tables"], 3: ["get_weather"]},
    ("turn_detected",),
)
BRISK = Talk("brisk", ("completed",) * 5, {1: ["list_bookings"], 2: ["get_weather", "find_tables"]}, ())
TALKS = (DESK, BRISK)


def check_call(held: Held, talk: Talk, races: frozenset[str] = frozenset()) -> None:
    """The whole call, from both sides. `races`: codes of errors that this client brings on itself, and passes over."""
    check_notes(held, talk)
    check_events(held, talk, races)
    check_order(held)
    check_record(held, talk)


def check_notes(held: Held, talk: Talk) -> None:
    """What the client itself made of the call."""
    notes = held.notes
    assert notes["errors"] == []
    said = " ".join(notes["agent_said"])
    for answer in ANSWERS:
        assert answer in said
    if talk.cancelled:
        assert NEVER_SAID not in said
    assert [text for text in notes["caller_said"] if text in LINES.values()] == list(LINES.values())
    assert notes["tools"] == [{"name": "get_weather", "place": "Harbour"}]
    assert notes["interruptions"] >= 1
    assert 4000 < notes["heard_ms"] < 8000
    assert notes["heard_ms"] <= notes["got_ms"]


def check_events(held: Held, talk: Talk, races: frozenset[str]) -> None:
    """What the server sent: strictly of the vendor's types, no error, and nothing of the agent's own tools."""
    check_types(held)
    assert {event["error"]["code"] for event in held.events("error")} <= races
    items = [event["item"] for event in held.notes["events"] if isinstance(event.get("item"), dict)]
    items += [item for event in held.events("response.done") for item in event["response"]["output"]]
    assert {item["type"] for item in items} == {"message", "function_call", "function_call_output"}
    assert {item["name"] for item in items if item["type"] == "function_call"} == {"get_weather"}
    unfinished = [
        done["response"] for done in held.events("response.done") if done["response"]["status"] != "completed"
    ]
    assert tuple(response["status_details"]["reason"] for response in unfinished) == talk.cancelled


def check_types(held: Held) -> None:
    """Every event is strictly of the vendor's types."""
    for event in held.notes["events"]:
        assert strict().validate_python(event, strict=True).type == event["type"]


def check_order(held: Held) -> None:
    """Items follow items that the client knows, and stand in their responses one after the other."""
    known: set[str | None] = {None}
    places: dict[str, list[int]] = {}
    for event in held.notes["events"]:
        assert event.get("previous_item_id") in known, event
        if event["type"] == "response.output_item.added":
            places.setdefault(event["response_id"], []).append(event["output_index"])
        if event["type"] in ("conversation.item.added", "input_audio_buffer.committed"):
            known.add(event["item"]["id"] if "item" in event else event["item_id"])
    for indices in places.values():
        assert indices == list(range(len(indices)))
    began = [event["response"]["id"] for event in held.events("response.created")]
    assert began == [event["response"]["id"] for event in held.events("response.done")]


def check_record(held: Held, talk: Talk) -> None:
    """What the gateway's API tells of the call afterwards."""
    session = ended(held)
    assert session["end_reason"] == "caller_hung_up"
    assert session["summary"]["turns"] == 5
    assert session["summary"]["redials"] == session["summary"]["dropped_audio_ms"] == 0
    assert session["recording"]["complete"]
    turns = held.house.get(f"/api/v1/sessions/{held.session_id}/transcript")["turns"]
    assert [turn["interrupted"] for turn in turns] == [False, False, False, True, False]
    assert tuple(turn["outcome"] for turn in turns) == talk.outcomes
    heard = [[entry for entry in turn["entries"] if entry["speaker"] == "caller"] for turn in turns]
    assert [entries[-1]["text"] for entries in heard] == [TYPED, *LINES.values()]
    for turn in turns[1:]:
        assert 200 <= turn["latency_ms"] <= 2500
    for turn, answer in zip(turns, ANSWERS, strict=True):
        assert " ".join(entry["text"] for entry in said(turn)).startswith(answer)
    used = {place: tools(turn) for place, turn in enumerate(turns) if tools(turn)}
    assert {place: [tool["name"] for tool in ran] for place, ran in used.items()} == talk.tools
    for tool in [tool for ran in used.values() for tool in ran]:
        assert tool["server_side"] == (tool["name"] != "get_weather")
        assert tool["error"] is None
        assert {"find_tables": '"free": true', "get_weather": "sunny", "list_bookings": '"total": 0'}[
            tool["name"]
        ] in tool["output"]
    check_interruption(held, said(turns[3])[-1])


def check_interruption(held: Held, cut: dict[str, Any]) -> None:
    """The client told where it stopped, and the record believes it."""
    truncated = [event for event in held.events("conversation.item.truncated") if event["item_id"] == cut["item_id"]]
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


def ended(held: Held) -> dict[str, Any]:
    """The session's record, once the call is over and its recording made."""
    until = time.monotonic() + RECORD_LIMIT_S
    while True:
        session: dict[str, Any] = held.house.get(f"/api/v1/sessions/{held.session_id}")
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
