"""Cursors as the API gives them: bound to one tenant and one store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.cursors import MAX_CHARACTERS, Cursors
from sessions.stores.contract import BadCursor

HERE = Cursors("sqlite://./data/patchbay.db")


@given(st.text(max_size=40), st.text(max_size=200))
def test_a_cursor_comes_back_as_the_stores_own(tenant: str, cursor: str) -> None:
    shown = HERE.shown(tenant, cursor)
    assert shown is not None
    assert HERE.read(tenant, shown) == cursor
    assert Cursors(HERE.store).read(tenant, shown) == cursor  # in another process too


def test_no_cursor_stays_none() -> None:
    assert HERE.shown("a", None) is None
    assert HERE.read("a", None) is None


@given(st.text(max_size=60))
def test_a_text_that_was_not_given_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        HERE.read("a", text)


def test_the_cursor_of_another_tenant_or_store_is_refused() -> None:
    shown = HERE.shown("a", "x1")
    for cursors, tenant in ((HERE, "b"), (Cursors("cosmos://account/database/container"), "a")):
        with pytest.raises(BadCursor):
            cursors.read(tenant, shown)


def test_a_cursor_of_absurd_length_is_refused() -> None:
    with pytest.raises(BadCursor):
        HERE.read("a", HERE.shown("a", "x" * MAX_CHARACTERS))
