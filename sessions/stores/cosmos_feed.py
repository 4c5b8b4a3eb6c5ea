"""Positions in the change feed of Cosmos DB, and the continuation tokens of azure-cosmos that they are made of.

A feed range is a part of the container, at first one physical partition. Each has a continuation of its own, or None
where nothing of it has been read yet. A position holds all ranges in the order in which they are to be read. The SDK's
own token for the whole container would do the same, but azure-cosmos 4.17.1 does not accept a token back in which one
range has not been read yet. When a partition splits, the SDK returns a token with several ranges; they take the place
of the one that was split.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

import orjson

from sessions.stores.contract import BadCursor

POSITION = "cosmos-"  # begins a position, so that no other store's position is taken for one
_FOREIGN = "the position did not come from this store"
_MAX_LENGTH = 1 << 20
_LAST = "FF"  # the end of the last range
_TOKEN = re.compile('"[0-9]{1,20}"')  # an LSN as an ETag
_HEX = re.compile("[0-9A-Fa-f]*")


@dataclass(frozen=True, slots=True)
class FeedRange:
    """A range of hexadecimal hashes of partition keys, from `least` up to `end`, and where its reading stands."""

    least: str
    end: str
    token: str | None

    def as_sdk(self) -> dict[str, Any]:
        """The range as the SDK's `feed_range`."""
        return {"Range": self._bounds()}

    def continuation(self, container_rid: str) -> str | None:
        """The SDK's continuation token for this range; None if it has not been read yet."""
        if self.token is None:
            return None
        bounds = self._bounds()
        state = {
            "v": "v2",
            "containerRid": container_rid,
            "mode": "LatestVersion",
            "startFrom": {"Type": "Beginning"},
            "continuation": {
                "v": "v2",
                "rid": container_rid,
                "continuation": [{"token": self.token, "range": bounds}],
                "Range": bounds,
            },
        }
        return base64.b64encode(orjson.dumps(state)).decode()

    def _bounds(self) -> dict[str, Any]:
        return {"min": self.least, "max": self.end, "isMinInclusive": True, "isMaxInclusive": False}


def range_of(feed_range: Any) -> FeedRange:
    """An unread range from the SDK's `feed_range`. Raises ValueError, KeyError or TypeError for another shape."""
    bounds = feed_range["Range"]
    return FeedRange(str(bounds["min"]), str(bounds["max"]), None)


def ranges_in(continuation: str) -> list[FeedRange]:
    """The ranges in a token of the SDK's: one, or several after a split. Raises ValueError, KeyError or TypeError."""
    state = orjson.loads(base64.b64decode(continuation))
    return [
        FeedRange(str(part["range"]["min"]), str(part["range"]["max"]), part["token"])
        for part in state["continuation"]["continuation"]
    ]


def write_position(container_rid: str, ranges: list[FeedRange]) -> str:
    """The position that holds these ranges of a container."""
    content = orjson.dumps([container_rid, [[one.least, one.end, one.token] for one in ranges]])
    return POSITION + base64.urlsafe_b64encode(content).decode().rstrip("=")


def read_position(text: str, container_rid: str) -> list[FeedRange]:
    """The ranges in a position. Raises BadCursor for one of another container, or with a token that is no number."""
    encoded = text.removeprefix(POSITION)
    if not text.startswith(POSITION) or len(encoded) > _MAX_LENGTH:
        raise BadCursor(_FOREIGN)
    try:
        content = orjson.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, binascii.Error) as error:  # orjson's error is a ValueError
        raise BadCursor(_FOREIGN) from error
    match content:
        case [str(rid), [_, *_] as parts] if rid == container_rid:
            ranges = [_range_in(part) for part in parts]
            if _is_whole(ranges):
                return ranges
    raise BadCursor(_FOREIGN)


def _range_in(part: object) -> FeedRange:
    """The range in a part of a position. Raises BadCursor for a token that is no number in quotes.

    A number that is too high is not refused: only Cosmos DB knows how far a range has come. Behind it nothing is found
    until the range has come that far, so that the documents up to there are left out.
    """
    match part:
        # The token travels in a header, so nothing else may be in it.
        case [str(least), str(end), None | str() as token] if token is None or _TOKEN.fullmatch(token):
            return FeedRange(least, end, token)
    raise BadCursor(_FOREIGN)


def _is_whole(ranges: list[FeedRange]) -> bool:
    """Whether ranges make up a whole container: without gaps, and none of them over another."""
    ordered = sorted(ranges, key=lambda one: one.least)
    ends = ["", *(one.end for one in ordered)]
    steps = all(one.least == end and one.least < one.end for one, end in zip(ordered, ends, strict=False))
    return steps and ends[-1] == _LAST and all(_HEX.fullmatch(end) for end in ends)
