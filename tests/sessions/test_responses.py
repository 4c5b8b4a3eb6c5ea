from __future__ import annotations

from sessions.pending_responses import Origin, PendingResponse
from sessions.responses import ASKED_LIMIT_MS, ResponseQueue
from sessions.values import ResponseRequest


def pending(name: str, origin: Origin = Origin.CLIENT) -> PendingResponse:
    return PendingResponse(ResponseRequest(name, False, None, None, None), origin, name)


def name_of(pending: PendingResponse | None) -> str | None:
    return pending.request.request_id if pending is not None else None


def queue_of(*requests: PendingResponse) -> ResponseQueue:
    queue = ResponseQueue()
    for each in requests:
        assert queue.waiting.add(each)
    return queue


def test_one_request_at_a_time() -> None:
    queue = queue_of(pending("a"), pending("b"))
    assert name_of(queue.ask_next(0)) == "a"
    assert queue.ask_next(0) is None
    assert name_of(queue.started("r1")) == "a"
    assert queue.ask_next(0) is None
    ended = queue.ended("r1")
    assert ended is not None
    assert name_of(ended.pending) == "a"
    assert name_of(queue.ask_next(0)) == "b"


def test_the_end_of_another_response_frees_nothing() -> None:
    queue = ResponseQueue()
    queue.started("r1")
    assert queue.ended("r2") is None
    assert queue.busy


def test_what_a_client_has_reason_to_know_of() -> None:
    queue = queue_of(pending("ours", Origin.TOOLS), pending("c"))
    assert not queue.client_sees_one()
    queue.ask_next(0)
    assert not queue.client_sees_one()
    queue.started("r1")
    assert queue.client_sees_one()
    queue.ended("r1")
    queue.ask_next(0)
    assert queue.client_sees_one()


def test_a_refused_request_is_returned_once() -> None:
    queue = queue_of(pending("a"))
    queue.ask_next(0)
    assert queue.refused("someone") is None
    assert queue.refused("a") == (pending("a"), False)
    assert queue.refused("a") is None
    assert not queue.busy


def test_a_refusal_shows_that_what_began_was_the_models_own() -> None:
    queue = queue_of(pending("a"))
    queue.ask_next(0)
    queue.started("own")
    assert queue.latest_asked == "a"
    assert queue.refused("a") == (pending("a"), True)
    assert queue.active is not None
    assert queue.active.pending is None
    assert queue.latest_asked is None


def test_a_refusal_is_understood_even_after_the_next_response_began() -> None:
    queue = queue_of(pending("a"))
    queue.ask_next(0)
    queue.started("own")
    queue.ended("own")
    queue.started("another")
    assert queue.refused("a") == (pending("a"), True)


def test_a_request_that_is_not_answered_is_overdue() -> None:
    queue = queue_of(pending("a"))
    assert queue.deadline_ms is None
    queue.ask_next(100)
    assert queue.deadline_ms == 100 + ASKED_LIMIT_MS
    assert not queue.overdue(99 + ASKED_LIMIT_MS)
    assert queue.overdue(100 + ASKED_LIMIT_MS)


def test_a_pause_ends_in_time_or_with_a_response() -> None:
    queue = queue_of(pending("a"), pending("b"))
    queue.pause(500)
    assert (queue.ask_next(499), queue.deadline_ms) == (None, 500)
    assert not queue.overdue(500)
    assert queue.deadline_ms is None
    queue.pause(900)
    queue.started("own")
    queue.ended("own")
    assert name_of(queue.ask_next(600)) == "a"


def test_a_lost_leg_leaves_the_line_as_it_was() -> None:
    queue = queue_of(pending("a"), pending("b"))
    queue.ask_next(0)
    assert name_of(queue.leg_lost()) == "a"
    assert (queue.busy, len(queue.waiting)) == (False, 1)
    assert queue.refused("a") is None
