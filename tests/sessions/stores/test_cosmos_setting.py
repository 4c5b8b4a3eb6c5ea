"""The setting of a store in Cosmos DB: read, and refused without being repeated."""

from __future__ import annotations

import pytest

from sessions.stores.cosmos_setting import CosmosPlace, check_access, check_key, is_cosmos, read_cosmos_url


def test_an_account_with_regions_is_read() -> None:
    place = read_cosmos_url("cosmos://acc.documents.azure.com/db/calls?regions=West Europe, North%20Europe,")
    assert place == CosmosPlace(
        endpoint="https://acc.documents.azure.com:443/",
        host="acc.documents.azure.com",
        database="db",
        container="calls",
        regions=("West Europe", "North Europe"),
        create=False,
        plain=False,
        near=False,
    )
    assert str(place) == "db/calls on acc.documents.azure.com"


@pytest.mark.parametrize(
    ("host", "endpoint", "near"),
    [
        ("127.0.0.1:8081", "http://127.0.0.1:8081/", True),
        ("[::1]:8081", "http://[::1]:8081/", True),
        ("localhost", "http://localhost:80/", True),
        ("emulator.localhost:1", "http://emulator.localhost:1/", True),
        ("192.168.1.7:8081", "http://192.168.1.7:8081/", False),
        ("emulator:8081", "http://emulator:8081/", False),
    ],
)
def test_plain_http_is_for_this_machine_unless_allowed_and_needs_a_key(host: str, endpoint: str, near: bool) -> None:
    place = read_cosmos_url(f"cosmos+http://{host}/db/calls?create=1")
    assert (place.endpoint, place.plain, place.near, place.create) == (endpoint, True, near, True)
    check_access(place, key="a2V5", plain_allowed=True)
    with pytest.raises(ValueError, match="set PATCHBAY_COSMOS_KEY"):
        check_access(place, key=None, plain_allowed=True)
    if near:
        check_access(place, key="a2V5", plain_allowed=False)
    else:
        with pytest.raises(ValueError, match="PATCHBAY_STORE_PLAIN=1"):
            check_access(place, key="a2V5", plain_allowed=False)


def test_only_the_key_may_make_a_container() -> None:
    place = read_cosmos_url("cosmos://acc/db/calls?create=1")
    check_access(place, key="a2V5", plain_allowed=False)
    with pytest.raises(ValueError, match="create=1 needs the account's key"):
        check_access(place, key=None, plain_allowed=False)
    check_access(read_cosmos_url("cosmos://acc/db/calls?create=0"), key=None, plain_allowed=False)


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("", "names no account"),
        ("/db/calls", "names no account"),
        ("secret\n/db/calls", "names no account"),
        ("acc:0/db/calls", "names no account"),
        ("acc:secret/db/calls", "cannot be used"),
        ("acc:99999/db/calls", "cannot be used"),
        (f"{'secret' * 20}/db/calls", "cannot be used"),
        ("acc", "one database and one container"),
        ("acc/secret", "one database and one container"),
        ("acc/secret/", "one database and one container"),
        ("acc/db/calls/secret", "one database and one container"),
        ("acc/db/secret%2Fx", "one database and one container"),
        ("acc/db/%20secret%20", "one database and one container"),
        (f"acc/db/{'secret' * 50}", "one database and one container"),
        ("me:secret@acc/db/calls", "no user name, key or fragment"),
        ("acc/db/calls#secret", "no user name, key or fragment"),
        ("acc/db/calls?AccountKey=secret", "only regions and create"),
        ("acc/db/calls?create=1&create=1", "each once"),
        ("acc/db/calls?create=secret", "neither 0 nor 1"),
        ("acc/db/calls?regions=,", "empty regions"),
    ],
)
def test_a_setting_of_another_shape_is_refused_without_being_shown(rest: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        read_cosmos_url(f"cosmos://{rest}")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["", "not base64", "abc", "äöü=", "a2V5\n", '"a2V5"'])
def test_a_key_that_is_no_base64_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="no base64") as refused:
        check_key(key)
    assert not key or key not in str(refused.value)


def test_a_key_in_base64_is_taken() -> None:
    check_key("a2V5a2V5a2V5a2V5")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("cosmos://x", True),
        ("cosmos+http://x", True),
        ("cosmos:x", True),
        ("sqlite://cosmos", False),
        ("cosmos2://x", False),
        ("", False),
    ],
)
def test_other_stores_are_told_apart(url: str, found: bool) -> None:
    assert is_cosmos(url) is found
