"""Items in their order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.realtime.server.item_list import ItemList

STEPS = st.lists(st.tuples(st.sampled_from(["insert", "remove"]), st.integers(0, 9), st.integers(0, 9)))


@given(STEPS)
def test_it_behaves_like_a_list_of_unique_items(steps: list[tuple[str, int, int]]) -> None:
    items, plain = ItemList(), list[str]()
    for step, number, place in steps:
        name = f"item_{number}"
        if step == "remove" and name in plain:
            plain.remove(name)
            items.remove(name)
        elif step == "insert" and name not in plain:
            at = min(place, len(plain))
            items.insert(name, plain[at - 1] if at else None)
            plain.insert(at, name)
    assert list(items) == plain
    assert len(items) == len(plain)
    assert (items.first, items.last) == ((plain[0], plain[-1]) if plain else (None, None))
    around = [None, *plain, None]
    for at, name in enumerate(plain):
        assert name in items
        assert (items.before(name), items.after(name)) == (around[at], around[at + 2])
    items.clear()
    assert list(items) == []
