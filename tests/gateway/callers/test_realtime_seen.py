"""A response's output indices, as a client that must not see all of them counts."""

from __future__ import annotations

import orjson

from gateway.callers.realtime_seen import SeenResponse


def test_an_index_counts_what_the_client_sees() -> None:
    seen = SeenResponse({})
    assert seen.index({"output_index": 3}) == 3
    seen.hidden |= {0, 2, 3}
    assert [seen.index({"output_index": index}) for index in (1, 4, 5)] == [0, 1, 2]


def test_an_event_without_an_index_is_of_the_first_output() -> None:
    assert SeenResponse({}).index({}) == 0
    assert SeenResponse({}).index({"output_index": "1"}) == 0


def test_a_message_keeps_all_but_its_index() -> None:
    seen = SeenResponse({}, hidden={0})
    assert orjson.loads(seen.indexed({"type": "x", "output_index": 1, "new": [1]})) == {
        "type": "x",
        "output_index": 0,
        "new": [1],
    }
