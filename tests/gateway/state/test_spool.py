"""The spool gives its documents back by session, oldest first, and never again once they are done."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support.stores.records import kept
from support.stores.store_contract import session, turn

from gateway.state.kept import Fence, Kept
from gateway.state.spool import NAME, StateSpool
from sessions.errors import Overloaded
from sessions.stores.contract import SessionKey

FIRST, SECOND = SessionKey("default", "s1"), SessionKey("default", "s2")


def ids(found: Iterable[Kept]) -> list[str]:
    return [one.id for one in found]


def load(spool: StateSpool, *, documents: int = 100, size: int = 1 << 20, **more: Any) -> dict[str, list[str]]:
    """The ids that are read next, by session id."""
    found = spool.load(max_documents=documents, max_bytes=size, **more)
    return {key.session_id: ids(kept) for key, kept in found.items()}


def test_the_newest_versions_come_by_session_oldest_first_and_with_their_fence(tmp_path: Path) -> None:
    spool = StateSpool(tmp_path, 10_000)
    fence = Fence("boot", 2, "e1")
    spool.append(kept(turn("s2", 0, n=1), session("s1", n=1), fence=fence))
    spool.append(kept(turn("s1", 0), turn("s2", 0, n=2), session("s1", n=2), fence=fence))
    for reader in (spool, StateSpool(tmp_path, 10_000)):
        found = reader.load(max_documents=9, max_bytes=9_999)
        assert list(found) == [SECOND, FIRST]
        assert found[SECOND] == kept(turn("s2", 0, n=2), fence=fence)
        assert found[FIRST] == kept(session("s1", n=2), turn("s1", 0), fence=fence)
        assert load(reader, first=[FIRST], documents=1) == {"s1": ["session", "turn_00000"]}


def test_a_session_with_many_documents_comes_in_parts_each_with_its_own_document(tmp_path: Path) -> None:
    spool = StateSpool(tmp_path, 100_000)
    spool.append(kept(*(turn("s1", index) for index in range(5)), session("s1")))
    seen = []
    while found := load(spool, documents=3):
        assert found["s1"][0] == "session"
        seen += found["s1"][1:]
        spool.done({FIRST: found["s1"]})
    assert seen == [f"turn_{index:05}" for index in range(5)]
    assert not (tmp_path / NAME).exists()


def test_large_documents_come_one_by_one(tmp_path: Path) -> None:
    spool = StateSpool(tmp_path, 100_000)
    spool.append(kept(*(turn("s1", index, text="x" * 900) for index in range(3)), turn("s2", 0, text="x" * 900)))
    assert load(spool, size=1000) == {"s1": ["turn_00000"]}
    assert load(spool, size=1500) == {"s1": ["turn_00000"]}
    assert load(spool, size=2500) == {"s1": ["turn_00000", "turn_00001"]}


def test_what_is_done_is_not_read_again_not_even_after_a_crash(tmp_path: Path) -> None:
    spool = StateSpool(tmp_path, 10_000)
    spool.append(kept(turn("s1", 0, n=1), turn("s2", 0)))
    spool.append(kept(turn("s1", 0, n=2)))
    size_bytes = (tmp_path / NAME).stat().st_size
    spool.done({FIRST: ["turn_00000"]})
    for reader in (spool, StateSpool(tmp_path, 10_000)):
        assert load(reader) == {"s2": ["turn_00000"]}
        assert (reader.holds(FIRST), reader.holds(SECOND)) == (False, True)
    assert (tmp_path / NAME).stat().st_size == size_bytes  # marking lines needs no space on the disk
    spool.append(kept(turn("s1", 0, n=3)))
    assert load(StateSpool(tmp_path, 10_000)) == {"s2": ["turn_00000"], "s1": ["turn_00000"]}


def test_documents_that_are_to_be_skipped_stay_for_later(tmp_path: Path) -> None:
    spool = StateSpool(tmp_path, 10_000)
    spool.append(kept(turn("s1", 0), turn("s1", 1), turn("s2", 0)))
    skip = {FIRST: ["turn_00000"], SECOND: ["turn_00000"]}
    assert load(spool, skip=skip) == {"s1": ["turn_00001"]}
    assert spool.has_more(skip)
    spool.done({FIRST: ["turn_00001"]})
    assert (load(spool, skip=skip), spool.has_more(skip)) == ({}, False)
    assert load(spool) == {"s1": ["turn_00000"], "s2": ["turn_00000"]}


def test_a_full_spool_keeps_what_it_has_and_makes_room_of_older_versions(tmp_path: Path) -> None:
    spool = StateSpool(tmp_path, 4_000)
    for number in range(50):  # each version takes some 1000 bytes
        spool.append(kept(turn("s1", 0, n=number, text="x" * 900)))
    spool.append(kept(turn("s2", 0, text="y" * 900)))
    with pytest.raises(Overloaded):
        spool.append(kept(turn("s3", 0, text="z" * 2000)))
    (newest,) = spool.load(max_documents=9, max_bytes=9_999)[FIRST]
    assert newest.document["n"] == 49
    assert load(StateSpool(tmp_path, 4_000)) == {"s1": ["turn_00000"], "s2": ["turn_00000"]}


def test_nothing_of_a_forgotten_session_stays_in_the_file(tmp_path: Path) -> None:
    spool = StateSpool(tmp_path, 10_000)
    spool.append(kept(turn("s1", 0, text="secret"), turn("s2", 0, text="done"), turn("s3", 0)))
    spool.done({SECOND: ["turn_00000"]})
    spool.forget(FIRST)
    spool.forget(FIRST)
    text = (tmp_path / NAME).read_text()
    assert ("secret" in text, "done" in text) == (False, False)
    assert load(spool) == load(StateSpool(tmp_path, 10_000)) == {"s3": ["turn_00000"]}
    spool.forget(SessionKey("default", "s3"))
    assert not (tmp_path / NAME).exists()


def test_its_size_counts_newest_versions_and_the_oldest_documents_time(tmp_path: Path) -> None:
    spool = StateSpool(tmp_path, 10_000)
    assert (spool.size.documents, spool.size.payload_bytes, spool.size.since_ms) == (0, 0, None)
    spool.append([Kept(turn("s1", 0), None, since_ms=100)])
    spool.append([Kept(turn("s1", 0), None, since_ms=200), Kept(turn("s2", 0), None, since_ms=300)])
    assert (spool.size.documents, spool.size.since_ms) == (2, 100)
    assert spool.size.payload_bytes == (tmp_path / NAME).stat().st_size
    spool.done({FIRST: ["turn_00000"]})
    assert (spool.size.documents, spool.size.since_ms) == (1, 300)


@pytest.mark.parametrize("change", ["removed", "shorter", "same length"])
def test_a_file_that_another_program_changes_is_read_anew_and_no_other_document_is_lost(
    tmp_path: Path, change: str
) -> None:
    spool = StateSpool(tmp_path, 10_000)
    spool.append(kept(turn("s1", 0), turn("s2", 0)))
    path = tmp_path / NAME
    text = path.read_bytes()
    if change == "removed":
        path.unlink()
    else:
        path.write_bytes(text[:-40] if change == "shorter" else text.replace(b'"s2"', b'"s9"'))
    spool.append(kept(turn("s3", 0)))
    left = {} if change == "removed" else {"s1": ["turn_00000"]}
    assert load(spool) == {**left, "s3": ["turn_00000"]}
