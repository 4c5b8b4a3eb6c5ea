"""Tests for audio/whole_file.py."""

from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from audio.whole_file import UnfitFile, read_whole, stamp_of


def test_a_regular_file_and_a_linked_one_are_read_up_to_the_maximum(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("a")
    for name in ("a", "b"):
        assert read_whole(tmp_path / name, 5) == b"12345"
        with pytest.raises(UnfitFile, match=f"{name} has 5 bytes; at most 4 are read"):
            read_whole(tmp_path / name, 4)
    (tmp_path / "empty").touch()
    assert read_whole(tmp_path / "empty", 0) == b""


def test_a_large_file_is_refused_before_any_of_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.truncate(tmp_path / "a", 2 << 30)
    tracemalloc.start()
    with pytest.raises(UnfitFile, match="has 2147483648 bytes"):
        read_whole(tmp_path / "a", 1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a file that reports no size")
def test_a_file_without_a_size_is_read_up_to_the_maximum() -> None:
    assert read_whole(Path("/proc/self/status"), 1 << 20).startswith(b"Name:")
    with pytest.raises(UnfitFile, match="has more than 10 bytes"):
        read_whole(Path("/proc/self/status"), 10)


def test_anything_but_a_regular_file_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    os.mkfifo("pipe")
    Path("folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        Path("link").symlink_to("pipe")
        kinds = {
            "pipe": "a named pipe",
            "link": "a named pipe",
            "folder": "a folder",
            "socket": "a socket",
            "/dev/null": "a device",
            "/dev/zero": "a device",
        }
        for name, kind in kinds.items():
            with pytest.raises(UnfitFile) as caught:
                read_whole(Path(name), 10)
            assert caught.value.strerror == f"is {kind}; put a plain file there"
            assert str(caught.value) == f"{name} {caught.value.strerror}"


def test_a_link_in_a_loop_or_to_nothing_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(OSError, match="levels of symbolic links"):
        read_whole(tmp_path / "loop", 10)
    with pytest.raises(FileNotFoundError):
        read_whole(tmp_path / "gone", 10)
    assert stamp_of(tmp_path / "loop") is None
    assert stamp_of(tmp_path / "gone") is None


def test_a_replacement_with_the_same_time_and_size_has_another_stamp(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"1")
        os.utime(tmp_path / name, (1, 1))
    before = stamp_of(tmp_path / "a")
    assert stamp_of(tmp_path / "a") == before
    os.replace(tmp_path / "b", tmp_path / "a")
    assert stamp_of(tmp_path / "a") != before
