"""Lines and events of bounded length, from bytes that arrive in any pieces."""

from __future__ import annotations

import pytest

from gateway.tools.lines import BoundedLines, Endless, EventSplitter, TooLong


def test_lines_are_complete_however_their_bytes_arrive() -> None:
    for size in (1, 2, 3, 100):
        lines, text = BoundedLines(10), b"one\n\ntwo\nthree"
        found = [line for at in range(0, len(text), size) for line in lines.feed(text[at : at + size])]
        assert found == [b"one", b"", b"two"]


def test_a_line_that_is_too_long_is_reported_once_and_the_next_one_is_read() -> None:
    for size in (1, 7, 100):
        lines, text = BoundedLines(4), b"ok\n123456789\nok\n1234\n"
        found = [line for at in range(0, len(text), size) for line in lines.feed(text[at : at + size])]
        assert [line for line in found if isinstance(line, bytes)] == [b"ok", b"ok", b"1234"]
        (long,) = (line for line in found if isinstance(line, TooLong))
        assert long.beginning.startswith(b"12345"[: len(long.beginning)])


def test_a_line_without_end_is_given_up() -> None:
    lines = BoundedLines(4)
    with pytest.raises(Endless):
        _ = [list(lines.feed(b"xx")) for _ in range(100)]
    with pytest.raises(Endless):
        list(BoundedLines(4).feed(b"x" * 100))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_are_complete_whatever_ends_their_lines(end: bytes) -> None:
    text = b"id: 1\ndata: a\n\ndata: b\ndata: c\n\n\ndata: d\n".replace(b"\n", end)
    for size in (1, 2, 3, 100):
        splitter = EventSplitter(100)
        found = [event for at in range(0, len(text), size) for event in splitter.feed(text[at : at + size])]
        assert [event.strip() for event in found] == [b"id: 1\ndata: a", b"data: b\ndata: c"]


def test_an_event_without_end_is_given_up() -> None:
    splitter = EventSplitter(10)
    with pytest.raises(Endless):
        _ = [list(splitter.feed(b"data")) for _ in range(100)]
    with pytest.raises(Endless):
        list(EventSplitter(10).feed(b"data: " + b"x" * 100 + b"\n\n"))
