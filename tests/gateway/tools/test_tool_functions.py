"""Python functions as tools: their schema, their arguments, their results, and their failures."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field
from support.anything import OddError

from gateway.tools.contract import ToolContext, ToolResult, is_marked, tool
from gateway.tools.functions import BUILT_IN, FunctionTool, from_function
from sessions.caller_facts import CallerFacts
from sessions.errors import ToolFailed


@dataclass
class StoppedClock:
    """A clock that always shows 2026-11-20 14:00 UTC."""

    wall: float = 1795183200.0

    def now_ms(self) -> int:
        return 0

    def wall_s(self) -> float:
        return self.wall


CONTEXT = ToolContext("sess_1", "front-desk", CallerFacts.of("+4930"), StoppedClock())


def run(function_tool: FunctionTool, **arguments: Any) -> ToolResult:
    async def main() -> ToolResult:
        async with asyncio.timeout(5):
            return await function_tool.run(arguments, CONTEXT)

    return asyncio.run(main())


def named(name: str) -> FunctionTool:
    return next(one for one in BUILT_IN if one.name == name)


class Size(StrEnum):
    """Sizes."""

    SMALL = "small"
    LARGE = "large"


class Guest(BaseModel):
    """A guest."""

    name: str


@tool
async def order(
    dish: str,
    count: Annotated[int, Field(ge=1)],
    context: ToolContext,
    size: Size = Size.SMALL,
    spicy: bool | None = None,
    drink: Literal["water", "wine"] = "water",
) -> str:
    """Order a dish
    for the table.

    More words about it.

    Args:
        dish: What to bring,
            as on the menu.
        count (int): How many.

    Returns:
        A sentence.
    """
    return f"{count} {size} {dish} with {drink} for {context.caller['number']}"


def test_the_schema_comes_from_hints_and_docstring() -> None:
    made = from_function(order)
    assert is_marked(order)
    assert made.name == "order"
    assert made.description == "Order a dish for the table. More words about it."
    parameters: Any = made.spec.parameters
    assert parameters["type"] == "object"
    assert parameters["required"] == ["dish", "count"]
    assert parameters["properties"]["dish"] == {"type": "string", "description": "What to bring, as on the menu."}
    assert parameters["properties"]["count"] == {"type": "integer", "minimum": 1, "description": "How many."}
    assert parameters["properties"]["drink"]["enum"] == ["water", "wine"]
    assert "context" not in parameters["properties"]


def test_a_function_receives_checked_arguments_and_the_context() -> None:
    made = from_function(order)
    assert run(made, dish="soup", count="2").text == "2 small soup with water for +4930"
    assert run(made, dish="soup", count=1, size="large", drink="wine").text == "1 large soup with wine for +4930"
    for wrong in ({"dish": "soup"}, {"dish": "soup", "count": 0}, {"dish": "x", "count": 1, "drink": "beer"}):
        with pytest.raises(ToolFailed, match=r"order cannot take these arguments: (count|drink): "):
            run(made, **wrong)


def test_a_parameter_may_be_a_model_and_keeps_its_titles() -> None:
    async def greet(guest: Guest, title: str = "Dr") -> str:
        """Greet.

        :param title: How to call them.
        """
        return f"{title} {guest.name}"

    made = from_function(greet)
    parameters: Any = made.parameters
    assert parameters["properties"]["title"] == {"type": "string", "default": "Dr", "description": "How to call them."}
    assert run(made, guest={"name": "Bell"}).text == "Dr Bell"


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (None, "Done."),
        ("words", "words"),
        ({"a": [1, 2]}, '{"a":[1,2]}'),
        (3, "3"),
        (Guest(name="Bell"), '{"name":"Bell"}'),
    ],
)
def test_what_a_function_returns_becomes_text(returned: object, text: str) -> None:
    async def give() -> object:
        """Give."""
        return returned

    assert run(from_function(give)) == ToolResult(text, None, None)


def test_a_function_may_return_a_tool_result() -> None:
    async def leave() -> ToolResult:
        """Leave."""
        return ToolResult("Bye.", None, "hang_up")

    assert run(from_function(leave)).then == "hang_up"


def test_a_value_that_json_cannot_carry_is_a_failure() -> None:
    async def give() -> object:
        """Give."""
        return object()

    with pytest.raises(ToolFailed):
        run(from_function(give))


def test_a_plain_function_runs_in_a_thread() -> None:
    def where() -> str:
        """Where."""
        return threading.current_thread().name

    assert run(from_function(where)).text == "patchbay-tool"


@pytest.mark.parametrize("plain", [True, False])
def test_an_exception_fails_the_call_and_keeps_its_words_out_of_the_log(
    plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def look(number: str) -> str:
        """Look."""
        raise KeyError(number)

    async def look_async(number: str) -> str:
        """Look."""
        raise KeyError(number)

    with caplog.at_level(logging.ERROR), pytest.raises(ToolFailed) as failed:
        run(from_function(look if plain else look_async), number="+4930123")
    assert failed.value.message == "That did not work."
    (logged,) = caplog.records
    assert logged.__dict__["kind"] == "KeyError"
    assert "test_tool_functions.py:" in logged.__dict__["place"]
    assert "+4930123" not in str(logged.__dict__)


@pytest.mark.parametrize("plain", [True, False])
def test_a_function_refuses_in_its_own_words(plain: bool) -> None:
    def look() -> str:
        """Look."""
        raise ToolFailed("We are out of soup.")

    async def look_async() -> str:
        """Look."""
        raise ToolFailed("We are out of soup.")

    with pytest.raises(ToolFailed, match="out of soup"):
        run(from_function(look if plain else look_async))


RAISED: list[type[BaseException]] = [
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    RecursionError,
    MemoryError,
    StopIteration,
    OddError,
]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("raised", RAISED)
def test_any_exception_of_a_function_fails_this_call_only(
    raised: type[BaseException], plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def look() -> str:
        """Look."""
        raise raised

    async def look_async() -> str:
        """Look."""
        raise raised

    with caplog.at_level(logging.ERROR), pytest.raises(ToolFailed, match="did not work"):
        run(from_function(look if plain else look_async))
    (logged,) = caplog.records
    assert logged.__dict__["tool"] == ("look" if plain else "look_async")
    if raised is not StopIteration:  # a coroutine turns StopIteration into a RuntimeError, raised elsewhere
        assert "test_tool_functions.py:" in logged.__dict__["place"]


def test_a_validator_that_raises_system_exit_fails_this_call_only() -> None:
    def leave(value: str) -> str:
        raise SystemExit(2)

    def look(day: Annotated[str, AfterValidator(leave)]) -> str:
        """Look."""
        return day

    # The names of this test are not in the module, where type hints are looked up.
    look.__annotations__["day"] = Annotated[str, AfterValidator(leave)]
    with pytest.raises(ToolFailed, match="did not work"):
        run(from_function(look), day="monday")


@pytest.mark.parametrize(
    "returned",
    [
        ToolResult(None, None, None),  # type: ignore[arg-type]
        ToolResult(7, None, None),  # type: ignore[arg-type]
        ToolResult(b"bytes", None, None),  # type: ignore[arg-type]
        ToolResult("words", 7, None),  # type: ignore[arg-type]
        ToolResult("words", None, "sing"),  # type: ignore[arg-type]
        b"bytes",
        {"a": b"bytes"},
        float,
        {1, 2},
    ],
)
def test_a_result_with_a_wrong_field_type_is_a_failure(returned: object) -> None:
    async def give() -> object:
        """Give."""
        return returned

    with pytest.raises(ToolFailed, match="did not work"):
        run(from_function(give))


@pytest.mark.parametrize("wrap", [str, lambda text: ToolResult(text, None, None), lambda text: {"note": text}])
def test_a_lone_surrogate_becomes_a_replacement_character(wrap: Callable[[str], object]) -> None:
    async def give() -> object:
        """Give."""
        return wrap("Hi \ud83d!")

    text = run(from_function(give)).text
    assert "Hi \ufffd!" in text
    text.encode()


def test_numbers_as_keys_are_accepted() -> None:
    async def give() -> object:
        """Give."""
        return {1: "one"}

    assert run(from_function(give)).text == '{"1": "one"}'


def test_a_refusal_without_a_message_is_a_failure() -> None:
    async def look() -> str:
        """Look."""
        raise ToolFailed(None)  # type: ignore[arg-type]

    with pytest.raises(ToolFailed, match="did not work"):
        run(from_function(look))


def no_docstring() -> None:
    pass


def no_hint(x) -> None:  # type: ignore[no-untyped-def]
    """Say."""


def many(*x: int) -> None:
    """Say."""


def only_by_place(x: int, /) -> None:
    """Say."""


def no_json(x: threading.Event) -> None:
    """Say."""


def unknown(x: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Say."""


def far_too_long_a_name_for_a_tool_that_a_model_can_call_without_any_trouble() -> None:
    """Say."""


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        (no_docstring, "needs a docstring"),
        (no_hint, "needs a type hint for x"),
        (many, "by name only"),
        (only_by_place, "by name only"),
        (no_json, "no JSON schema"),
        (unknown, "cannot be resolved"),
        (far_too_long_a_name_for_a_tool_that_a_model_can_call_without_any_trouble, "cannot be a tool's name"),
    ],
)
def test_a_function_that_cannot_be_a_tool_says_why(function: Any, wrong: str) -> None:
    with pytest.raises(TypeError, match=wrong):
        from_function(function)


def test_hang_up_asks_for_a_goodbye_first() -> None:
    result = run(named("hang_up"))
    assert result.then == "hang_up"
    assert "goodbye" in result.text


def test_digits_cannot_be_collected_where_the_caller_has_no_keys() -> None:
    tool = named("collect_digits")
    assert set(tool.parameters["properties"]) == {"count", "terminator", "timeout"}  # type: ignore[arg-type]
    with pytest.raises(ToolFailed, match="cannot press keys"):
        run(tool, count=4)


def test_the_current_time_is_in_the_requested_timezone() -> None:
    assert run(named("current_time"), timezone="Asia/Tokyo").text == (
        "It is 23:00 on Friday, 20 November 2026 in Asia/Tokyo."
    )
    assert run(named("current_time")).text.endswith(" November 2026.")
    for zone in ("Nowhere/Land", "../etc/passwd", "Europe", 3):
        with pytest.raises(ToolFailed, match="timezone"):
            run(named("current_time"), timezone=zone)


def test_a_context_that_may_be_none_is_refused_in_plain_words() -> None:
    def look_up(number: str, context: ToolContext | None = None) -> str:
        """Looks a number up."""
        return number

    with pytest.raises(TypeError, match="must annotate context as ToolContext alone"):
        from_function(look_up)
