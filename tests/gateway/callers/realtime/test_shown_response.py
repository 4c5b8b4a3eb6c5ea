"""The output indices of a response for a client that does not see all of its items."""

from __future__ import annotations

import orjson

from gateway.callers.realtime.shown_response import ShownResponse


def test_an_index_counts_what_the_client_sees() -> None:
    seen = ShownResponse({})
    assert seen.index({"output_index": 3}) == 3
    seen.hidden |= {0, 2, 3}
    assert [seen.index({"output_index": index}) for index in (1, 4, 5)] == [0, 1, 2]


def test_an_event_without_an_index_is_of_the_first_output() -> None:
    assert ShownResponse({}).index({}) == 0
    assert ShownResponse({}).index({"output_index": "1"}) == 0


def test_a_message_keeps_all_but_its_index() -> None:
    seen = ShownResponse({}, hidden={0})
    assert orjson.loads(seen.indexed({"type": "x", "output_index": 1, "new": [1]})) == {
        "type": "x",
        "output_index": 0,
        "new": [1],
    }
