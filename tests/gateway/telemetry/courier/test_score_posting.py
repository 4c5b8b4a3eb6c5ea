"""Requests with scores, and what Langfuse answers, without a network and in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import orjson
import pytest
from support.telemetry.http_answers import answered
from support.virtual import run

from gateway.telemetry.courier.outcome import Outcome, Result
from gateway.telemetry.courier.score_posting import ScorePoster, rejected_in
from gateway.telemetry.link.destinations import Target

TARGET = Target("https://l.example/api/public/scores", {"Authorization": "Basic k"}, 10.0, gzip=False, certificate="")
ONE, TWO = {"id": "1", "name": "a", "value": 1}, {"id": "2", "name": "b", "value": 2}


class Langfuse:
    """Answers as told, and keeps the bodies."""

    def __init__(self, answer: Callable[[Any], httpx2.Response]) -> None:
        self._answer = answer
        self.bodies: list[Any] = []
        self.headers: list[httpx2.Headers] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.bodies.append(orjson.loads(request.content))
        self.headers.append(request.headers)
        return self._answer(self.bodies[-1])


def posted(langfuse: Langfuse, *scores: Any) -> Outcome:
    async def main() -> Outcome:
        poster = ScorePoster(TARGET, "patchbay/1", httpx2.MockTransport(langfuse))
        outcome = await poster.deliver(scores)
        await poster.close()
        return outcome

    return run(main())


def test_scores_go_together_and_the_last_of_an_id_wins() -> None:
    langfuse = Langfuse(lambda body: answered(202, {"message": "Accepted"}))
    assert posted(langfuse, ONE, TWO, {**ONE, "value": 5}) == Outcome(Result.TAKEN)
    assert langfuse.bodies == [[{**ONE, "value": 5}, TWO]]
    assert langfuse.headers[0]["authorization"] == "Basic k"
    assert langfuse.headers[0]["content-type"] == "application/json"


def test_rejected_scores_are_counted_and_not_sent_again() -> None:
    langfuse = Langfuse(lambda body: answered(207, {"accepted": 1, "rejected": 1, "errors": []}))
    assert posted(langfuse, ONE, TWO) == Outcome(Result.TAKEN, rejected=1)
    assert len(langfuse.bodies) == 1


def test_a_server_that_takes_no_list_gets_one_at_a_time() -> None:
    langfuse = Langfuse(lambda body: answered(400 if isinstance(body, list) or body["id"] == "2" else 200))
    assert posted(langfuse, ONE, TWO) == Outcome(Result.TAKEN, rejected=1)
    assert langfuse.bodies == [[ONE, TWO], ONE, TWO]


def test_one_at_a_time_too_a_server_may_be_busy() -> None:
    langfuse = Langfuse(lambda body: answered(400 if isinstance(body, list) else 503))
    assert posted(langfuse, ONE, TWO).result is Result.LATER


@pytest.mark.parametrize(("status", "result"), [(401, Result.DENIED), (429, Result.LATER), (404, Result.REFUSED)])
def test_other_answers_are_those_of_all_destinations(status: int, result: Result) -> None:
    langfuse = Langfuse(lambda body: answered(status))
    assert posted(langfuse, ONE).result is result
    assert len(langfuse.bodies) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"rejected":"x"}', b'{"rejected":-1}', b'{"rejected":null}'])
def test_an_odd_answer_rejects_nothing(body: bytes) -> None:
    assert rejected_in(body) == 0
