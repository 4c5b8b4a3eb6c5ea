"""`patchbay call --as`: which number is called, and what is said where the settings do not lead to a call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.callers.acs import sdk
from gateway.cli.call_as import CALLER, FREE_NUMBERS, Carrier, Server, called_for, line_for, options_for, server_at
from gateway.cli.output import UsedWrongly
from gateway.config.numbers import Numbers
from gateway.config.settings import Settings

SERVER = Server("http://127.0.0.1:8080")
TWILIO = {"account_sid": "AC01", "auth_token": "made-up-token"}
ASTERISK = {"user": "pbx", "password": "made-up-password"}
AZURE = "http://127.0.0.1:8420"
ACS = {
    "endpoint": AZURE,
    "access_key": "bWFkZS11cCBrZXkgb2YgYSByZXNvdXJjZQ==",
    "resource_id": "01234567-89ab-cdef-0123-456789abcdef",
    "event_secret": "made-up secret",
    "openid_url": f"{AZURE}/openid",
}


def settings(**more: Any) -> Settings:
    return Settings(**{"numbers": {"*": "desk"}, "public_url": "https://voice.example", **more})


def test_a_number_that_leads_to_the_agent_is_called() -> None:
    assert called_for("desk", Numbers({"+49 30 222": "desk", "*": "other"})) == "+4930222"


def test_where_every_other_number_leads_to_the_agent_one_is_made_up_that_no_other_agent_has() -> None:
    numbers = Numbers({FREE_NUMBERS[0]: "other", "*": "desk"})
    called = called_for("desk", numbers)
    assert called != CALLER
    route = numbers.agent_for(called)
    assert route is not None
    assert route.agent == "desk"


def test_an_agent_without_a_number_is_not_called() -> None:
    with pytest.raises(
        UsedWrongly, match=r"no number in `numbers:` leads to desk; call from .* or add one .* numbers: \{'\*': desk\}"
    ):
        called_for("desk", Numbers({"+4930222": "other"}))


@pytest.mark.parametrize("url", ["http://10.0.0.1:8080", "https://voice.example"])
def test_only_a_server_on_this_machine_is_called(url: str) -> None:
    with pytest.raises(UsedWrongly, match="give --url a loopback address"):
        server_at(url, None, None)


@pytest.mark.parametrize(
    ("url", "at"), [("ws://localhost:1/x", "http://localhost:1/x"), ("wss://[::1]", "https://[::1]")]
)
def test_a_sockets_address_stands_for_its_server(url: str, at: str) -> None:
    assert server_at(url, None, None).url == at


@pytest.mark.parametrize(
    ("carrier", "more", "protocol"),
    [
        (Carrier.TWILIO, {"carriers": {"twilio": TWILIO}}, "twilio"),
        (Carrier.AUDIOSOCKET, {"carriers": {"asterisk": {}}, "audiosocket_port": 9092}, "audiosocket"),
        (Carrier.ASTERISK, {"carriers": {"asterisk": ASTERISK}}, "asterisk"),
        (Carrier.ACS, {"carriers": {"acs": ACS}}, "acs"),
    ],
)
def test_each_carrier_has_a_line_with_a_call_of_its_own(carrier: Carrier, more: Any, protocol: str) -> None:
    lines = [line_for(carrier, "desk", SERVER, settings(**more)) for _ in range(2)]
    assert [line.protocol for line in lines] == [protocol] * 2
    assert lines[0].carrier_call_id != lines[1].carrier_call_id


@pytest.mark.parametrize(
    ("carrier", "more", "why"),
    [
        (Carrier.TWILIO, {"carriers": {"asterisk": ASTERISK}}, "needs the table carriers.twilio and public_url"),
        (Carrier.AUDIOSOCKET, {}, "needs a port in audiosocket_port"),
        (
            Carrier.AUDIOSOCKET,
            {"carriers": {"asterisk": {}}, "audiosocket_port": 0},
            "needs a port in audiosocket_port",
        ),
        (
            Carrier.AUDIOSOCKET,
            {
                "carriers": {"asterisk": {}},
                "audiosocket_port": 9092,
                "audiosocket_host": "10.0.0.1",
                "audiosocket_networks": ["10.0.0.0/8"],
            },
            "another machine's address",
        ),
        (Carrier.ASTERISK, {"carriers": {"asterisk": {}}}, "needs user and password"),
        *(
            (Carrier.ACS, {"carriers": {"acs": ACS | changes}}, why)
            for changes, why in (
                ({"access_key": None}, "needs access_key and event_secret in the table carriers.acs"),
                ({"event_secret": None}, "needs access_key and event_secret in the table carriers.acs"),
                ({"event_secret": "naïve"}, "event_secret has characters that no header can carry"),
                ({"endpoint": "https://NAME.communication.azure.com"}, "endpoint must be a loopback address such as"),
                ({"endpoint": "https://127.0.0.1:8420"}, "endpoint must be a loopback address such as"),
                ({"endpoint": "http://0.0.0.0:8420"}, "endpoint must be a loopback address such as"),
                ({"endpoint": f"{AZURE}/path"}, "endpoint must be a loopback address such as"),
                ({"openid_url": "https://acs.example/openid"}, f"openid_url must be an address under {AZURE}"),
                ({"key_set_url": "http://127.0.0.1:8421/keys"}, f"key_set_url must be an address under {AZURE}"),
            )
        ),
    ],
)
def test_settings_without_the_carrier_say_what_is_missing(carrier: Carrier, more: Any, why: str) -> None:
    with pytest.raises(UsedWrongly, match=f"--as {carrier}: .*{why}"):
        line_for(carrier, "desk", SERVER, settings(**more))


def test_a_trial_of_azure_needs_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "PACKAGES", ("no_such_package",))
    with pytest.raises(
        UsedWrongly, match=r"--as acs: needs the package no_such_package: pip install 'patchbay\[acs\]'"
    ):
        line_for(Carrier.ACS, "desk", SERVER, settings(carriers={"acs": ACS}))


def test_the_settings_are_those_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "patchbay.yaml").write_text(
        "public_url: https://voice.example\nnumbers: {'*': desk}\n"
        "carriers: {twilio: {account_sid: AC01, auth_token: made-up-token}}\n"
    )
    options = options_for(Carrier.TWILIO, "desk", SERVER, 12.0)
    assert (options.line.protocol, options.answer_timeout_s) == ("twilio", 12.0)
    with pytest.raises(UsedWrongly, match="leads to nobody"):
        options_for(Carrier.TWILIO, "nobody", SERVER, 12.0)
