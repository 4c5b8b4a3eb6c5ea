"""A function's result becomes text, and however large it is, the loop is not held up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from gateway.clock import LoopClock
from gateway.tools.contract import MOST_CUT_CHARS, ToolContext, ToolResult, cut
from gateway.tools.functions import from_function
from gateway.tools.returned import MANY_PARTS, MOST_JSON_BYTES, TOO_LONG, is_large, to_result
from sessions.errors import ToolFailed

# The most time on the loop for one result, in seconds. 12 MB converted in one step would take 100 ms or more.
LOOP_S = 0.05


class Guest(BaseModel):
    names: list[int]


@dataclass
class Stay:
    nights: list[int] = field(default_factory=list)


def nested(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


def circle() -> Any:
    made: list[Any] = []
    made.append(made)
    return made


PARTS = [{"number": number, "words": "aaaaaaaaaa"} for number in range(400_000)]
LONG = list(range(MANY_PARTS + 1))
DEEP = nested(100_000)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("returned", [PARTS, DEEP, "word " * 2_400_000, ToolResult("ä" * 12_000_000, None, None)])
def test_a_result_of_any_size_takes_little_time_on_the_loop(returned: object, plain: bool) -> None:
    def give() -> object:
        """Give."""
        return returned

    async def give_async() -> object:
        """Give."""
        return returned

    async def main() -> tuple[ToolResult | None, float]:
        made = from_function(give if plain else give_async)
        context = ToolContext("s", f"agent {plain}", {}, LoopClock(asyncio.get_running_loop(), 0.0))
        begun = time.thread_time()
        result = None
        try:
            result = await made.run({}, context)
            cut(result.text, 16 * 1024)
        except ToolFailed:
            assert returned is DEEP
        return result, time.thread_time() - begun

    result, cost_s = asyncio.run(main())
    assert cost_s < LOOP_S
    if result is not None:
        assert len(result.text) < 2 * MOST_JSON_BYTES
        assert "[Cut: the result has more than 1048576 bytes" in cut(result.text, 16 * 1024) or returned is not PARTS


@pytest.mark.parametrize(
    "small", [None, 7, "x", [1, {"a": [2]}], Guest(names=[1]), Stay([1]), list(range(MANY_PARTS - 1)), object(), b"x"]
)
def test_a_small_value_is_not_large(small: object) -> None:
    assert not is_large(small)


@pytest.mark.parametrize(
    "large",
    [
        LONG,
        {"a": LONG},
        dict.fromkeys(LONG),
        Guest(names=LONG),
        Stay(LONG),
        [Stay(LONG)],
        ["x" * 1_000_000],
        {"x" * 1_000_000: 1},
        DEEP,
        circle(),
    ],
    ids=lambda large: type(large).__name__,
)
def test_a_large_value_is_large(large: object) -> None:
    assert is_large(large)


def test_a_large_result_reads_like_a_small_one_until_it_is_too_long() -> None:
    whole = {"stays": [Stay([1])] * 3000, "guests": [Guest(names=[2])] * 3000, "emoji": "\ud83d"}
    assert is_large(whole)
    told = orjson.loads(to_result("give", whole).text)
    assert told == {"stays": [{"nights": [1]}] * 3000, "guests": [{"names": [2]}] * 3000, "emoji": "\ufffd"}
    assert len(to_result("give", PARTS).text) > MOST_JSON_BYTES


@pytest.mark.parametrize("make", [lambda: Guest(names=LONG), lambda: [Stay(LONG)]])
def test_an_object_that_is_large_itself_is_reported_as_done_but_not_shown(make: Callable[[], object]) -> None:
    with pytest.raises(ToolFailed, match=TOO_LONG):
        to_result("give", make())


@pytest.mark.parametrize("odd", [DEEP, circle(), [object()] * (MANY_PARTS + 1), [10**4999] * (MANY_PARTS + 1)])
def test_a_value_that_json_cannot_carry_is_a_failure_at_any_size(odd: object) -> None:
    with pytest.raises(ToolFailed):
        to_result("give", odd)


def test_a_text_past_the_bound_says_that_it_is_longer() -> None:
    assert cut("x" * 300, 100).endswith("[Cut: the result has 300 bytes, 100 are shown.]")
    longer = to_result("give", "x" * (5 * MOST_CUT_CHARS)).text
    assert cut(longer, 100).endswith("[Cut: the result has more than 1048576 bytes, 100 are shown.]")
