from __future__ import annotations

from audio.marks import MAX_NAME_BYTES, MAX_PENDING, Mark, Marks

LONG = Mark("item_" + "x" * 200, 10**9)


def test_a_name_comes_back_once() -> None:
    marks = Marks()
    first, second = marks.name(Mark("a", 200)), marks.name(LONG)
    assert first != second
    assert all(len(name.encode()) <= MAX_NAME_BYTES and name.isascii() for name in (first, second))
    assert [marks.echoed(name) for name in (second, first, first)] == [LONG, Mark("a", 200), None]


def test_names_from_before_a_clear_are_not_known() -> None:
    marks = Marks()
    old = marks.name(Mark("a", 200))
    marks.clear()
    new = marks.name(Mark("b", 200))
    assert [marks.echoed(name) for name in (old, "", "1-1", "·" * 5_000, new)] == [None] * 4 + [Mark("b", 200)]


def test_of_a_far_end_that_answers_no_mark_the_oldest_are_forgotten() -> None:
    marks = Marks()
    names = [marks.name(Mark("a", n)) for n in range(MAX_PENDING + 1)]
    assert marks.echoed(names[0]) is None
    assert marks.echoed(names[1]) == Mark("a", 1)
    assert len(max(names, key=len)) <= MAX_NAME_BYTES
