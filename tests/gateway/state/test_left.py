"""What dead instances left in their spools is counted from their files, whatever these hold."""

from __future__ import annotations

import os
from pathlib import Path

from support.stores.records import kept, session_record

from gateway.state.instances import LOCK, Instances
from gateway.state.kept import Fence
from gateway.state.left import left_by_dead
from gateway.state.spool import NAME, SpoolSize, StateSpool
from sessions.stores.documents import session_document

STATE = "state"


def spool(root: Path, boot: str, *sessions: str) -> Path:
    """The spool of an instance with these sessions' documents; returns the file."""
    folder = root / boot
    folder.mkdir(parents=True)
    (folder / LOCK).touch()
    held = StateSpool(folder / STATE, 100_000)
    for session in sessions:
        document = session_document(session_record(session, boot=boot), ttl_s=None)
        held.append(kept(document, fence=Fence(boot, 1, None)))
    return folder / STATE / NAME


def test_the_newest_versions_of_documents_of_dead_instances_count(tmp_path: Path) -> None:
    first = spool(tmp_path, "first", "s1", "s2", "s1")
    second = spool(tmp_path, "second", "s1")
    size_bytes = first.stat().st_size + second.stat().st_size
    assert left_by_dead(Instances(tmp_path, "own"), STATE) == SpoolSize(3, size_bytes)


def test_documents_that_were_written_meanwhile_do_not_count(tmp_path: Path) -> None:
    spool(tmp_path, "first", "s1", "s2")
    held = StateSpool(tmp_path / "first" / STATE, 100_000)
    found = held.load(max_documents=1, max_bytes=1)
    held.done({key: [one.id for one in documents] for key, documents in found.items()})
    assert left_by_dead(Instances(tmp_path, "own"), STATE).documents == 1


def test_what_living_instances_spooled_is_theirs(tmp_path: Path) -> None:
    own, other = Instances(tmp_path, "own"), Instances(tmp_path, "other")
    own.hold()
    spool(tmp_path, "later", "s1").rename(tmp_path / "moved")
    other.hold()
    for living in (own, other):
        (living.folder / STATE).mkdir()
        (living.folder / STATE / NAME).write_bytes((tmp_path / "moved").read_bytes())
    assert left_by_dead(own, STATE) == SpoolSize()
    other.release()
    assert left_by_dead(own, STATE).documents == 1
    own.release()


def test_looking_leaves_the_dead_to_whoever_recovers_them(tmp_path: Path) -> None:
    spool(tmp_path, "first", "s1")
    left_by_dead(Instances(tmp_path, "own"), STATE)
    assert Instances(tmp_path, "other").take_dead() == [tmp_path / "first"]


def test_what_cannot_be_read_counts_as_nothing(tmp_path: Path) -> None:
    spool(tmp_path, "good", "s1")
    bad = spool(tmp_path, "bad", "s1")
    with bad.open("ab") as file:
        file.write(b"{half a line\n\xff\n\n[]\n")
    spool(tmp_path, "none")
    (tmp_path / "folder" / STATE / NAME).mkdir(parents=True)
    (tmp_path / "pipe" / STATE).mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe" / STATE / NAME)
    (tmp_path / "link" / STATE).mkdir(parents=True)
    (tmp_path / "link" / STATE / NAME).symlink_to(tmp_path / "link" / STATE / NAME)
    (tmp_path / "file").touch()
    assert left_by_dead(Instances(tmp_path, "own"), STATE).documents == 2
    assert left_by_dead(Instances(tmp_path / "file", "own"), STATE) == SpoolSize()


def test_reading_is_bounded(tmp_path: Path) -> None:
    first, second = spool(tmp_path, "first", "s1"), spool(tmp_path, "second", "s1", "s2")
    found = left_by_dead(Instances(tmp_path, "own"), STATE, max_bytes=second.stat().st_size)
    assert found == SpoolSize(1, first.stat().st_size + second.stat().st_size)
