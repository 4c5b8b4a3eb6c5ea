"""Positions in the change feed: written, read back, and refused where they come from elsewhere."""

from __future__ import annotations

import base64

import orjson
import pytest

from sessions.stores.contract import BadCursor
from sessions.stores.cosmos_feed import POSITION, FeedRange, range_of, ranges_in, read_position, write_position

RANGES = [FeedRange("", "55", '"7"'), FeedRange("55", "FF", None)]


def made_up(content: object) -> str:
    return POSITION + base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def test_a_position_is_read_back() -> None:
    position = write_position("rid", RANGES)
    assert read_position(position, "rid") == RANGES
    assert position == write_position("rid", read_position(position, "rid"))


def test_the_ranges_of_a_position_are_read_in_any_order() -> None:
    turned = [FeedRange("55", "FF", '"7"'), FeedRange("", "22", None), FeedRange("22", "55", '"0"')]
    assert read_position(write_position("rid", turned), "rid") == turned


def test_the_sdks_token_of_one_range_is_made_and_read() -> None:
    assert RANGES[1].continuation("rid") is None
    token = RANGES[0].continuation("rid")
    assert token is not None
    assert ranges_in(token) == [RANGES[0]]
    assert range_of(RANGES[0].as_sdk()) == FeedRange("", "55", None)


def test_a_token_after_a_split_has_several_ranges() -> None:
    halves = [FeedRange("", "22", '"7"'), FeedRange("22", "55", None)]
    parts = [{"token": half.token, "range": half.as_sdk()["Range"]} for half in halves]
    token = base64.b64encode(orjson.dumps({"v": "v2", "continuation": {"continuation": parts}})).decode()
    assert ranges_in(token) == halves


@pytest.mark.parametrize(
    "position",
    [
        "",
        "cosmos-",
        "cosmos-!!!",
        "cosmos-é",
        "sqlite-5",
        write_position("another", RANGES),
        made_up({}),
        made_up(["rid", []]),
        made_up(["rid", 5]),
        made_up(["rid", [["", "FF"]]]),
        made_up(["rid", [["", "FF", 5]]]),
        made_up(["rid", [["FF", "", None]]]),
        made_up(["rid", [["", "FF", None]], 1]),
        made_up(["rid", [["", "55", None]]]),
        made_up(["rid", [["", "55", None], ["44", "FF", None]]]),
        made_up(["rid", [["", "55", None], ["66", "FF", None]]]),
        made_up(["rid", [["", "FF", None], ["", "FF", None]]]),
        made_up(["rid", [["", "FG", None], ["FG", "FF", None]]]),
        made_up(["rid", [["", "5\n", None], ["5\n", "FF", None]]]),
        made_up(["rid", [["", "FF", '"7"\r\nx-ms-date: now']]]),
        made_up(["rid", [["", "FF", '"7\n"']]]),
        made_up(["rid", [["", "FF", '"é"']]]),
        *(
            made_up(["rid", [["", "FF", token]]])
            for token in (
                "",
                "7",
                '"',
                '""',
                '"-5"',
                '"7',
                '7"',
                '"7.5"',
                '"+7"',
                '" 7"',
                '"x"',
                "*",
                'W/"7"',
                '"٧"',
                '"7""',
            )
        ),
        "cosmos-" + "A" * (1 << 21),
    ],
    ids=lambda position: position[:40],
)
def test_a_position_of_another_store_or_container_is_refused(position: str) -> None:
    with pytest.raises(BadCursor):
        read_position(position, "rid")
