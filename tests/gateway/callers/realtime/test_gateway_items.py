"""Items that a client has and the model does not have: they can be seen, retrieved and deleted."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.callers.realtime.gateway_items import MAX_KEPT_BYTES, GatewayItems
from gateway.callers.realtime.item_order import ItemOrder
from gateway.ids import CountingIds
from sessions.errors import WireError


def system(item_id: str) -> dict[str, Any]:
    """A system message."""
    return {
        "id": item_id,
        "type": "message",
        "role": "system",
        "content": [{"type": "input_text", "text": "Be brief."}],
    }


def kept_beside(order: ItemOrder) -> GatewayItems:
    return GatewayItems(CountingIds(), order)


def test_an_item_that_only_the_gateway_knows_is_shown_where_the_client_put_it() -> None:
    order = ItemOrder()
    order.add("a", None)
    order.add("b", "a")
    added, done = map(orjson.loads, kept_beside(order).create(system("s"), "a", 100))
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    assert added["previous_item_id"] == done["previous_item_id"] == "a"
    assert order.add("c", "a") == "s"


def test_it_can_be_retrieved_and_deleted_once() -> None:
    order = ItemOrder()
    kept = kept_beside(order)
    kept.create(system("s"), None, 100)
    retrieved, deleted = kept.retrieve("s"), kept.delete("s")
    assert retrieved is not None
    assert orjson.loads(retrieved)["item"]["content"] == system("s")["content"]
    assert deleted is not None
    assert orjson.loads(deleted)["type"] == "conversation.item.deleted"
    assert not order.knows("s")
    assert (kept.retrieve("s"), kept.delete("s")) == (None, None)


def test_an_item_of_the_models_may_have_another_state_here() -> None:
    kept = kept_beside(ItemOrder())
    kept.put(system("s"))
    kept.change({**system("s"), "content": []})
    retrieved = kept.retrieve("s")
    assert retrieved is not None
    assert orjson.loads(retrieved)["item"]["content"] == []


def test_an_item_that_the_model_has_too_is_the_models_to_delete_and_is_gone_for_good() -> None:
    kept = kept_beside(ItemOrder())
    kept.put(system("s"))
    assert kept.delete("s") is None
    kept.change({**system("s"), "content": []})  # its tool returns later
    assert kept.retrieve("s") is None


def test_an_id_that_is_taken_is_refused() -> None:
    order = ItemOrder()
    order.add("a", None)
    with pytest.raises(WireError) as caught:
        kept_beside(order).create(system("a"), None, 100)
    assert (caught.value.code, caught.value.param) == ("item_create_duplicate_item_id", "item.id")


def test_there_is_an_end_to_what_is_kept() -> None:
    kept = kept_beside(ItemOrder())
    kept.create(system("s"), None, MAX_KEPT_BYTES)
    with pytest.raises(WireError) as caught:
        kept.create(system("t"), None, 1)
    assert caught.value.code == "rate_limit_exceeded"
