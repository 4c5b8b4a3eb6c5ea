"""The ids that a client gives."""

from __future__ import annotations

from gateway.callers.realtime.client_ids import MAX_MESSAGES, ClientIds
from gateway.callers.realtime.item_order import MAX_ITEMS
from gateway.ids import CountingIds
from sessions.ports import JsonObject


def test_the_latest_items_that_a_client_wrote_are_known() -> None:
    names = ClientIds(CountingIds())
    for number in range(MAX_ITEMS):
        names.wrote(f"item_{number}")
    names.wrote("item_1")  # a name that it gives again, as after a delete
    assert names.has_item("item_0")
    names.wrote("one more")
    assert [names.has_item(name) for name in ("item_0", "item_1", "item_2", "one more")] == [False, True, True, True]
    assert not names.has_item("the model's")


def error_about(message: JsonObject) -> JsonObject:
    """The model's answer."""
    return {"type": "error", "error": {"code": "no", "event_id": message.get("event_id")}}


def test_a_message_that_is_named_like_ours_has_another_name_at_the_model() -> None:
    names = ClientIds(CountingIds())
    message: JsonObject = {"type": "conversation.item.delete", "event_id": "pb_e", "item_id": "a"}
    told = names.towards_model(message)
    assert told == {**message, "event_id": "client_1"}
    assert names.towards_client(error_about(told)) == error_about(message)


def test_any_other_message_goes_on_as_it_is() -> None:
    names = ClientIds(CountingIds())
    for message in ({"type": "x"}, {"type": "x", "event_id": "ok_e"}, {"type": "x", "event_id": None}):
        assert names.towards_model(message) is message
    for answer in (error_about({"event_id": "ok_e"}), error_about({}), {"type": "error"}):
        assert names.towards_client(answer) is answer


def test_only_so_many_messages_are_remembered() -> None:
    names = ClientIds(CountingIds())
    told = [names.towards_model({"event_id": f"pb_{number}"}) for number in range(MAX_MESSAGES + 1)]
    assert names.towards_client(error_about(told[0])) == error_about(told[0])
    assert names.towards_client(error_about(told[1])) == error_about({"event_id": "pb_1"})


def test_an_error_about_a_message_that_we_have_named_is_about_none_of_the_clients_names() -> None:
    answer = error_about({"event_id": "pb_1"})
    assert ClientIds(CountingIds()).towards_client(answer) == error_about({})
