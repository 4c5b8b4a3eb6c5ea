from __future__ import annotations

from pathlib import Path

import pytest

from gateway.auth.requests import is_one_of
from gateway.config.carriers import ACS_ISSUER, ACS_OPENID
from gateway.config.settings import Settings, SettingsError, load_settings

GUID = "01234567-89AB-cdef-0123-456789abcdef"
PUBLIC = "public_url: https://voice.example\n"
TEXT = f"""{PUBLIC}carriers:
  asterisk: {{user: pbx, password: p-secret, media_url: 'ws://10.0.0.5:8088/'}}
  twilio:
    account_sid: AC1
    signing_keys: {{KEab: k-secret}}
  signalwire: {{account_sid: p1, bearer_token: b-secret, auth_token: s-secret, space_url: https://x.signalwire.com/}}
  acs: {{endpoint: https://r.communication.azure.com/, resource_id: {GUID}, access_key: QW4gYWNjb3VudCdzIGtleSw=}}
"""
TOKEN = {"PATCHBAY_CARRIERS__TWILIO__AUTH_TOKEN": "t-secret"}


def load(folder: Path, text: str = "", environ: dict[str, str] | None = None) -> Settings:
    (folder / "patchbay.yaml").write_text(text)
    return load_settings(environ or {}, folder)


def refused(folder: Path, text: str = "", environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(folder, text, environ)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_no_carrier_is_configured_by_default() -> None:
    settings = Settings()
    assert settings.carriers.configured() == {}
    assert settings.audiosocket_port is None


def test_each_table_is_read_from_all_sources(tmp_path: Path) -> None:
    carriers = load(tmp_path, TEXT, TOKEN).carriers
    asterisk, twilio, signalwire, acs = carriers.asterisk, carriers.twilio, carriers.signalwire, carriers.acs
    assert asterisk is not None
    assert twilio is not None
    assert signalwire is not None
    assert acs is not None
    assert (asterisk.user, asterisk.media_url) == ("pbx", "ws://10.0.0.5:8088")
    assert (twilio.auth_token.get_secret_value(), twilio.api_url) == ("t-secret", "https://api.twilio.com")
    assert (twilio.signing_key("keAB"), twilio.signing_key("other")) == ("k-secret", None)
    assert signalwire.space_url == "https://x.signalwire.com"
    assert (acs.resource_id, acs.marks, acs.event_secret) == (GUID.lower(), False, None)
    assert (acs.issuer, acs.openid_url, acs.key_set_url) == (ACS_ISSUER, ACS_OPENID, None)
    assert list(carriers.configured()) == ["asterisk", "twilio", "signalwire", "acs"]
    assert {table.tenant for table in carriers.configured().values()} == {"default"}


def test_secrets_of_carriers_are_shown_nowhere(tmp_path: Path) -> None:
    assert "-secret" not in repr(load(tmp_path, TEXT, TOKEN))
    lines = refused(tmp_path, TEXT.replace("b-secret", "'b -secret'").replace("QW4g", "QW4_"), TOKEN)
    assert len(lines) == 2
    assert not [line for line in lines if "-secret" in line or "YWNj" in line]


def test_a_table_without_values_is_one_and_an_empty_line_is_none(tmp_path: Path) -> None:
    carriers = load(tmp_path, "carriers:\n  asterisk: {}\n  twilio:\n").carriers
    assert carriers.asterisk is not None
    assert carriers.twilio is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "carriers:\n  twilio:\n    account_sid: AC1\n",
            "patchbay.yaml:3: carriers.twilio.auth_token: is missing; set it too",
        ),
        ("carriers:\n  twillio: {}\n", "patchbay.yaml:2: carriers.twillio: there is no such setting; take it out"),
        ("carriers: x\n", "patchbay.yaml:1: carriers: must hold settings by name; docs/settings.md lists them"),
        ("carriers:\n  asterisk: {user: a}\n", "patchbay.yaml:2: carriers.asterisk.user: needs user and password"),
        ("carriers:\n  asterisk: {media_url: 'http://a'}\n", "patchbay.yaml:2: carriers.asterisk.media_url: must be a"),
        ("carriers:\n  asterisk: {tenant: No}\n", "patchbay.yaml:2: carriers.asterisk.tenant: a tenant is written in"),
        (
            f"carriers:\n  asterisk: {{user: '{'a:b'}', password: p}}\n",
            "patchbay.yaml:2: carriers.asterisk.user: must hold no colon",
        ),
        (
            f"carriers:\n  acs: {{endpoint: 'https://r.example', resource_id: {GUID}, event_audience: app}}\n",
            "patchbay.yaml:2: carriers.acs.endpoint: needs event_tenant and event_audience, or neither",
        ),
        (
            f"carriers:\n  acs: {{endpoint: 'https://r.example', resource_id: {GUID}, event_tenant: x}}\n",
            "patchbay.yaml:2: carriers.acs.event_tenant: must be a tenant's id at Entra",
        ),
    ],
)
def test_a_bad_table_stops_the_start_with_its_line_and_field(tmp_path: Path, text: str, line: str) -> None:
    [found] = refused(tmp_path, text)
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("TWILIO__API_URL", "http://api.example", "plain http goes to this machine only"),
        ("TWILIO__API_URL", "https://u:p@api.example", "must hold no user name"),
        ("TWILIO__SIGNING_KEYS", "x", "must hold settings by name"),
        ("ACS__ENDPOINT", "http://r.example", "plain http goes to this machine only"),
        ("ACS__RESOURCE_ID", "r", "must be the resource's immutable id"),
        ("ACS__KEY_SET_URL", "http://keys.example", "plain http goes to this machine only"),
        ("ACS__MARKS", "perhaps", "must be a valid boolean"),
        ("SIGNALWIRE__BEARER_TOKEN", "a b", "visible ASCII"),
    ],
)
def test_a_bad_value_in_the_environment_is_named_as_it_is_written(
    tmp_path: Path, name: str, value: str, why: str
) -> None:
    [line] = refused(tmp_path, TEXT, {**TOKEN, f"PATCHBAY_CARRIERS__{name}": value})
    assert line.startswith(f"PATCHBAY_CARRIERS__{name}: ")
    assert why in line


def test_stand_ins_on_this_machine_need_no_tls(tmp_path: Path) -> None:
    names = {"TWILIO__API_URL": "", "ACS__ENDPOINT": "", "ACS__OPENID_URL": "/c", "ACS__ISSUER": ""}
    environ = {f"PATCHBAY_CARRIERS__{name}": f"http://127.0.0.1:9000{path}" for name, path in names.items()}
    acs = load(tmp_path, TEXT, {**TOKEN, **environ}).carriers.acs
    assert acs is not None
    assert (acs.endpoint, acs.openid_url) == ("http://127.0.0.1:9000", "http://127.0.0.1:9000/c")


def test_a_carrier_belongs_to_a_tenant_that_has_a_key(tmp_path: Path) -> None:
    text = "carriers: {asterisk: {tenant: acme}}\n"
    assert refused(tmp_path, text) == [
        "patchbay.yaml:1: carriers.asterisk.tenant: without API keys there is one tenant; write default"
    ]
    assert load(tmp_path, "api_keys: 'acme:k1,shop:k2'\n" + text).carriers.configured()["asterisk"].tenant == "acme"
    [line] = refused(tmp_path, "api_keys: 'acme:k1,shop:k2'\ncarriers: {asterisk: {}}\n")
    assert line.endswith("tenant: no API key belongs to the tenant default; write acme or shop")


@pytest.mark.parametrize("name", ["twilio", "signalwire", "acs"])
def test_a_carrier_in_the_cloud_needs_the_public_address(tmp_path: Path, name: str) -> None:
    lines = refused(tmp_path, TEXT.removeprefix(PUBLIC), TOKEN)
    assert len(lines) == 3
    assert [line for line in lines if f"carriers.{name}" in line and line.endswith("set PATCHBAY_PUBLIC_URL")]


def test_audiosocket_is_for_this_machine_unless_networks_are_named(tmp_path: Path) -> None:
    text = "carriers: {asterisk: {}}\naudiosocket_port: 9092\n"
    peers = load(tmp_path, text).audiosocket_peers
    assert [is_one_of(peer, peers) for peer in ("127.0.0.1", "::1", "10.0.0.1")] == [True, True, False]
    [line] = refused(tmp_path, f"{text}audiosocket_host: 0.0.0.0\n")
    assert line.startswith("patchbay.yaml:3: audiosocket_host: AudioSocket has no password")
    named = load(tmp_path, f"{text}audiosocket_host: 0.0.0.0\naudiosocket_networks: [10.0.0.0/8]\n")
    assert [is_one_of(peer, named.audiosocket_peers) for peer in ("127.0.0.1", "10.0.0.1")] == [False, True]
    assert refused(tmp_path, "audiosocket_port: 9092\n")[0].startswith("patchbay.yaml:1: audiosocket_port: needs the")
    [line] = refused(tmp_path, "audiosocket_networks: [pbx]\n")
    assert line.endswith("each must be an address or a network, such as 10.0.0.0/8")
    assert load(tmp_path, "audiosocket_host: 0.0.0.0\n").audiosocket_port is None
