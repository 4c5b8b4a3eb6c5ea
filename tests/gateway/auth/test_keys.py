from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.keys import check_tenant, create_key, read_keys


def test_keys_belong_to_tenants_in_plain_text_or_as_a_digest() -> None:
    digest = sha256(b"three").hexdigest()
    keys = read_keys(["one", "acme:two", f"sha256:{digest}", f"shop-1:sha256:{sha256(b'four').hexdigest().upper()}"])
    assert [keys.tenant_of(key) for key in ("one", "two", "three", "four")] == ["default", "acme", "default", "shop-1"]
    assert [keys.tenant_of(key) for key in ("", "One", digest, f"sha256:{digest}", "one" * 999)] == [None] * 5


def test_a_created_key_is_known_by_its_digest() -> None:
    key, digest = create_key()
    assert len(key) > 40
    assert create_key()[0] != key
    assert key not in digest
    assert read_keys([f"acme:{digest}"]).tenant_of(key) == "acme"


def test_every_valid_tenant_name_can_be_written_in_an_entry() -> None:
    key, digest = create_key()
    for name in ("a", "7", "shop-1_b", "a" * 63):
        check_tenant(name)
        assert read_keys([f"{name}:{digest}"]).tenant_of(key) == name
    for name in ("", "a:b", "Shop", "the shop", "-a", "ä", "a" * 64, "a\n"):
        with pytest.raises(ValueError, match="is written in small letters"):
            check_tenant(name)
    with pytest.raises(ValueError, match="no tenant can be called sha256"):
        check_tenant("sha256")


@pytest.mark.parametrize("name", ["_", "_boots", "__init", "_Shop", "_" * 70])
def test_names_with_an_underscore_at_the_start_are_kept_for_the_gateway(name: str) -> None:
    for check in (lambda: check_tenant(name), lambda: read_keys([f"{name}:hush"])):
        with pytest.raises(ValueError, match="begin the tenant's with a letter or a digit") as caught:
            check()
        assert "hush" not in str(caught.value)


def test_no_keys_is_false() -> None:
    assert not read_keys([])
    assert read_keys(["k"])


@pytest.mark.parametrize(
    "entry", ["", "acme:", "Acme:hush", "sha256:hush", "a:sha256:12", "hush hush", "ek_hush", "acme:ek_hush", "hüsh"]
)
def test_a_bad_entry_is_named_only_by_its_position(entry: str) -> None:
    with pytest.raises(ValueError, match="API key 2: ") as caught:
        read_keys(["fine", entry])
    assert "hush" not in str(caught.value)


def test_two_tenants_with_one_key_are_refused() -> None:
    digest = sha256(b"hush").hexdigest()
    assert read_keys(["acme:hush", f"acme:sha256:{digest}"]).tenant_of("hush") == "acme"
    for second in ("shop:hush", f"shop:sha256:{digest}", "hush"):
        with pytest.raises(ValueError, match="API key 2: another tenant has the same key") as caught:
            read_keys(["acme:hush", second])
        assert "hush" not in str(caught.value)


def test_the_material_depends_only_on_keys_and_tenants() -> None:
    digest = f"sha256:{sha256(b'b').hexdigest()}"
    assert read_keys(["a", "b"]).material() == read_keys([digest, "a", "b"]).material()
    assert read_keys(["a"]).material() != read_keys(["x:a"]).material()
    assert b"hush" not in read_keys(["hush"]).material()


@given(st.text(max_size=600))
def test_any_other_text_is_an_unknown_key(text: str) -> None:
    assert read_keys(["acme:sk-1234567890"]).tenant_of(text + "!") is None


def test_the_repr_of_keys_shows_no_key() -> None:
    keys = read_keys(["hush"])
    assert "hush" not in repr(keys) + str(keys)
