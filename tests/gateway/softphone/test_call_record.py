"""What a report gets from a call's record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.virtual import run

from gateway.softphone.call_record import RecordReader, fill_in
from gateway.softphone.lines.gateway_http import HttpAnswer
from gateway.softphone.report import CallReport, TurnRow


def said(speaker: str, begin_ms: int, text: str) -> dict[str, Any]:
    return {"kind": "said", "speaker": speaker, "begin_ms": begin_ms, "text": text}


def turn(begin_ms: int, *entries: dict[str, Any], interrupted: bool = False, problem: Any = None) -> dict[str, Any]:
    return {"begin_ms": begin_ms, "interrupted": interrupted, "problem": problem, "entries": list(entries)}


TOOL = {"kind": "tool", "begin_ms": 3500, "name": "book", "arguments": "{}", "output": "done", "error": None}
GREETING = turn(5, said("agent", 5, "Hello."))


def report(*begins_ms: int) -> CallReport:
    made = CallReport("desk", protocol="twilio")
    made.turns = [TurnRow(number, "x", at, end_ms=at + 500) for number, at in enumerate(begins_ms, start=1)]
    return made


def test_what_was_said_and_done_stands_at_the_turn_that_had_begun() -> None:
    made = report(2000, 6000)
    turns = [
        GREETING,
        turn(1900, said("caller", 1900, "a table"), TOOL, said("agent", 3600, "When?")),
        turn(6100, said("caller", 6100, "at"), said("caller", 6300, "eight"), said("agent", 7000, "Good.")),
        turn(9000, said("agent", 9000, "Still there?")),
    ]
    fill_in(made, turns)
    first, second = made.turns
    assert made.greeting == "Hello."
    assert (first.heard, first.answer, [tool.output for tool in first.tools]) == ("a table", "When?", ["done"])
    assert (second.heard, second.answer, second.tools) == ("at eight", "Good. Still there?", [])


def test_an_interruption_and_a_problem_stand_at_their_turn() -> None:
    made = report(2000, 3000)
    problem = {"code": "rate_limit_exceeded", "type": "server_error"}
    fill_in(
        made,
        [
            turn(2100, said("caller", 2100, "a"), interrupted=True),
            turn(3000, said("caller", 2800, "b"), problem=problem),
        ],
    )
    assert [row.interrupted for row in made.turns] == [True, False]
    assert [str(found) for found in made.problems] == ["rate_limit_exceeded (server_error)"]
    assert made.turns[0].problem is None
    assert made.turns[1].problem == made.problems[0]


def test_a_turn_that_was_never_said_gets_nothing() -> None:
    made = report(2000, 3000)
    made.turns[1].end_ms = None
    fill_in(made, [turn(3100, said("caller", 3100, "a"))])
    assert [row.heard for row in made.turns] == ["a", ""]


class Api:
    """A gateway's API that shows our session as live, then as ended."""

    def __init__(self, *, live_for: int = 2, turns: Any = (GREETING,), status: int = 200) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []
        self._live_for = live_for
        self._turns = turns
        self._status = status

    async def __call__(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        self.asked.append((method, path, headers))
        if self._status != 200:
            error = {"error": {"message": "No key.", "code": "missing_key"}}
            return HttpAnswer(self._status, json.dumps(error).encode())
        if path.endswith("/transcript"):
            return HttpAnswer(200, json.dumps({"turns": self._turns}).encode())
        state = "ended" if len(self.asked) > self._live_for else "live"
        sessions = [
            {"session_id": "s0", "protocol": "twilio", "state": "ended", "caller": {"carrier_call_id": "CA00"}},
            {"session_id": "s1", "protocol": "twilio", "state": state, "caller": {"carrier_call_id": "CA01"}},
        ]
        return HttpAnswer(200, json.dumps({"sessions": sessions}).encode())


def test_the_record_of_our_call_is_read_once_it_has_ended() -> None:
    made, api = report(2000), Api()
    run(RecordReader(api, "front desk", "pb_key").fill(made, "CA01"))
    assert (made.session_id, made.greeting, made.remark) == ("s1", "Hello.", "")
    assert [path for _, path, _ in api.asked] == [
        *["/api/v1/sessions?agent=front+desk&limit=50"] * 3,
        "/api/v1/sessions/s1/transcript",
    ]
    assert all(headers == {"Authorization": "Bearer pb_key"} for _, _, headers in api.asked)


@pytest.mark.parametrize(
    ("api", "why"),
    [
        (Api(status=401), "No key. (missing_key)"),
        (Api(live_for=1000), "the gateway has not written its end"),
        (Api(turns=[{}]), "it has another shape (KeyError)"),
    ],
)
def test_a_record_that_cannot_be_read_costs_only_its_part_of_the_report(api: Api, why: str) -> None:
    made = report(2000)
    run(RecordReader(api, "desk", None).fill(made, "CA01"))
    assert made.remark == f"the call's record could not be read: {why}"
    assert not made.failed


@pytest.mark.parametrize(("status", "times"), [(401, 1), (503, 100)])
def test_a_refusal_is_final_and_a_busy_gateway_is_asked_again(status: int, times: int) -> None:
    api = Api(status=status)
    run(RecordReader(api, "desk", None).fill(report(2000), "CA01"))
    assert len(api.asked) == times


def test_a_gateway_that_has_gone_is_said() -> None:
    async def gone(method: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        await asyncio.sleep(0)
        raise ConnectionRefusedError(111, "Connection refused")

    made = report(2000)
    run(RecordReader(gone, "desk", None).fill(made, "CA01"))
    assert "Connection refused" in made.remark
