"""The names of blobs: no name leads out of its place, and each can be read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.blobs.contract import BadBlobName
from gateway.blobs.folder import session_folder, session_of
from gateway.blobs.names import session_parts, unquoted


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_every_tenant_has_its_own_folder_inside_the_root(tenant: str, other: str) -> None:
    root = Path("/root/of/blobs")
    folder = session_folder(root, tenant, "s1")
    assert folder.parent.parent == root
    assert folder.name == "s1"
    assert folder.parent.name not in {".", ".."}
    assert "/" not in folder.parent.name
    assert session_of(folder) == (tenant, "s1")
    if tenant != other and "\ufffd" not in tenant and other.isprintable():
        assert session_folder(root, other, "s1") != folder


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_part_neither_begins_nor_ends_with_a_dot_and_can_be_read_back(text: str) -> None:
    parts = session_parts(text, text)
    for part in parts:
        assert part.isascii()
        assert "/" not in part
        assert not part.startswith(".")
        assert not part.endswith(".")
    assert unquoted(*parts) == (text, text)


@pytest.mark.parametrize("tenant", ["", "x" * 300])
def test_a_tenant_that_cannot_name_a_folder_is_refused(tenant: str) -> None:
    with pytest.raises(BadBlobName):
        session_parts(tenant, "s1")
