from __future__ import annotations

from sessions.pending_responses import MAX_WAITING, Origin, PendingResponse, ResponseBacklog
from sessions.values import ResponseRequest


def pending(name: str, origin: Origin = Origin.CLIENT) -> PendingResponse:
    return PendingResponse(ResponseRequest(name, False, None, None, None), origin, name)


def name_of(pending: PendingResponse | None) -> str | None:
    return pending.request.request_id if pending is not None else None


def backlog_of(*requests: PendingResponse) -> ResponseBacklog:
    backlog = ResponseBacklog()
    for each in requests:
        assert backlog.add(each)
    return backlog


def test_wishes_are_taken_in_the_order_of_asking() -> None:
    backlog = backlog_of(pending("a"), pending("b"))
    assert [name_of(backlog.take()) for _ in "ab"] == ["a", "b"]
    assert (len(backlog), backlog.head) == (0, None)


def test_our_own_requests_go_before_a_clients() -> None:
    backlog = backlog_of(pending("a"), pending("ours", Origin.TOOLS))
    assert name_of(backlog.head) == "ours"
    assert len(backlog) == 2


def test_a_full_line_refuses_a_client_and_never_us() -> None:
    backlog = backlog_of(*(pending(f"c{n}") for n in range(MAX_WAITING)))
    assert not backlog.add(pending("no"))
    assert backlog.add(pending("ours", Origin.TOOLS))


def test_one_request_for_the_results_of_tools_is_enough() -> None:
    backlog = backlog_of(pending("t1", Origin.TOOLS))
    backlog.put_back(pending("t0", Origin.TOOLS))
    assert len(backlog) == 1
    backlog.put_back(pending("c"))
    assert name_of(backlog.head) == "c"


def test_one_request_for_keys_is_enough() -> None:
    backlog = backlog_of(pending("k1", Origin.KEYS))
    backlog.put_back(pending("k0", Origin.KEYS))
    backlog.put_back(pending("t", Origin.TOOLS))
    assert (name_of(backlog.head), len(backlog)) == ("t", 2)


def test_a_withdrawn_request_is_not_asked() -> None:
    backlog = backlog_of(pending("a"), pending("b"), pending("ours", Origin.RESUME))
    assert name_of(backlog.withdraw(Origin.CLIENT)) == "b"
    assert name_of(backlog.withdraw(Origin.RESUME)) == "ours"
    assert backlog.withdraw(Origin.TOOLS) is None
    assert (backlog.has(Origin.CLIENT), backlog.has(Origin.RESUME)) == (True, False)
