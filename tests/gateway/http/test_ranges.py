"""Which part of a file a request gets: every header text against a plain model, and the cases of RFC 9110 by name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.ranges import Answer, Conditions, Part, answer_to

ETAG = '"3f6b"'
SIZES = st.one_of(st.integers(0, 40), st.just(10_000_000))
NUMBERS = st.one_of(
    st.integers(0, 45).map(str), st.sampled_from(["", "00", "007", "9" * 30, "9" * 5000, "²", "-1", "x"])
)
SPECS = st.builds("{}{}{}".format, NUMBERS, st.sampled_from(["-", "-", "-", "", "--", "–"]), NUMBERS)
SETS = st.builds(
    lambda comma, specs: comma.join(specs),
    st.sampled_from([",", ", ", " ,\t"]),
    st.lists(st.one_of(SPECS, SPECS, st.just("")), max_size=3),
)
HEADERS = st.one_of(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["bytes", "Bytes", "items", "", "bytes "]),
        st.sampled_from(["=", "=", ""]),
        SETS,
    ),
    st.text(max_size=30),
)


def model(header: str, size: int) -> Answer:
    """The part that a header gets, found by trying every byte: slow, and written in another way than the code."""
    whole = Answer(200, Part(0, size))
    if not header.strip(" \t").lower().startswith("bytes="):
        return whole
    specs = [spec for spec in re.split(r"[ \t]*,[ \t]*", header.strip(" \t")[6:].strip(" \t")) if spec]
    if len(specs) != 1 or not re.fullmatch(r"[0-9]*-[0-9]*", specs[0], re.ASCII) or specs[0] == "-":
        return whole
    first, last = (int(text[-4000:]) if text else None for text in specs[0].split("-"))
    if first is None:
        assert last is not None
        if last and not size:
            return whole
        wanted = [at for at in range(size) if at >= size - last] if size < 100 else range(max(0, size - last), size)
    elif last is not None and last < first:
        return whole
    else:
        end = size if last is None else min(size, last + 1)
        wanted = [at for at in range(size) if first <= at < end] if size < 100 else range(min(first, size), end)
    return Answer(206, Part(wanted[0], len(wanted))) if len(wanted) else Answer(416)


@given(HEADERS, SIZES)
def test_any_header_gets_what_a_plain_model_says(header: str, size: int) -> None:
    assert answer_to(Conditions([header]), size, ETAG, head=False) == model(header, size)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 50))
def test_the_part_is_inside_the_file_and_is_what_was_asked_for(first: int, last: int, size: int) -> None:
    answer = answer_to(Conditions([f"bytes={first}-{last}"]), size, None, head=False)
    content = bytes(range(size))
    if answer.status == 206:
        assert answer.part is not None
        end = answer.part.offset_bytes + answer.part.length_bytes
        assert content[answer.part.offset_bytes : end] == content[first : last + 1] != b""
    else:
        assert answer.status == (416 if first <= last else 200)


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        ("bytes=0-0", Answer(206, Part(0, 1))),
        ("bytes=0-", Answer(206, Part(0, 100))),
        ("bytes=90-1000", Answer(206, Part(90, 10))),
        ("bytes=-1", Answer(206, Part(99, 1))),
        ("bytes=-1000", Answer(206, Part(0, 100))),
        ("BYTES=99-99", Answer(206, Part(99, 1))),
        ("bytes=,5-9,", Answer(206, Part(5, 5))),
        ("bytes=100-", Answer(416)),
        ("bytes=-0", Answer(416)),
        (f"bytes={'9' * 5000}-", Answer(416)),
        (f"bytes=5-{'9' * 5000}", Answer(206, Part(5, 95))),
        ("bytes=9-5", Answer(200, Part(0, 100))),
        ("bytes=0-1,5-6", Answer(200, Part(0, 100))),
        ("bytes=200-,300-", Answer(200, Part(0, 100))),
        ("seconds=0-1", Answer(200, Part(0, 100))),
        ("bytes=", Answer(200, Part(0, 100))),
        ("bytes=-", Answer(200, Part(0, 100))),
        ("bytes = 0-1", Answer(200, Part(0, 100))),
        ("bytes=0 - 1", Answer(200, Part(0, 100))),
        ("bytes=+0-1", Answer(200, Part(0, 100))),
    ],
)
def test_each_form_of_the_header(header: str, answer: Answer) -> None:
    assert answer_to(Conditions([header]), 100, ETAG, head=False) == answer


def test_an_empty_file_has_no_part() -> None:
    for header, status in (("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-0", 416), ("bytes=-5", 200), ("x", 200)):
        assert answer_to(Conditions([header]), 0, ETAG, head=False).status == status


def test_two_range_headers_or_none_or_head_get_the_whole_file() -> None:
    whole = Answer(200, Part(0, 100))
    assert answer_to(Conditions(["bytes=0-1", "bytes=2-3"]), 100, ETAG, head=False) == whole
    assert answer_to(Conditions(), 100, ETAG, head=False) == whole
    assert answer_to(Conditions(["bytes=0-1"]), 100, ETAG, head=True) == whole
    assert answer_to(Conditions(["bytes=500-"]), 100, ETAG, head=True) == whole


@pytest.mark.parametrize(
    ("if_range", "etag", "status"),
    [
        ([ETAG], ETAG, 206),
        ([ETAG], None, 200),
        ([f"W/{ETAG}"], ETAG, 200),
        (['"other"'], ETAG, 200),
        (["Sat, 29 Oct 1994 19:43:31 GMT"], ETAG, 200),
        ([ETAG, ETAG], ETAG, 200),
        ([""], ETAG, 200),
    ],
)
def test_if_range_lets_a_part_pass_only_for_the_very_same_file(
    if_range: list[str], etag: str | None, status: int
) -> None:
    assert answer_to(Conditions(["bytes=0-1"], if_range), 100, etag, head=False).status == status
    # A range that cannot be satisfied counts only if the file is the same.
    past_end = answer_to(Conditions(["bytes=500-"], if_range), 100, etag, head=False).status
    assert past_end == (416 if status == 206 else 200)


@pytest.mark.parametrize(
    ("given", "etag", "status"),
    [
        (Conditions(if_none_match=[ETAG]), ETAG, 304),
        (Conditions(if_none_match=['"a"', f"W/{ETAG}"]), ETAG, 304),
        (Conditions(if_none_match=["*"]), None, 304),
        (Conditions(["bytes=500-"], if_none_match=[ETAG]), ETAG, 304),
        (Conditions(if_none_match=['"a", "b"']), ETAG, 200),
        (Conditions(if_none_match=[ETAG]), None, 200),
        (Conditions(if_none_match=["nonsense"]), ETAG, 200),
        (Conditions(if_match=[f'"a", {ETAG}']), ETAG, 200),
        (Conditions(["bytes=0-1"], if_match=["*"]), ETAG, 206),
        (Conditions(if_match=[f"W/{ETAG}"]), ETAG, 412),
        (Conditions(if_match=['"a"'], if_none_match=[ETAG]), ETAG, 412),
        (Conditions(if_match=[ETAG]), None, 412),
    ],
)
def test_preconditions_come_before_the_range(given: Conditions, etag: str | None, status: int) -> None:
    assert answer_to(given, 100, etag, head=False).status == status
    assert answer_to(given, 100, etag, head=True).status == (200 if status == 206 else status)
