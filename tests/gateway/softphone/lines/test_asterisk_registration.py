"""How a call is announced as a dialplan does it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

import pytest

from gateway.callers.asterisk.registration import read_registration
from gateway.softphone.lines.asterisk_registration import Announcement, new_channel
from gateway.softphone.lines.gateway_http import HttpAnswer
from gateway.softphone.lines.line import LineRefused

CALL = "01234567-89ab-cdef-0123-456789abcdef"


def announce(status: int, body: bytes, key: str | None = None) -> tuple[UUID, Mapping[str, str], bytes]:
    """Announce a call to a gateway that answers so; returns the id, and the headers and the form that were sent."""
    sent: list[tuple[Mapping[str, str], bytes]] = []

    async def ask(method: str, path: str, headers: Mapping[str, str], form: bytes) -> HttpAnswer:
        assert (method, path) == ("POST", "/telephony/asterisk/calls")
        sent.append((headers, form))
        return HttpAnswer(status, body)

    found = asyncio.run(Announcement("+12025550199", "+12025550100", "softphone-1", key).send(ask))
    return found, *sent[0]


def test_the_gateway_reads_the_form_and_its_answer_is_the_id() -> None:
    found, headers, form = announce(200, CALL.encode())
    assert str(found) == CALL
    facts = read_registration(form).facts
    assert (facts.number, facts.called, facts.carrier_call_id) == ("+12025550199", "+12025550100", "softphone-1")
    assert "Authorization" not in headers
    assert new_channel() != new_channel()


def test_the_api_key_is_shown_if_there_is_one() -> None:
    assert announce(200, CALL.encode(), "pb_key")[1]["Authorization"] == "Bearer pb_key"


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (401, b'{"error": {"message": "No key.", "code": "missing_key"}}', r"No key. \(missing_key\)"),
        (503, b"", "HTTP 503"),
        (200, b"hello", "is not a UUID"),
        (200, "ü".encode(), "is not a UUID"),
    ],
)
def test_a_refusal_says_why(status: int, body: bytes, why: str) -> None:
    with pytest.raises(LineRefused, match=why):
        announce(status, body)
