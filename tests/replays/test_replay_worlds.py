"""What one replay alone cannot show: calls side by side, event logs as replays, lines that stall or swap messages."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import virtual
from support.calls.legs import MemoryLeg
from support.replays.check import problems
from support.replays.file import Replay, Say, Verb, When, load_replay, replay_of_log
from support.replays.player import Outcome, World, play_whole, within

SIDE_BY_SIDE = ("booking", "barge-in-reported", "two-kinds-of-tools", "g711-pcmu", "model-drops-once", "tool-hangs")
LOGGED = (
    "booking",
    "barge-in-reported",
    "barge-in-estimated",
    "two-kinds-of-tools",
    "g711-pcmu",
    "manual-turns",
    "text-only",
    "image",
    "model-drops-once",
    "shown-tools",
)


def test_calls_side_by_side_know_nothing_of_each_other(tmp_path: Path) -> None:
    replays = [load_replay(name) for name in SIDE_BY_SIDE]

    async def body(around: World) -> tuple[list[Outcome], int]:
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(around.call(replay, alone=False)) for replay in replays]
        return [call.result() for call in calls], around.gateway.admission.model_legs_opened

    outcomes, legs = virtual.run(within(replays, tmp_path, body))
    expectations = [replay.expected() for replay in replays]
    assert legs == sum(expected["legs"] for expected in expectations)
    for replay, expected, outcome in zip(replays, expectations, outcomes, strict=True):
        expected["bookings"] = outcome.bookings  # of all calls together
        assert not problems(expected, outcome), replay.name


# ---- the gateway's own event log is a replay


class OtherIds:
    """Ids that have nothing in common with those of `CountingIds`."""

    def __init__(self) -> None:
        self._given = 7000

    def new(self, prefix: str) -> str:
        self._given += 13
        return f"{prefix}_x{self._given}"


@pytest.mark.parametrize("name", LOGGED)
def test_a_call_replays_from_its_own_event_log(name: str, tmp_path: Path) -> None:
    original = with_log(load_replay(name))

    first = virtual.run(play_whole(original, tmp_path / "first"))
    header, logged = replay_of_log(first.kept / "events.jsonl", first.kept)
    assert (header.agent, header.session_id) == (name, first.session["session_id"])
    logged = replace(logged, folder=original.folder, query=original.query, given=original.given)
    assert len(logged.logged) == len(first.received) - sum(one.type.endswith("audio.delta") for one in first.received)
    if first.closed_by_client:  # the log ends with the last message, the call with the line
        ended = When(first.session["summary"]["duration_ms"])
        logged = replace(logged, steps=(*logged.steps, Verb(ended, "hang_up")))
    second = virtual.run(play_whole(logged, tmp_path / "second"))
    assert not second.referee.faults
    assert talk(second) == talk(first)
    assert second.bookings == first.bookings
    assert [said(one.event) for one in second.received] == [said(one.event) for one in first.received]
    assert second.session["summary"] == first.session["summary"]
    assert second.session["end_reason"] == first.session["end_reason"]


def test_an_event_log_replays_in_a_call_with_other_ids(tmp_path: Path) -> None:
    original = with_log(load_replay("two-kinds-of-tools"))

    async def body(around: World) -> Outcome:
        return await around.call(original)

    first = virtual.run(within([original], tmp_path / "first", body, OtherIds()))
    _, logged = replay_of_log(first.kept / "events.jsonl", first.kept)
    steps = (*logged.steps, Verb(When(first.session["summary"]["duration_ms"]), "hang_up"))
    second = virtual.run(play_whole(replace(logged, folder=original.folder, steps=steps), tmp_path / "second"))
    assert talk(second) == talk(first)


def with_log(replay: Replay) -> Replay:
    """The same replay by an agent that keeps the whole event log."""
    return replace(replay, agent_lines="replay: full\n")


def talk(outcome: Outcome) -> list[Any]:
    """The record without its ids."""
    return [
        {**turn, "trace": None, "entries": without_ids(turn["entries"]), "responses": without_ids(turn["responses"])}
        for turn in outcome.turns
    ]


def without_ids(parts: Sequence[Mapping[str, Any]]) -> list[Any]:
    """These objects without the ids in them."""
    return [{k: v for k, v in part.items() if k not in ("item_id", "call_id", "response_id")} for part in parts]


def said(event: Mapping[str, Any]) -> Any:
    """A message without what differs from call to call: the session's id and when it expires."""
    if event["type"].startswith("session."):
        return {**event, "session": {k: v for k, v in event["session"].items() if k not in ("id", "expires_at")}}
    return event


# ---- faults of the line


def stalled(pace: str, tmp_path: Path, steps: Sequence[Say | Verb]) -> Outcome:
    """A long answer at this pace (19 MB of messages) to a client that does not read."""
    folder = tmp_path / "stalled"
    folder.mkdir()
    (folder / "agent.yaml").write_text("model: scripted/model.yaml\n", encoding="utf-8")
    words = " ".join(["word"] * 60)
    script = f"pace: {pace}\nms_per_word: 5000\npiece_ms: 200\nturns:\n  - say: {words}\n  - say: Still here.\n"
    (folder / "model.yaml").write_text(script, encoding="utf-8")
    replay = replace(load_replay("image"), name="stalled", folder=folder, steps=tuple(steps))
    return virtual.run(play_whole(replay, tmp_path / "data"))


ASK = orjson.dumps({"type": "response.create"})


def test_an_answer_that_a_client_does_not_take_is_cancelled_at_8_mib(tmp_path: Path) -> None:
    outcome = stalled(
        "40",
        tmp_path,
        [
            Verb(When(100), "stall"),
            Say(When(100), ASK),
            Verb(When(20_000), "resume"),
            Say(When(20_100), ASK),
            Verb(When(600, after="played"), "hang_up"),
        ],
    )
    assert outcome.referee.faults == []
    assert outcome.referee.statuses == ["cancelled", "completed"]
    sent = sum(len(received.text) for received in outcome.received)
    assert 8 * 2**20 < sent < 9 * 2**20
    assert outcome.session["end_reason"] == "caller_hung_up"


def test_a_client_that_takes_nothing_at_all_is_let_go_at_16_mib(tmp_path: Path) -> None:
    content = [{"type": "input_text", "text": "x" * 250_000}]
    item = {"type": "message", "role": "user", "content": content}  # which comes back twice
    more = [Say(When(5), {"type": "conversation.item.create", "item": item})] * 40
    steps = [Verb(When(100), "stall"), Say(When(100), ASK), *more, Verb(When(9_000), "resume")]
    outcome = stalled("fast", tmp_path, steps)
    assert outcome.client.closed == (1013, "too much is unsent")
    assert outcome.session["end_reason"] == "too_slow"
    assert outcome.legs == 1


def test_messages_that_change_places_are_taken_as_they_come(tmp_path: Path) -> None:
    replay = load_replay("text-only")
    update, item, *_ = replay.steps
    steps = (
        update,
        Verb(When(400), "reorder"),  # the request overtakes the words that it is about
        replace(item, when=When(450)),
        Say(When(0), ASK),
        Say(When(50, after="response.done"), ASK),
        Verb(When(50, after="response.output_text.done"), "hang_up"),
    )
    outcome = virtual.run(play_whole(replace(replay, steps=steps), tmp_path))
    assert not outcome.referee.faults
    assert outcome.referee.statuses == ["completed"] * 3
    assert [booking["cancelled"] for booking in outcome.bookings] == [True, False]


def test_a_line_that_breaks_before_the_model_is_there_leaves_nothing_running(tmp_path: Path) -> None:
    replay = replace(load_replay("greeting-off"), steps=(Verb(When(0), "drop"),))

    outcome = virtual.run(play_whole(replay, tmp_path))
    assert (outcome.session["end_reason"], outcome.turns) == ("caller_hung_up", [])
    assert outcome.broken == 0


def test_a_binary_message_is_answered_and_counts_as_malformed(tmp_path: Path) -> None:
    replay = replace(load_replay("malformed"), steps=())
    lines: list[MemoryLeg] = []

    async def body(around: World) -> Outcome:
        loop = asyncio.get_running_loop()
        for at in range(10):
            loop.call_later(0.1 + at / 100, lambda: lines[0].send_binary(b"\x00"))
        return await around.call(replay, meddle=lines.append)

    outcome = virtual.run(within([replay], tmp_path, body))
    assert outcome.referee.errors == ["invalid_event"] * 10
    assert outcome.client.closed is not None
    assert (outcome.client.closed[0], outcome.session["end_reason"]) == (1008, "bad_input")
