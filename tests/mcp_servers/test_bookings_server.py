"""The booking tools as an MCP client calls them, in one process."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import TextContent

from mcp_servers.bookings.__main__ import main
from mcp_servers.bookings.server import build_server
from mcp_servers.bookings.store import BookingStore

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
EVENING = {"date": "tomorrow", "time": "7 pm", "party_size": 2}


@pytest.fixture
def store() -> Iterator[BookingStore]:
    opened = BookingStore(":memory:")
    yield opened
    opened.close()


def ask(store: BookingStore, *calls: tuple[str, dict[str, Any]]) -> list[tuple[bool, str, dict[str, Any] | None]]:
    """Make the calls one after the other; returns for each whether it was refused, its sentence and its facts."""

    async def session() -> list[tuple[bool, str, dict[str, Any] | None]]:
        answers = []
        async with asyncio.timeout(5), Client(build_server(store, lambda: NOW)) as client:
            for name, arguments in calls:
                result = await client.call_tool(name, arguments)
                (content,) = result.content
                assert isinstance(content, TextContent)
                answers.append((result.is_error, content.text, result.structured_content))
        assert threading.active_count() == before  # no thread was started, so tests in virtual time can use it
        return answers

    before = threading.active_count()
    return asyncio.run(session())


def test_the_tools_say_what_they_change(store: BookingStore) -> None:
    async def session() -> dict[str, tuple[bool | None, bool | None, bool | None]]:
        async with asyncio.timeout(5), Client(build_server(store, lambda: NOW)) as client:
            hints = {}
            for tool in (await client.list_tools()).tools:
                assert tool.description
                assert tool.output_schema
                notes = tool.annotations
                assert notes
                hints[tool.name] = (notes.read_only_hint, notes.idempotent_hint, notes.destructive_hint)
            return hints

    assert asyncio.run(session()) == {
        "find_tables": (True, True, False),
        "book_table": (False, True, False),
        "list_bookings": (True, True, False),
        "cancel_booking": (False, True, True),
    }


def test_a_booking_from_the_question_to_the_cancellation(store: BookingStore) -> None:
    found, booked, listed, cancelled, again, empty = ask(
        store,
        ("find_tables", EVENING),
        ("book_table", {**EVENING, "name": "Ada Lovelace", "phone": "555"}),
        ("list_bookings", {"date": "saturday"}),
        ("cancel_booking", {"name": "ada", "date": "2026-11-21"}),
        ("cancel_booking", {"booking_id": 1}),
        ("list_bookings", {}),
    )
    assert found[:2] == (False, "Yes, there is a table for 2 on Saturday, 21 November at 7 pm.")
    assert found[2] is not None
    assert found[2]["free"] is True
    assert booked[1] == "Booked: Ada Lovelace, 2 guests, Saturday, 21 November at 7 pm. The booking number is 1."
    assert booked[2] == {
        "booking_id": 1,
        "date": "2026-11-21",
        "time": "19:00",
        "party_size": 2,
        "name": "Ada Lovelace",
        "table": 1,
        "cancelled": False,
    }
    assert "number 1, Ada Lovelace, 2 guests" in listed[1]
    assert "555" not in str(listed)
    assert cancelled[:2] == (
        False,
        "Cancelled: Ada Lovelace, 2 guests, Saturday, 21 November at 7 pm, booking number 1.",
    )
    assert again[:2] == (False, "Booking number 1 was cancelled already.")
    assert empty == (False, "There are no bookings from today on.", {"total": 0, "bookings": []})


def test_numbers_may_be_words(store: BookingStore) -> None:
    (booked, cancelled) = ask(
        store,
        ("book_table", {"date": "friday", "time": "half past seven", "party_size": "four", "name": "Bo"}),
        ("cancel_booking", {"booking_id": "one"}),
    )
    assert booked[2] is not None
    assert (booked[2]["party_size"], booked[2]["time"], booked[2]["date"]) == (4, "19:30", "2026-11-20")
    assert cancelled[0] is False


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("find_tables", {**EVENING, "time": "3 am"}, "we seat guests from noon"),
        ("find_tables", {**EVENING, "date": "whenever"}, "I do not know the date"),
        ("book_table", {**EVENING, "name": "Ada", "party_size": 9}, "Our largest table seats 8"),
        ("cancel_booking", {"booking_id": 12}, "There is no booking number 12."),
        ("cancel_booking", {"name": "Ada"}, "the name and the day"),
        ("cancel_booking", {"name": "Ada", "date": "today"}, "There is no booking for Ada"),
        ("book_table", {}, "Field required"),
    ],
)
def test_a_refusal_has_a_reason(store: BookingStore, tool: str, arguments: dict[str, Any], reason: str) -> None:
    ((refused, said, _),) = ask(store, (tool, arguments))
    assert refused
    assert reason in said


def test_if_no_table_is_free_other_times_are_in_the_sentence_and_in_the_facts(store: BookingStore) -> None:
    large = {"date": "tomorrow", "time": "19:00", "party_size": 8}
    _, refused, looked = ask(
        store,
        ("book_table", {**large, "name": "Ada"}),
        ("book_table", {**large, "name": "Bob"}),
        ("find_tables", large),
    )
    assert refused[0] is True
    assert refused[2] == {"alternatives": ["17:00", "17:30", "20:30"]}
    assert "5 pm, 5:30 pm or 8:30 pm" in refused[1]
    assert looked[0] is False
    assert looked[2] is not None
    assert (looked[2]["free"], looked[2]["alternatives"]) == (False, ["17:00", "17:30", "20:30"])


def test_a_booking_number_with_another_name_is_not_cancelled(store: BookingStore) -> None:
    booked, other = ask(
        store, ("book_table", {**EVENING, "name": "Ada"}), ("cancel_booking", {"booking_id": 1, "name": "Bob"})
    )
    assert booked[0] is False
    assert other[:2] == (True, "There is no booking number 1 for Bob.")


def test_a_booking_that_is_over_is_not_cancelled(store: BookingStore) -> None:
    ask(store, ("book_table", {"date": "today", "time": "7 pm", "party_size": 2, "name": "Ada"}))

    async def next_day() -> tuple[bool, str]:
        later = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
        async with asyncio.timeout(5), Client(build_server(store, lambda: later)) as client:
            result = await client.call_tool("cancel_booking", {"booking_id": 1})
            assert isinstance(result.content[0], TextContent)
            return result.is_error, result.content[0].text

    assert asyncio.run(next_day()) == (True, "Booking number 1 is over, so it cannot be cancelled.")


def test_long_lists_are_cut(store: BookingStore) -> None:
    days = [f"2026-12-{day:02d}" for day in range(1, 26)]
    calls = [("book_table", {"date": day, "time": "19:00", "party_size": 2, "name": "Ada"}) for day in days]
    *_, (refused, said, facts) = ask(store, *calls, ("list_bookings", {"name": "Ada"}))
    assert not refused
    assert said.startswith("There are 25 bookings for Ada from today on")
    assert said.endswith("and 5 more.")
    assert facts is not None
    assert (facts["total"], len(facts["bookings"])) == (25, 20)


def test_a_locked_file_is_answered_with_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "bookings.db"
    store = BookingStore(path, busy_ms=1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ((refused, said, _),) = ask(store, ("book_table", {**EVENING, "name": "Ada"}))
    other.execute("ROLLBACK")
    other.close()
    assert refused
    assert "cannot be used at the moment" in said
    ((refused, _, _),) = ask(store, ("book_table", {**EVENING, "name": "Ada"}))
    store.close()
    assert not refused


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_a_port_that_does_not_exist_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--http", "--port", port])
    assert ended.value.code == 2
    assert "argument --port: a port is a number from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--now", "yesterday"], ["--timezone", "Nowhere/Land"], ["--db", "/proc/nothing/bookings.db"]]
)
def test_the_server_does_not_start_with_options_that_cannot_be_used(
    options: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--db", str(tmp_path / "bookings.db"), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("bookings: cannot start: ")
