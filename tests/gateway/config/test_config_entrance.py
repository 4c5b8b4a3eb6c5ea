from __future__ import annotations

import pytest

from gateway.auth.keys import read_keys
from gateway.auth.origins import PublicAddress
from gateway.config.entrance import origin_rules, signing_material
from gateway.config.settings import Settings

NONE = read_keys([])
KEYS = read_keys(["acme:k-1"])


def test_the_rules_know_the_public_address() -> None:
    assert origin_rules(Settings(), NONE).public is None
    rules = origin_rules(Settings(public_url="https://voice.example/"), KEYS)
    assert (rules.public, rules.credentials) == (PublicAddress("voice.example", 443, True), True)


def test_processes_with_the_same_settings_sign_with_the_same_material() -> None:
    assert signing_material(Settings(), KEYS) == signing_material(Settings(), read_keys(["acme:k-1"]))
    assert signing_material(Settings(), KEYS) != signing_material(Settings(), read_keys(["acme:k-2"]))
    own = Settings(client_secret_key="k" * 32)
    assert signing_material(own, KEYS) == signing_material(own, NONE) == b"k" * 32


def test_without_keys_only_this_process_accepts_what_it_signs() -> None:
    assert signing_material(Settings(), NONE) != signing_material(Settings(), NONE)


def test_a_host_for_others_needs_keys() -> None:
    settings = Settings(host="0.0.0.0", api_keys="k-1")
    with pytest.raises(ValueError, match="only on loopback"):
        origin_rules(settings, NONE)
