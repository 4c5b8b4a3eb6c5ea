"""Tests for gateway/models/realtime/responses.py: which response runs, and open out-of-band requests."""

from __future__ import annotations

from gateway.ids import CountingIds
from gateway.models.realtime.responses import ModelResponses


def test_a_response_runs_from_its_beginning_to_its_end() -> None:
    responses = ModelResponses(CountingIds())
    assert responses.id_of_end() is None
    responses.began("r1")
    assert (responses.running, responses.id_of_end()) == ("r1", "r1")
    responses.ended()
    assert (responses.running, responses.id_of_end()) == (None, None)


def test_an_item_shows_that_its_response_runs_if_no_other_is_known_to_run() -> None:
    responses = ModelResponses(CountingIds())
    responses.brought_item("r1")
    responses.brought_item("r2")
    assert (responses.running, responses.spoke) == ("r1", True)
    responses.began("r3")
    assert (responses.running, responses.spoke) == ("r3", False)


def test_a_response_that_never_had_an_id_gets_one_at_its_end_and_only_one() -> None:
    responses = ModelResponses(CountingIds())
    responses.began_without_id()
    assert (responses.id_of_end(), responses.id_of_end()) == ("resp_1", None)
    responses.began_without_id()
    responses.began("r1")
    responses.ended()
    assert responses.id_of_end() is None


def test_each_out_of_band_request_is_answered_by_one_response() -> None:
    responses = ModelResponses(CountingIds())
    assert not responses.answers_out_of_band()
    responses.out_of_band_requests.add("pb_1")
    assert responses.answers_out_of_band()
    assert not responses.answers_out_of_band()
