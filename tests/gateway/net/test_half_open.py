"""Tests for gateway/net/half_open.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.net.half_open import HalfOpen, HalfOpenConnection


class Entry:
    """Half-open connections, with a list of those that were cut."""

    def __init__(self, most: int = 100, most_of_one: int = 100, proxies: tuple[str, ...] = ()) -> None:
        self.half_open = HalfOpen(most, most_of_one, proxies.__contains__)
        self.cut: list[str] = []

    def enter(self, address: str, name: str = "") -> HalfOpenConnection:
        return self.half_open.enter(address, lambda: self.cut.append(name or address))


def test_above_the_limit_of_an_address_its_oldest_connection_is_cut() -> None:
    entry = Entry(most_of_one=2)
    for name in ("first", "second", "third"):
        entry.enter("192.0.2.1", name)
    entry.enter("192.0.2.2", "another's")
    assert (entry.cut, len(entry.half_open)) == (["first"], 3)


def test_above_the_total_limit_the_origin_with_most_connections_loses_its_oldest() -> None:
    entry = Entry(most=4)
    entry.enter("192.0.2.1", "innocent")
    for name in ("first", "second", "third"):
        entry.enter("192.0.2.2", name)
    entry.enter("192.0.2.3", "newcomer")
    assert (entry.cut, len(entry.half_open)) == (["first"], 4)


def test_a_connection_that_has_left_is_neither_counted_nor_cut() -> None:
    entry = Entry(most_of_one=2)
    first = entry.enter("192.0.2.1", "first")
    entry.half_open.leave(first)
    entry.half_open.leave(first)
    assert len(entry.half_open) == 0
    for name in ("second", "third", "fourth"):
        entry.enter("192.0.2.1", name)
    entry.half_open.leave(first)
    assert (entry.cut, len(entry.half_open)) == (["second"], 2)


def test_a_proxy_has_no_limit_of_its_own_and_is_cut_last() -> None:
    entry = Entry(most=4, most_of_one=1, proxies=("10.0.0.1",))
    for name in ("a", "b", "c"):
        entry.enter("10.0.0.1", name)
    entry.enter("192.0.2.1", "stranger")
    assert entry.cut == []
    entry.enter("10.0.0.1", "d")
    assert entry.cut == ["stranger"]
    entry.enter("10.0.0.1", "e")
    assert entry.cut == ["stranger", "a"]


def test_an_ipv6_network_counts_as_one_address_and_a_mapped_address_as_itself() -> None:
    entry = Entry(most_of_one=1)
    entry.enter("2001:db8:0:1::1", "one")
    entry.enter("2001:db8:0:1:ffff::2", "neighbour")
    entry.enter("2001:db8:0:2::1", "another network")
    assert entry.cut == ["one"]
    entry.enter("192.0.2.1", "plain")
    entry.enter("::ffff:192.0.2.1", "mapped")
    entry.enter("::ffff:192.0.2.2", "mapped, another")
    assert entry.cut == ["one", "plain"]


def test_cut_one_says_whether_it_has_cut_a_connection() -> None:
    entry = Entry()
    assert not entry.half_open.cut_one()
    entry.enter("")
    assert entry.half_open.cut_one()
    assert (entry.cut, len(entry.half_open)) == ([""], 0)


def test_a_connection_may_leave_while_it_is_cut() -> None:
    half_open = HalfOpen(most_of_one_address=1)
    first = half_open.enter("192.0.2.1", lambda: half_open.leave(first))
    half_open.enter("192.0.2.1", lambda: None)
    assert len(half_open) == 1


@given(st.lists(st.tuples(st.sampled_from("abcP"), st.booleans(), st.integers(0, 20))))
def test_the_limits_hold_for_any_order_of_arrivals_and_departures(steps: list[tuple[str, bool, int]]) -> None:
    half_open = HalfOpen(6, 3, "P".__eq__)
    inside: dict[HalfOpenConnection, str] = {}
    for address, enters, which in steps:
        if enters:
            connection = half_open.enter(address, lambda: None)
            connection.cut = lambda mine=connection: inside.pop(mine)
            inside[connection] = address
        elif inside:
            connection = list(inside)[which % len(inside)]
            del inside[connection]
            half_open.leave(connection)
        assert len(half_open) == len(inside) <= 6
        assert all(list(inside.values()).count(one) <= 3 for one in "abc")
