"""Signatures, compared with Twilio's own `RequestValidator`: each side accepts what the other has signed."""

from __future__ import annotations

import json
import random
import subprocess
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

import pytest
from peers.client_calls import HERE, PYTHON, needs_python

from gateway.callers.twilio import twiml
from gateway.callers.twilio.signature import SHA1, SHA256, Signatures, fits, sign
from gateway.softphone.far_ends.twilio_requests import TwilioCaller, read_twiml

pytestmark = pytest.mark.twilio
ALGORITHMS = {SHA1: "HMAC_SHA1", SHA256: "HMAC_SHA256"}
HOSTS = ["voice.example", "voice.example:443", "voice.example:8443", "127.0.0.1:8080"]
TEXTS = ["", "a", "A", "+4930111", "ü", "日本", "a=b&c", " x ", "\n"]


@pytest.fixture(autouse=True)
def _installed() -> None:
    needs_python("twilio")


def asked(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the validator makes of these cases."""
    ran = subprocess.run(
        [PYTHON, str(HERE / "client_twilio.py")], input=json.dumps(cases), capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    return found


def made_up(chance: random.Random) -> dict[str, Any]:
    """A request with odd names and values, some of them repeated."""
    scheme = chance.choice(["https", "wss"])
    names = chance.sample(["To", "From", "CallSid", "to", "Body", "ä"], chance.randint(0, 5))
    return {
        "token": chance.choice(["token", "other"]),
        "url": f"{scheme}://{chance.choice(HOSTS)}/telephony/twilio/voice{chance.choice(['', '?a=b&c=%20', '/'])}",
        "fields": {name: chance.choices(TEXTS, k=chance.randint(1, 4)) for name in names},
        "algorithm": chance.choice(list(ALGORITHMS)),
    }


def pairs_of(case: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, value) for name, values in case["fields"].items() for value in values]


def test_both_compute_the_same_signature_of_any_request_and_accept_it() -> None:
    chance = random.Random(11)
    cases = [made_up(chance) for _ in range(500)]
    ours = [sign(case["token"], case["url"], pairs_of(case), case["algorithm"]) for case in cases]
    theirs = asked(
        [
            {**case, "signature": signature, "algorithm": ALGORITHMS[case["algorithm"]]}
            for case, signature in zip(cases, ours, strict=True)
        ]
    )
    assert [each["signature"] for each in theirs] == ours
    assert all(each["valid"] for each in theirs)
    for case, each in zip(cases, theirs, strict=True):
        assert fits(each["signature"], case["token"], case["url"], pairs_of(case), case["algorithm"])


def test_both_refuse_what_was_signed_for_something_else() -> None:
    chance = random.Random(12)
    cases = [made_up(chance) for _ in range(300)]
    wrong = [sign("third", case["url"], pairs_of(case), case["algorithm"]) for case in cases]
    theirs = asked(
        [
            {**case, "signature": signature, "algorithm": ALGORITHMS[case["algorithm"]]}
            for case, signature in zip(cases, wrong, strict=True)
        ]
    )
    assert not any(each["valid"] for each in theirs)
    for case, signature in zip(cases, wrong, strict=True):
        assert not fits(signature, case["token"], case["url"], pairs_of(case), case["algorithm"])


def test_ports_are_taken_alike_but_for_the_port_80_that_it_adds_to_a_socket() -> None:
    cases = [
        {"url": f"{scheme}://{configured}/p", "signed": f"{scheme}://{signed}/p"}
        for scheme in ("https", "wss")
        for configured in HOSTS
        for signed in (*HOSTS, "voice.example:80")
    ]
    theirs = asked(
        [
            {
                "token": "token",
                "url": case["url"],
                "fields": {},
                "algorithm": ALGORITHMS[SHA1],
                "signature": sign("token", case["signed"]),
            }
            for case in cases
        ]
    )
    differing = [
        (case["url"], case["signed"])
        for case, each in zip(cases, theirs, strict=True)
        if fits(sign("token", case["signed"]), "token", case["url"]) is not each["valid"]
    ]
    assert differing == [
        # A socket's default port is 443, as that of https is.
        ("wss://voice.example/p", "wss://voice.example:443/p"),
        ("wss://voice.example/p", "wss://voice.example:80/p"),
    ]


def test_a_body_that_is_no_form_is_taken_alike() -> None:
    body = '{"CallSid": "CA02"}'
    right = f"https://voice.example/p?bodySHA256={sha256(body.encode()).hexdigest()}"
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    cases = [
        {
            "token": "token",
            "url": url,
            "fields": {},
            "algorithm": ALGORITHMS[SHA1],
            "signature": sign("token", url),
            "body": body,
        }
        for url in (right, wrong)
    ]
    assert [each["valid"] for each in asked(cases)] == [True, False]
    known = Signatures("token")
    assert [known.body_fits(sign("token", url), None, url, body.encode()) for url in (right, wrong)] == [True, False]


@pytest.mark.parametrize("shared_key", [None, ("KY1", "shared")])
def test_it_accepts_the_webhook_and_the_handshake_of_our_far_end(shared_key: tuple[str, str] | None) -> None:
    caller = TwilioCaller("AC01", "CA02", "token", "+4930111", "+4930222", shared_key)
    url = "https://voice.example/telephony/twilio/voice"
    order = read_twiml(twiml.stream("wss://voice.example/telephony/twilio/media/T", "https://voice.example/s", {}))
    rings, handshake = caller.rings(url), caller.handshake(order)
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(rings.body.decode(), keep_blank_values=True):
        fields.setdefault(name, []).append(value)
    usual = {
        "token": "token" if shared_key is None else "shared",
        "algorithm": ALGORITHMS[SHA1 if shared_key is None else SHA256],
    }
    theirs = asked(
        [
            {**usual, "url": url, "fields": fields, "signature": rings.headers["x-twilio-signature"]},
            {**usual, "url": order.url, "fields": {}, "signature": handshake["x-twilio-signature"]},
        ]
    )
    assert [each["valid"] for each in theirs] == [True, True]
