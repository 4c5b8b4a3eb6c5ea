"""gateway/models/local/event_stream.py"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.event_stream import MOST_EVENT_BYTES, Event, EventStream

STREAM = (
    b"\xef\xbb\xbfdata: one\n\n: a comment\r\n\r\nevent: error\r\ndata:two\r\rid: 7\ndata: three\ndata:  four\n\n\n"
    b"retry: 1\n\ndata\n\ndata: \xc3\xa9\xe2\x80\xa8 \xff\n\ndata: [DONE]"
)
EVENTS = [
    Event("", "one"),
    Event("error", "two"),
    Event("", "three\n four"),
    Event("", ""),
    Event("", "\u00e9\u2028 \ufffd"),
    Event("", "[DONE]"),
]


def events(*pieces: bytes) -> list[Event]:
    stream = EventStream()
    return [event for piece in pieces for event in stream.feed(piece)] + stream.end()


def test_events_are_read_with_any_line_ends() -> None:
    assert events(STREAM) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_events_are_read_in_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert events(*(STREAM[a:b] for a, b in pairwise(edges))) == EVENTS


def test_events_are_read_byte_by_byte() -> None:
    assert events(*(bytes([byte]) for byte in STREAM)) == EVENTS


@given(st.binary(max_size=200))
def test_any_bytes_are_accepted(noise: bytes) -> None:
    assert isinstance(events(noise), list)


@pytest.mark.parametrize("piece", [b"x" * 1000, b"data: " + b"x" * 1000 + b"\n"])
def test_an_event_that_is_too_long_is_a_fault(piece: bytes) -> None:
    with pytest.raises(AnswerFault):
        events(*[piece] * (MOST_EVENT_BYTES // 1000 + 2))
