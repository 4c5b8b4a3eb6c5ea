"""What a client named itself."""

from __future__ import annotations

from gateway.callers.realtime_names import ClientNames
from gateway.callers.realtime_order import MAX_ITEMS


def test_the_latest_items_that_a_client_wrote_are_known() -> None:
    names = ClientNames()
    for number in range(MAX_ITEMS):
        names.wrote(f"item_{number}")
    names.wrote("item_1")  # a name that it gives again, as after a delete
    assert names.has_item("item_0")
    names.wrote("one more")
    assert [names.has_item(name) for name in ("item_0", "item_1", "item_2", "one more")] == [False, True, True, True]
    assert not names.has_item("the model's")
