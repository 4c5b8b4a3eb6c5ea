"""The store that a setting names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.stores.store_contract import HandClock, session

from sessions.stores.contract import StoreFailed
from sessions.stores.cosmos import CosmosAccess
from sessions.stores.opening import open_reader, open_store
from sessions.stores.store_meter import StoreMeter

ACCESS = CosmosAccess(key=None, credential=None, plain_allowed=False, meter=StoreMeter())


def test_the_path_in_the_setting_is_relative_or_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def main(url: str) -> None:
        store = open_store(url, HandClock(), cosmos=ACCESS)
        await store.open()
        await store.put(session("s1"), None)
        await store.close()

    async def read(url: str) -> int:
        reader = open_reader(url, HandClock(), cosmos=ACCESS)
        found = await reader.changes(None, 10)
        await reader.close()
        return len(found.items)

    asyncio.run(main("sqlite://./data/relative.db"))
    assert asyncio.run(read("sqlite://./data/relative.db")) == 1
    asyncio.run(main(f"sqlite://{tmp_path}/absolute.db"))
    assert (tmp_path / "data" / "relative.db").is_file()
    assert (tmp_path / "absolute.db").is_file()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("cosmos://account.example/db", "must name one database and one container"),
        ("cosmos://user:secret@account.example/db/calls", "must hold no user name, key or fragment"),
        ("cosmos+http://account.example/db/calls", "sends documents in the clear"),
        ("cosmos+http://127.0.0.1:1/db/calls", "needs a key"),
        ("cosmos://account.example/db/calls?create=1", "needs the account's key"),
        ("sqlite://", "names no file"),
        ("sqlite://folder/", "names no file"),
        ("sqlite:data.db", "no known kind"),
        ("postgres://user:secret@host/db", "no known kind"),
    ],
)
def test_a_setting_that_names_no_store_is_refused_with_a_reason_and_without_its_keys(url: str, reason: str) -> None:
    for make in (
        lambda: open_store(url, HandClock(), cosmos=ACCESS),
        lambda: open_reader(url, HandClock(), cosmos=ACCESS),
    ):
        with pytest.raises(StoreFailed, match=reason) as refused:
            make()
        assert "secret" not in str(refused.value)
