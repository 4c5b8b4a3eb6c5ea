"""The most expensive functions, from collapsed stacks."""

from __future__ import annotations

import pytest

from bench.profile import hottest

STACKS = """\
main;loop;decode 30
main;loop;decode;send (libc.so.6) 50
main;loop;epoll_wait (libc.so.6) 900
main;loop 20
writer;get;PyThread_acquire_lock_timed (lib);0x7f01 (libc.so.6);0x7f02 (libc.so.6) 700
not a stack
"""


def test_shares_do_not_count_the_time_of_waiting() -> None:
    found = {name: (own, within) for name, own, within in hottest(STACKS, 10)}
    assert found["decode"] == pytest.approx((0.3, 0.8))
    assert found["send (libc.so.6)"] == pytest.approx((0.5, 0.5))
    assert found["loop"] == pytest.approx((0.2, 1.0))
    assert "epoll_wait (libc.so.6)" not in found


def test_the_most_expensive_function_comes_first_and_the_list_is_cut() -> None:
    assert [name for name, _, _ in hottest(STACKS, 1)] == ["send (libc.so.6)"]


def test_a_recursive_function_counts_once() -> None:
    assert hottest("a;b;a 10\n", 5) == [("a", 1.0, 1.0)]


def test_the_lines_of_a_function_are_summed() -> None:
    stacks = "run (a.py:1);step (a.py:5) 10\nrun (a.py:2);step (a.py:6) 30\n"
    assert hottest(stacks, 5) == [("step (a.py)", 1.0, 1.0)]


def test_without_samples_there_are_no_functions() -> None:
    assert hottest("", 5) == []
