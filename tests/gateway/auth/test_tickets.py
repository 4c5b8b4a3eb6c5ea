from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.callback_keys import CallbackKeys
from gateway.auth.client_secrets import ClientSecrets, derive_signing_key
from gateway.auth.signed_texts import MAX_TEXT_CHARACTERS
from gateway.auth.ticket_errors import (
    TicketCounts,
    TicketElsewhere,
    TicketExpired,
    TicketForged,
    TicketMalformed,
    TicketRefused,
    TicketTooLong,
    TicketUsed,
)
from gateway.auth.tickets import TICKET_LIFE_S, MediaTicket, MediaTickets
from sessions.errors import Overloaded

MATERIAL = b"settings"
NOW = 1_700_000_000.5
CALL = "CA0123456789abcdef0123456789abcdef"
EXPIRES = 1_700_000_060


def tickets(material: bytes = MATERIAL, counts: TicketCounts | None = None, max_used: int = 10) -> MediaTickets:
    return MediaTickets(material, counts or TicketCounts(), max_used=max_used)


def mint(made: MediaTickets, call_id: str = CALL, *, redial: bool = False, now_s: float = NOW) -> str:
    return made.mint(carrier="twilio", tenant="acme", agent="front-desk", call_id=call_id, now_s=now_s, redial=redial)


def test_a_ticket_opens_its_call_once() -> None:
    made = tickets()
    value = mint(made)
    found = made.take(value, carrier="twilio", now_s=NOW + 1)
    assert found == MediaTicket("twilio", "acme", "front-desk", CALL, EXPIRES, redial=False)
    for later_s in (1, 59):
        with pytest.raises(TicketUsed):
            made.take(value, carrier="twilio", now_s=NOW + later_s)


def test_every_process_with_the_same_settings_takes_a_ticket() -> None:
    assert tickets().take(mint(tickets()), carrier="twilio", now_s=NOW).agent == "front-desk"
    with pytest.raises(TicketForged):
        tickets(b"elsewhere").take(mint(tickets()), carrier="twilio", now_s=NOW)


def test_two_tickets_of_one_call_differ_and_each_is_taken() -> None:
    made = tickets()
    first, second = mint(made), mint(made)
    assert first != second
    assert {made.take(value, carrier="twilio", now_s=NOW).call_id for value in (first, second)} == {CALL}


def test_a_ticket_expires_to_the_second() -> None:
    made = tickets()
    assert made.take(mint(made), carrier="twilio", now_s=EXPIRES - 0.01).expires_at == EXPIRES
    with pytest.raises(TicketExpired):
        made.take(mint(made), carrier="twilio", now_s=EXPIRES)


@pytest.mark.parametrize("given_", [{"carrier": "acs"}, {"tenant": "shop"}, {"call_id": "CA2"}])
def test_a_ticket_for_something_else_is_refused_and_stays_good(given_: dict[str, str]) -> None:
    made = tickets()
    value = mint(made)
    with pytest.raises(TicketElsewhere):
        made.take(value, now_s=NOW, **{"carrier": "twilio", **given_})
    assert made.take(value, carrier="twilio", now_s=NOW, tenant="acme", call_id=CALL).call_id == CALL


def test_a_carrier_that_dials_again_gets_the_live_call_and_nothing_else() -> None:
    made = tickets()
    value = mint(made, redial=True)
    live: set[str] = set()

    def take(now_s: float) -> MediaTicket:
        return made.take(value, carrier="twilio", now_s=now_s, live=lambda ticket: ticket.call_id in live)

    first = take(NOW)
    assert not first.again
    with pytest.raises(TicketUsed):
        take(NOW + 1)
    live.add(CALL)
    for later_s in (2, TICKET_LIFE_S + 3000):
        assert take(NOW + later_s) == replace(first, again=True)
    live.clear()
    with pytest.raises(TicketExpired):
        take(NOW + 4000)


def test_a_ticket_that_is_not_for_dialling_again_opens_no_live_call() -> None:
    made = tickets()
    value = mint(made)
    assert not made.take(value, carrier="twilio", now_s=NOW, live=lambda ticket: True).again
    with pytest.raises(TicketUsed):
        made.take(value, carrier="twilio", now_s=NOW, live=lambda ticket: True)


def test_dialling_again_with_another_calls_ticket_is_refused() -> None:
    made = tickets()
    value = mint(made, redial=True)
    with pytest.raises(TicketElsewhere):
        made.take(value, carrier="twilio", now_s=NOW, call_id="CA2", live=lambda ticket: True)


def test_taken_tickets_are_remembered_in_bounded_number_and_only_until_they_expire() -> None:
    made = tickets(max_used=3)
    early = [mint(made) for _ in range(4)]
    for value in early[:3]:
        made.take(value, carrier="twilio", now_s=NOW)
    with pytest.raises(Overloaded):
        made.take(early[3], carrier="twilio", now_s=NOW)
    with pytest.raises(TicketUsed):
        made.take(early[0], carrier="twilio", now_s=NOW)
    later = mint(made, now_s=NOW + TICKET_LIFE_S)
    assert made.take(later, carrier="twilio", now_s=NOW + TICKET_LIFE_S).call_id == CALL


def test_a_text_of_another_kind_is_no_ticket() -> None:
    made = tickets()
    callback = CallbackKeys(MATERIAL, TicketCounts()).mint("twilio", "acme", CALL, NOW)
    with pytest.raises(TicketForged):
        made.take(callback, carrier="twilio", now_s=NOW)
    secrets = ClientSecrets(derive_signing_key(MATERIAL))
    secret, _ = secrets.mint(tenant="acme", agent="a", session=None, now_s=NOW, life_s=60)
    for value in (secret, secret.removeprefix("ek_")):
        with pytest.raises(TicketRefused):
            made.take(value, carrier="twilio", now_s=NOW)


def test_every_changed_sign_makes_a_ticket_worthless() -> None:
    made = tickets()
    value = mint(made)
    signed = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    for place in range(len(signed)):
        changed = bytearray(signed)
        changed[place] ^= 1
        with pytest.raises(TicketForged):
            made.take(base64.urlsafe_b64encode(changed).decode().rstrip("="), carrier="twilio", now_s=NOW)
    assert made.take(value, carrier="twilio", now_s=NOW).tenant == "acme"


def test_another_spelling_of_a_used_ticket_is_used_too() -> None:
    made = tickets()
    for call_id in ("CA1", "CA12", "CA123"):  # with 0, 1 and 2 signs that fill up
        value = mint(made, call_id)
        made.take(value, carrier="twilio", now_s=NOW)
        for spelling in (value + "=", value + "==", value[:-1] + chr(ord(value[-1]) ^ 1)):
            with pytest.raises(TicketRefused):
                made.take(spelling, carrier="twilio", now_s=NOW)


@pytest.mark.parametrize("value", ["", "a", "ü", "a b", "abcd", "====", "a" * 301, "a" * 20_000, "\ud800", "\0"])
def test_other_text_is_malformed(value: str) -> None:
    with pytest.raises(TicketMalformed):
        tickets().take(value, carrier="twilio", now_s=NOW)


@given(st.text(max_size=400) | st.binary(max_size=220).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_text_is_refused_with_a_typed_error_that_does_not_show_it(text: str) -> None:
    with pytest.raises(TicketRefused) as caught:
        tickets().take(text, carrier="twilio", now_s=NOW)
    assert len(text) < 20 or text not in str(caught.value)


def test_a_ticket_is_short_and_needs_no_escaping() -> None:
    made = tickets()
    value = made.mint(
        carrier="signalwire",
        tenant="t" * 40,
        agent="a" * 40,
        call_id="01234567-89ab-cdef-0123-456789abcdef",
        now_s=NOW,
        redial=True,
    )
    assert len(value) <= MAX_TEXT_CHARACTERS
    assert all(sign.isascii() and (sign.isalnum() or sign in "-_") for sign in value)
    with pytest.raises(TicketTooLong):
        mint(made, "C" * 200)


def test_refused_tickets_are_counted_by_carrier_and_reason() -> None:
    counts = TicketCounts()
    made = tickets(counts=counts)
    value = mint(made)
    made.take(value, carrier="twilio", now_s=NOW)
    assert counts.items() == []
    for shown, carrier in ((value, "twilio"), (value, "twilio"), ("x", "twilio"), (value, "acs")):
        with pytest.raises(TicketRefused):
            made.take(shown, carrier=carrier, now_s=NOW)
    assert counts.items() == [(("acs", "elsewhere"), 1), (("twilio", "malformed"), 1), (("twilio", "used"), 2)]
