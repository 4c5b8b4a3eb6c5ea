from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.half_open import HalfOpen, HalfOpenConnection


class Door:
    """Counts who is in, and notes who was cut."""

    def __init__(self, most: int = 100, most_of_one: int = 100, proxies: tuple[str, ...] = ()) -> None:
        self.half_open = HalfOpen(most, most_of_one, proxies.__contains__)
        self.cut: list[str] = []

    def enter(self, address: str, name: str = "") -> HalfOpenConnection:
        return self.half_open.enter(address, lambda: self.cut.append(name or address))


def test_one_too_many_of_an_address_costs_its_oldest() -> None:
    door = Door(most_of_one=2)
    for name in ("first", "second", "third"):
        door.enter("192.0.2.1", name)
    door.enter("192.0.2.2", "another's")
    assert (door.cut, len(door.half_open)) == (["first"], 3)


def test_one_too_many_in_sum_costs_the_oldest_of_whoever_has_most() -> None:
    door = Door(most=4)
    door.enter("192.0.2.1", "innocent")
    for name in ("first", "second", "third"):
        door.enter("192.0.2.2", name)
    door.enter("192.0.2.3", "newcomer")
    assert (door.cut, len(door.half_open)) == (["first"], 4)


def test_whoever_has_left_is_neither_counted_nor_cut() -> None:
    door = Door(most_of_one=2)
    first = door.enter("192.0.2.1", "first")
    door.half_open.leave(first)
    door.half_open.leave(first)
    assert len(door.half_open) == 0
    for name in ("second", "third", "fourth"):
        door.enter("192.0.2.1", name)
    door.half_open.leave(first)
    assert (door.cut, len(door.half_open)) == (["second"], 2)


def test_a_proxy_may_have_as_many_as_there_are_and_loses_its_own_last() -> None:
    door = Door(most=4, most_of_one=1, proxies=("10.0.0.1",))
    for name in ("a", "b", "c"):
        door.enter("10.0.0.1", name)
    door.enter("192.0.2.1", "stranger")
    assert door.cut == []
    door.enter("10.0.0.1", "d")
    assert door.cut == ["stranger"]
    door.enter("10.0.0.1", "e")
    assert door.cut == ["stranger", "a"]


def test_an_ipv6_network_counts_as_one_address_and_a_mapped_address_as_itself() -> None:
    door = Door(most_of_one=1)
    door.enter("2001:db8:0:1::1", "one")
    door.enter("2001:db8:0:1:ffff::2", "neighbour")
    door.enter("2001:db8:0:2::1", "another network")
    assert door.cut == ["one"]
    door.enter("192.0.2.1", "plain")
    door.enter("::ffff:192.0.2.1", "mapped")
    door.enter("::ffff:192.0.2.2", "mapped, another")
    assert door.cut == ["one", "plain"]


def test_making_room_says_whether_there_was_any_to_make() -> None:
    door = Door()
    assert not door.half_open.cut_one()
    door.enter("")
    assert door.half_open.cut_one()
    assert (door.cut, len(door.half_open)) == ([""], 0)


def test_one_that_leaves_as_it_is_cut_does_no_harm() -> None:
    half_open = HalfOpen(most_of_one_address=1)
    first = half_open.enter("192.0.2.1", lambda: half_open.leave(first))
    half_open.enter("192.0.2.1", lambda: None)
    assert len(half_open) == 1


@given(st.lists(st.tuples(st.sampled_from("abcP"), st.booleans(), st.integers(0, 20))))
def test_the_bounds_hold_whatever_comes_and_goes(steps: list[tuple[str, bool, int]]) -> None:
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
