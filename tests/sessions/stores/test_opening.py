"""Which store a setting names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from store_contract import HandClock, session

from sessions.stores.contract import StoreFailed
from sessions.stores.opening import open_store


def test_an_absolute_and_a_relative_path_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def main(url: str) -> None:
        store = open_store(url, HandClock())
        await store.open()
        await store.put(session("s1"), None)
        await store.close()

    asyncio.run(main("sqlite://./data/relative.db"))
    asyncio.run(main(f"sqlite://{tmp_path}/absolute.db"))
    assert (tmp_path / "data" / "relative.db").is_file()
    assert (tmp_path / "absolute.db").is_file()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("cosmos://account.example/db", "not supported yet"),
        ("sqlite://", "names no file"),
        ("sqlite://folder/", "names no file"),
        ("sqlite:data.db", "no known kind"),
        ("postgres://user:secret@host/db", "no known kind"),
    ],
)
def test_what_is_no_store_is_refused_with_a_reason_and_without_its_keys(url: str, reason: str) -> None:
    with pytest.raises(StoreFailed, match=reason) as refused:
        open_store(url, HandClock())
    assert "secret" not in str(refused.value)
