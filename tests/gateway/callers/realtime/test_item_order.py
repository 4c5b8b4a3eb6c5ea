"""The order of items as a client has it, which is not the model's."""

from __future__ import annotations

from gateway.callers.realtime.item_order import MAX_ITEMS, ItemOrder, previous_id


def order_of(*item_ids: str) -> ItemOrder:
    order = ItemOrder()
    previous = None
    for item_id in item_ids:
        order.add(item_id, previous)
        previous = item_id
    return order


def test_an_item_behind_a_hidden_one_stands_behind_the_last_visible_one() -> None:
    order = order_of("a")
    order.hidden |= {"tool", "output"}
    assert order.add("tool", "a") == "a"
    assert order.add("output", "tool") == "a"
    assert order.place_for("output") == "a"
    assert order.add("b", "output") == "a"


def test_an_item_is_done_behind_what_it_was_added_behind() -> None:
    order = order_of("a")
    assert order.add("b", "a") == "a"
    order.keep("kept", "a")
    assert order.done("b", "a") == "a"
    assert order.done("never added", "b") == "b"


def test_of_too_many_items_the_first_is_forgotten_unless_it_is_the_new_one() -> None:
    order = order_of(*(f"item_{number}" for number in range(MAX_ITEMS)))
    order.wanted("new", "root")
    assert order.add("new", None) is None
    assert order.knows("new")
    assert not order.knows("item_0")
    assert order.add("next", "item_5") == "item_5"


def test_what_the_model_adds_behind_a_kept_item_is_told_so() -> None:
    order = order_of("a")
    assert order.keep("kept", None) == "a"
    assert order.keep("kept too", "kept") == "kept"
    assert order.add("b", "a") == "kept too"


def test_a_client_may_put_an_item_first_or_behind_a_kept_one() -> None:
    order = order_of("a", "b")
    order.keep("kept", "a")
    assert order.wanted("first", "root") == "root"
    assert order.add("first", None) is None
    assert order.wanted("c", "kept") == "a"
    assert order.add("c", "a") == "kept"
    assert order.wanted("d", "b") == "b"
    assert order.add("d", "b") == "b"
    order.keep("head", "root")
    assert order.wanted("e", "head") == "root"
    assert order.wanted("f", None) is None


def test_a_deleted_item_is_nobodys_predecessor() -> None:
    order = order_of("a", "b")
    order.remove("b")
    order.remove("b")
    assert not order.knows("b")
    assert order.add("c", "a") == "a"


def test_a_new_leg_of_the_model_adds_behind_all_that_was_there() -> None:
    order = order_of("a", "broken off")
    order.leg_replaced()
    assert order.add("b", "a") == "broken off"
    assert order.add("c", "b") == "b"
    assert order.add("d", "never told") == "c"
    assert order.add("e", None) == "d"


def test_only_so_many_items_are_remembered() -> None:
    order = order_of(*map(str, range(MAX_ITEMS + 1)))
    assert not order.knows("0")
    assert order.knows("1")


def test_an_event_may_name_no_item_in_front() -> None:
    assert previous_id({"previous_item_id": "a"}) == "a"
    assert previous_id({"previous_item_id": None}) is None
    assert previous_id({"previous_item_id": 7}) is None
    assert previous_id({}) is None
