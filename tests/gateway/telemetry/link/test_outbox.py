"""The buffer between server and courier."""

from __future__ import annotations

from gateway.telemetry.link.outbox import Outbox


def filled(outbox: Outbox, *lines: tuple[str | None, bytes]) -> list[int]:
    numbers = []
    for key, line in lines:
        numbers.append(outbox.next_number())
        assert outbox.add(numbers[-1], key, line)
    return numbers


def test_lines_are_taken_once_and_in_order() -> None:
    outbox = Outbox()
    filled(outbox, ("a", b"one\n"), (None, b"two\n"))
    assert outbox.take(1000) == b"one\ntwo\n"
    assert outbox.take(1000) == b""
    assert len(outbox) == 2


def test_a_line_that_is_larger_than_a_write_is_taken_alone() -> None:
    outbox = Outbox()
    filled(outbox, ("a", b"x" * 100), ("b", b"y"))
    assert outbox.take(10) == b"x" * 100
    assert outbox.take(10) == b"y"


def test_a_newer_version_replaces_the_older_one_also_if_that_was_sent() -> None:
    outbox = Outbox()
    first, _ = filled(outbox, ("turn", b"old"), ("other", b"other"))
    assert outbox.take(1000) == b"oldother"
    filled(outbox, ("turn", b"new"))
    assert outbox.take(1000) == b"new"
    outbox.acknowledged([first])  # of the version that is no longer here
    outbox.restart()
    assert outbox.take(1000) == b"othernew"


def test_what_is_acknowledged_does_not_go_to_the_next_courier() -> None:
    outbox = Outbox()
    first, second = filled(outbox, ("a", b"one"), ("b", b"two"))
    outbox.take(1000)
    outbox.acknowledged([first, 99])
    outbox.restart()
    assert outbox.take(1000) == b"two"
    outbox.acknowledged([second])
    assert (len(outbox), outbox.waiting_bytes) == (0, 0)


def test_past_its_size_it_takes_nothing_until_something_is_acknowledged() -> None:
    outbox = Outbox(max_bytes=10)
    first, _ = filled(outbox, ("a", b"12345"), ("b", b"67890"))
    assert not outbox.add(outbox.next_number(), "c", b"x")
    assert not outbox.add(outbox.next_number(), "a", b"123456")  # the older version stays
    assert outbox.take(1000) == b"1234567890"
    outbox.acknowledged([first])
    assert outbox.add(outbox.next_number(), "c", b"x")


def test_the_oldest_line_is_in_hand_once_it_was_taken() -> None:
    outbox = Outbox()
    assert outbox.oldest_in_hand is None
    first, second = filled(outbox, ("a", b"one"), ("b", b"two"))
    assert outbox.oldest_in_hand is None
    outbox.take(1)
    assert outbox.oldest_in_hand == first
    outbox.acknowledged([first])
    assert outbox.oldest_in_hand is None
    outbox.take(1)
    assert outbox.oldest_in_hand == second
    outbox.restart()
    assert outbox.oldest_in_hand is None
    assert outbox.give_up(second) == "b"
    assert (len(outbox), outbox.waiting_bytes, outbox.take(10)) == (0, 0, b"")


def test_a_forgotten_session_is_not_sent() -> None:
    outbox = Outbox()
    for key in (("t", "s1", "turn_1"), ("t", "s2", "turn_1"), ("t", "s1", "session")):
        assert outbox.add(outbox.next_number(), key, str(key[1]).encode())
    outbox.forget(outbox.keys_of("t", "s1"))
    assert outbox.take(1000) == b"s2"
