from __future__ import annotations

from sessions.response_states import MAX_RESPONSES, OVER, Responses
from sessions.values import ResponseRequest


def speaking(*response_ids: str) -> Responses:
    """Responses of the conversation that have begun, the last of them with a live item."""
    responses = Responses()
    for response_id in response_ids:
        responses.begin(response_id, out_of_band=False)
        assert responses.speaks(response_id, f"item of {response_id}")
    return responses


def test_a_response_runs_from_its_beginning_to_its_end() -> None:
    responses = Responses()
    assert (responses.find("r"), responses.runs("r"), responses.is_over("r")) == (None, False, False)
    responses.begin("r", out_of_band=False)
    assert (responses.runs("r"), responses.is_over("r"), responses.is_cut("r")) == (True, False, False)
    responses.end("r")
    assert (responses.runs("r"), responses.is_over("r"), responses.is_cut("r")) == (False, True, True)


def test_one_that_nobody_saw_begin_can_end() -> None:
    responses = Responses()
    responses.end("r")
    response = responses.find("r")
    assert response is not None
    assert (response.phase, response.out_of_band) == (OVER, False)


def test_one_that_is_unknown_may_speak_but_its_item_is_not_the_live_one() -> None:
    responses = Responses()
    assert not responses.is_cut("r")
    assert not responses.speaks("r", "item")
    assert responses.live_item is None


def test_one_that_is_cut_runs_on_and_says_nothing_more() -> None:
    responses = speaking("r")
    assert (responses.live_response, responses.live_item) == ("r", "item of r")
    responses.cut("r")
    assert (responses.runs("r"), responses.is_cut("r"), responses.live_item) == (True, True, None)
    assert not responses.speaks("r", "another")
    responses.end("r")
    responses.cut("r")
    assert responses.is_over("r")


def test_another_ones_item_stays_live_when_one_is_cut() -> None:
    responses = speaking("a", "b")
    responses.cut("a")
    responses.cut("unknown")
    assert responses.live_item == "item of b"


def test_an_interruption_cuts_all_of_the_conversation() -> None:
    responses = speaking("a", "b")
    responses.begin("side", out_of_band=True)
    responses.cut_all()
    assert [responses.is_cut(name) for name in ("a", "b", "side")] == [True, True, False]
    assert responses.live_item is None
    responses.begin("c", out_of_band=False)
    assert not responses.is_cut("c")


def test_those_beside_the_conversation_begin_in_the_order_of_their_requests() -> None:
    responses = Responses()
    for name in ("one", "two"):
        responses.out_of_band_asked[name] = ResponseRequest(name, True, None, None, None)
    responses.begin("r1", out_of_band=True)
    assert list(responses.out_of_band_asked) == ["two"]
    responses.begin("r2", out_of_band=True)
    responses.begin("r3", out_of_band=True)
    assert responses.out_of_band_asked == {}
    assert [responses.is_out_of_band(name) for name in ("r1", "r3", "unknown")] == [True, True, False]


def test_what_ran_on_a_lost_leg_is_over() -> None:
    responses = speaking("a", "b", "c")
    responses.begin("side", out_of_band=True)
    responses.end("b")
    responses.cancelled_request = "ask"
    assert responses.take_running() == ("a", "c", "side")
    assert responses.take_running() == ()
    assert all(responses.is_over(name) for name in ("a", "b", "c", "side"))
    assert (responses.live_item, responses.cancelled_request) == (None, None)


def test_whether_one_has_words_is_kept() -> None:
    responses = speaking("r")
    assert (responses.has_words("r"), responses.has_words("unknown")) == (False, False)
    response = responses.find("r")
    assert response is not None
    response.worded = True
    responses.end("r")
    assert responses.has_words("r")


def test_the_oldest_are_forgotten_whether_they_run_or_not() -> None:
    responses = Responses()
    for n in range(MAX_RESPONSES + 2):
        responses.begin(f"r{n}", out_of_band=False)
    assert [responses.find(f"r{n}") is None for n in range(3)] == [True, True, False]
    assert len(responses.take_running()) == MAX_RESPONSES
