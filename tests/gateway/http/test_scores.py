"""Scores of a session over the HTTP API: kept with its record, replaced by name, bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from support.api_world import served
from support.virtual import run

from gateway.app import Gateway
from gateway.http.scores import MAX_SCORES
from sessions.stores.scores import SCORE, read_score

PATH = "/api/v1/sessions/sess_a/scores"


def test_a_score_is_kept_with_the_record_and_replaced_by_one_of_the_same_name(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        for given in (
            {"name": "booked", "value": False},
            {"name": "politeness", "value": 4, "comment": "a little curt"},
            {"name": "booked", "value": True},
            {"name": "kind", "value": "complaint"},
        ):
            answer = await client.post(PATH, json=given)
            assert (answer.status_code, answer.json()["value"]) == (200, given["value"])
        listed = (await client.get(PATH)).json()
        assert listed["session_id"] == "sess_a"
        scores = [(score["name"], score["value"], score["comment"]) for score in listed["scores"]]
        assert scores == [("booked", True, None), ("kind", "complaint", None), ("politeness", 4.0, "a little curt")]
        turns = (await client.get("/api/v1/sessions/sess_a/transcript")).json()["turns"]
        assert len(turns) == 1
        await client.delete("/api/v1/sessions/sess_a")
        assert await gateway.store.query("default", "sess_a", SCORE) == []

    served(tmp_path, scenario, run)


def test_a_session_that_is_not_there_cannot_be_scored(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        for session in ("sess_x", "sess_b"):
            answer = await client.post(f"/api/v1/sessions/{session}/scores", json={"name": "booked", "value": 1})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "session_not_found")
            assert (await client.get(f"/api/v1/sessions/{session}/scores")).status_code == 404

    served(tmp_path, scenario, run)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"name": "", "value": 1}, "name"),
        ({"name": "a/b", "value": 1}, "name"),
        ({"name": "x" * 65, "value": 1}, "name"),
        ({"name": 7, "value": 1}, "name"),
        ({"value": 1}, "name"),
        ({"name": "n"}, "value"),
        ({"name": "n", "value": None}, "value"),
        ({"name": "n", "value": ""}, "value"),
        ({"name": "n", "value": "x" * 101}, "value"),
        ({"name": "n", "value": [1]}, "value"),
        ({"name": "n", "value": 1e16}, "value"),
        ({"name": "n", "value": 1, "comment": 5}, "comment"),
        ({"name": "n", "value": 1, "comment": "x" * 2001}, "comment"),
    ],
)
def test_a_score_of_the_wrong_form_names_the_field(given: dict[str, Any], param: str, tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        answer = await client.post(PATH, json=given)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert await gateway.store.query("default", "sess_a", SCORE) == []

    served(tmp_path, scenario, run)


def test_a_session_has_a_bounded_number_of_scores(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        for number in range(MAX_SCORES):
            await client.post(PATH, json={"name": f"s{number}", "value": number})
        answer = await client.post(PATH, json={"name": "one-more", "value": 1})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_many_scores")
        assert (await client.post(PATH, json={"name": "s0", "value": 5})).status_code == 200

    served(tmp_path, scenario, run)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="value"):
        read_score({"name": "n", "value": value}, 0.0)
