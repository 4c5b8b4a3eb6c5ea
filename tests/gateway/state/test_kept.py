"""A kept document is one line of JSON, which says what was known of its session; lines of older spools are read too."""

from __future__ import annotations

import orjson
import pytest
from support.stores.store_contract import turn

from gateway.state.kept import Fence, Kept, decode, encode


@pytest.mark.parametrize("fence", [None, Fence("boot", 3, "e7"), Fence("boot", 1, None), Fence(None, 1, None)])
def test_a_document_comes_back_from_its_line_with_its_fence(fence: Fence | None) -> None:
    assert decode(encode(Kept(turn("s1", 0), fence, since_ms=5))) == Kept(turn("s1", 0), fence)


def test_a_line_of_an_older_spool_is_the_document_alone() -> None:
    assert decode(orjson.dumps({**turn("s1", 0), "document": 1})) == Kept({**turn("s1", 0), "document": 1}, None)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"7",
        b"[]",
        b"{",
        b'{"id": "x"}',
        b'{"document": {"tenant": "a", "session_id": "b", "id": "c"}}',
        b'{"owner": ["b", 1], "etag": null, "document": {"tenant": "a", "session_id": "b", "id": 3}}',
        b'{"owner": ["b", 1], "etag": 7, "document": {"tenant": "a", "session_id": "b", "id": "c"}}',
        b'{"owner": ["b", "1"], "etag": null, "document": {"tenant": "a", "session_id": "b", "id": "c"}}',
        b'{"owner": "b", "etag": null, "document": {"tenant": "a", "session_id": "b", "id": "c"}}',
    ],
)
def test_a_line_of_another_shape_holds_no_document(line: bytes) -> None:
    assert decode(line) is None


def test_what_is_no_document_is_not_encoded() -> None:
    with pytest.raises(TypeError):
        encode(Kept({**turn("s1", 0), "id": 3}, None))
    with pytest.raises(TypeError):
        encode(Kept({**turn("s1", 0), "text": {1, 2}}, None))  # type: ignore[dict-item]
