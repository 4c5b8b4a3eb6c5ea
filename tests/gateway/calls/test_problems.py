"""What models report to be wrong, counted by code, and why they admit nobody."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from support.calls.call_rig import Rig, hosted
from support.virtual import run

from gateway.calls.record import MAX_LOGGED
from gateway.models.realtime.endings import turned_away
from gateway.net.dial import DialFailed
from sessions.events import ModelRefused, ResponseEnded, ResponseStarted
from sessions.problems import ModelProblem, problem_of
from sessions.stores.documents import session_from_document, turn_from_document
from sessions.values import Outcome

SECRET = "words that somebody said"


def test_a_problem_is_logged_by_code_and_type_and_never_by_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> Rig:
        async with hosted(tmp_path) as rig:
            await rig.settle()
            rig.model.deliver(ResponseStarted("resp_1", out_of_band=False, metadata=None, wire=None))
            problem = ModelProblem("content_filter", "incomplete")
            rig.model.deliver(ResponseEnded("resp_1", Outcome.INCOMPLETE, "content_filter", None, None, problem))
            for _ in range(3 * MAX_LOGGED):
                rig.model.deliver(ModelRefused("x", SECRET, None, None, problem_of(SECRET, "server_error")))
        return rig

    with caplog.at_level(logging.INFO):
        rig = run(main())
    lines = [record.__dict__ for record in caplog.records if record.getMessage() == "the model reported a problem"]
    assert len(lines) == MAX_LOGGED
    first = {key: lines[0][key] for key in ("call_id", "agent", "about", "code", "type")}
    assert first == {
        "call_id": "sess_1",
        "agent": "desk",
        "about": "response",
        "code": "content_filter",
        "type": "incomplete",
    }
    assert (lines[1]["code"], lines[1]["type"]) == ("other", "server_error")
    assert SECRET not in caplog.text + str(lines) + str(rig.saved)
    counted = {"code": "other", "type": "server_error", "count": 3 * MAX_LOGGED}
    assert rig.summary["problems"] == [{"code": "content_filter", "type": "incomplete", "count": 1}, counted]
    turn = next(document for document in rig.saved if document["type"] == "turn")
    assert turn["problem"] == {"code": "content_filter", "type": "incomplete"}
    assert turn_from_document(turn).problem == ModelProblem("content_filter", "incomplete")
    assert dict(session_from_document(rig.session).summary.problems)[ModelProblem("other", "server_error")] == 60


def test_a_record_that_was_written_before_there_were_problems_is_read(tmp_path: Path) -> None:
    async def main(folder: Path) -> Rig:
        async with hosted(folder) as rig:
            await rig.settle()
        return rig

    rig = run(main(tmp_path))
    summary = {key: value for key, value in rig.summary.items() if key != "problems"}
    assert session_from_document({**rig.session, "summary": summary}).summary.problems == ()


@pytest.mark.parametrize(
    ("answer", "code", "type", "retryable"),
    [
        (
            b'{"error":{"code":"insufficient_quota","type":"insufficient_quota"}}',
            "insufficient_quota",
            "insufficient_quota",
            False,
        ),
        (b'{"error":{"code":"slow_down","type":"requests"}}', "slow_down", "requests", True),
        (b'{"error":{"code":"' + SECRET.encode() + b'"}}', "other", "http", True),
        (b'{"error":{"code":null,"type":7}}', "http_429", "http", True),
        (b'{"error":"no"}', "http_429", "http", True),
        (b"<html>", "http_429", "http", True),
        (b"[" * 100_000, "http_429", "http", True),
        (b"", "http_429", "http", True),
    ],
)
def test_a_dial_that_is_refused_says_what_the_service_told(
    answer: bytes, code: str, type: str, retryable: bool
) -> None:
    lost = turned_away(DialFailed("refused", retryable=True, status=429, answer=answer))
    assert (lost.problem, lost.retryable) == (ModelProblem(code, type), retryable)


def test_a_dial_that_finds_nobody_is_no_word_of_the_models() -> None:
    failed = DialFailed("nobody there", retryable=True)
    assert turned_away(failed) is failed
    assert failed.problem is None
