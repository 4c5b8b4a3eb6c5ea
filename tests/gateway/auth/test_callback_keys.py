from __future__ import annotations

import pytest

from gateway.auth.callback_keys import AFTER_CALL_S, MAX_LIFE_S, CallbackKey, CallbackKeys, LiveCallbacks
from gateway.auth.ticket_errors import (
    TicketCounts,
    TicketElsewhere,
    TicketExpired,
    TicketForged,
    TicketMalformed,
)
from gateway.auth.tickets import MediaTickets
from sessions.errors import Overloaded

MATERIAL = b"settings"
NOW = 1_700_000_000.0
CALL = "01234567-89ab-cdef-0123-456789abcdef"
KEY = CallbackKey("acs", "acme", CALL)


def keys(counts: TicketCounts | None = None, live: LiveCallbacks | None = None) -> CallbackKeys:
    return CallbackKeys(MATERIAL, counts or TicketCounts(), live)


def test_a_key_is_good_while_its_call_lives_and_ten_minutes_after() -> None:
    made = keys()
    value = made.mint("acs", "acme", CALL, NOW)
    for later_s in (0, 1, 3600, 3600):
        assert made.read(value, carrier="acs", now_s=NOW + later_s) == KEY
    made.ended("acs", "acme", CALL, NOW + 3600)
    made.ended("acs", "acme", CALL, NOW + 3700)  # told twice, the first time counts
    assert made.read(value, carrier="acs", now_s=NOW + 3600 + AFTER_CALL_S - 1) == KEY
    with pytest.raises(TicketExpired):
        made.read(value, carrier="acs", now_s=NOW + 3600 + AFTER_CALL_S)


def test_a_key_is_good_for_four_hours_at_most() -> None:
    made = keys()
    value = made.mint("acs", "acme", CALL, NOW)
    assert made.read(value, carrier="acs", now_s=NOW + MAX_LIFE_S - 1) == KEY
    made.ended("acs", "acme", CALL, NOW + MAX_LIFE_S - 1)
    with pytest.raises(TicketExpired):
        made.read(value, carrier="acs", now_s=NOW + MAX_LIFE_S)


def test_a_key_of_a_call_that_this_process_does_not_have_is_refused() -> None:
    value = keys().mint("acs", "acme", CALL, NOW)
    with pytest.raises(TicketExpired):
        keys().read(value, carrier="acs", now_s=NOW)


@pytest.mark.parametrize("given_", [{"carrier": "twilio"}, {"tenant": "shop"}, {"call_id": "other"}])
def test_a_key_for_something_else_is_refused(given_: dict[str, str]) -> None:
    made = keys()
    value = made.mint("acs", "acme", CALL, NOW)
    with pytest.raises(TicketElsewhere):
        made.read(value, now_s=NOW, **{"carrier": "acs", **given_})
    assert made.read(value, carrier="acs", now_s=NOW, tenant="acme", call_id=CALL) == KEY


def test_other_texts_are_refused_and_counted() -> None:
    counts = TicketCounts()
    made = keys(counts)
    ticket = MediaTickets(MATERIAL, counts).mint(
        carrier="acs", tenant="acme", agent="front-desk", call_id=CALL, now_s=NOW
    )
    for value, error in ((ticket, TicketForged), ("", TicketMalformed), ("a" * 500, TicketMalformed)):
        with pytest.raises(error):
            made.read(value, carrier="acs", now_s=NOW)
    assert counts.items() == [(("acs", "forged"), 1), (("acs", "malformed"), 2)]


def test_each_key_has_its_own_four_hours() -> None:
    made = keys()
    first, second = (made.mint("acs", "acme", CALL, NOW + later_s) for later_s in (0, 60))
    assert made.read(second, carrier="acs", now_s=NOW + MAX_LIFE_S) == KEY
    with pytest.raises(TicketExpired):
        made.read(first, carrier="acs", now_s=NOW + MAX_LIFE_S)


def test_a_call_that_begins_again_is_live_again() -> None:
    live = LiveCallbacks()
    made = keys(live=live)
    made.mint("acs", "acme", CALL, NOW)
    made.ended("acs", "acme", CALL, NOW)
    value = made.mint("acs", "acme", CALL, NOW + 10)
    assert made.read(value, carrier="acs", now_s=NOW + 3600) == KEY
    assert len(live) == 1


def test_calls_are_remembered_in_bounded_number_and_forgotten_in_time() -> None:
    live = LiveCallbacks(max_calls=2)
    made = keys(live=live)
    for number in range(2):
        made.mint("acs", "acme", f"c{number}", NOW)
    with pytest.raises(Overloaded):
        made.mint("acs", "acme", "c2", NOW)
    made.mint("acs", "acme", "c0", NOW)  # the same call once more
    made.ended("acs", "acme", "c1", NOW)
    with pytest.raises(Overloaded):
        made.mint("acs", "acme", "c2", NOW + AFTER_CALL_S - 1)
    made.mint("acs", "acme", "c2", NOW + AFTER_CALL_S)
    assert len(live) == 2
    made.mint("acs", "acme", "c3", NOW + 2 * MAX_LIFE_S)
    assert len(live) == 1


def test_an_end_of_an_unknown_call_is_not_remembered() -> None:
    live = LiveCallbacks()
    keys(live=live).ended("acs", "acme", CALL, NOW)
    assert len(live) == 0
