from __future__ import annotations

from sessions.events import ResponseRequest
from sessions.wishes import MAX_WAITING, Origin, Wish, WishLine


def wish(name: str, origin: Origin = Origin.CLIENT) -> Wish:
    return Wish(ResponseRequest(name, False, None, None, None), origin, name)


def name_of(wish: Wish | None) -> str | None:
    return wish.request.request_id if wish is not None else None


def line_of(*wishes: Wish) -> WishLine:
    line = WishLine()
    for each in wishes:
        assert line.add(each)
    return line


def test_wishes_are_taken_in_the_order_of_asking() -> None:
    line = line_of(wish("a"), wish("b"))
    assert [name_of(line.take()) for _ in "ab"] == ["a", "b"]
    assert (len(line), line.head) == (0, None)


def test_our_own_requests_go_before_a_clients() -> None:
    line = line_of(wish("a"), wish("ours", Origin.TOOLS))
    assert name_of(line.head) == "ours"
    assert len(line) == 2


def test_a_full_line_refuses_a_client_and_never_us() -> None:
    line = line_of(*(wish(f"c{n}") for n in range(MAX_WAITING)))
    assert not line.add(wish("no"))
    assert line.add(wish("ours", Origin.TOOLS))


def test_one_request_for_the_results_of_tools_is_enough() -> None:
    line = line_of(wish("t1", Origin.TOOLS))
    line.put_back(wish("t0", Origin.TOOLS))
    assert len(line) == 1
    line.put_back(wish("c"))
    assert name_of(line.head) == "c"


def test_a_withdrawn_request_is_not_asked() -> None:
    line = line_of(wish("a"), wish("b"), wish("ours", Origin.RESUME))
    assert name_of(line.withdraw(Origin.CLIENT)) == "b"
    assert name_of(line.withdraw(Origin.RESUME)) == "ours"
    assert line.withdraw(Origin.TOOLS) is None
    assert (line.has(Origin.CLIENT), line.has(Origin.RESUME)) == (True, False)
