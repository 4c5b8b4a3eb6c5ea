from __future__ import annotations

import random

from sessions.round_trips import RoundTrips


def after(*took_ms: float) -> RoundTrips:
    trips = RoundTrips()
    for took in took_ms:
        trips.late_ms(took)
    return trips


def test_what_is_constant_is_usual_from_the_first_mark_on() -> None:
    trips = RoundTrips()
    assert [trips.late_ms(300) for _ in range(9)] == [0.0] * 9


def test_a_mark_that_is_later_than_usual_is_late_by_the_difference() -> None:
    assert after(*[60] * 20).late_ms(260) == 200
    assert after(*[60] * 20).late_ms(70) == 0  # no finer than this


def test_jitter_is_usual() -> None:
    chance = random.Random(7)
    trips = after(*(100 + chance.uniform(-20, 20) for _ in range(50)))
    late = [trips.late_ms(100 + chance.uniform(-20, 20)) for _ in range(500)]
    assert sum(ms > 0 for ms in late) < 20
    assert trips.late_ms(400) > 250


def test_marks_that_come_early_are_not_late() -> None:
    assert after(*[60] * 20).late_ms(-40) == 0


def test_a_lasting_change_of_the_network_becomes_usual() -> None:
    trips = after(*[60] * 50)
    late = [trips.late_ms(160) for _ in range(40)]
    assert late[0] == 100
    assert late[-10:] == [0.0] * 10
