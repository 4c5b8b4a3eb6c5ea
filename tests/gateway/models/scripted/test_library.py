"""Tests for gateway/models/scripted/library.py: scripts whose files change."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from gateway.models.scripted.file import ScriptError
from gateway.models.scripted.library import ScriptLibrary


def write(path: Path, text: str, at_s: int) -> None:
    path.write_text(text)
    os.utime(path, (at_s, at_s))


def look(library: ScriptLibrary) -> None:
    asyncio.run(library.look(["a.yaml"]))


def known(folder: Path) -> ScriptLibrary:
    write(folder / "a.yaml", "model: one", 1)
    library = ScriptLibrary(folder)
    library.read("a.yaml")
    return library


def test_a_script_is_read_once_for_each_change_of_its_file(tmp_path: Path) -> None:
    library = known(tmp_path)
    first = library.read("a.yaml")
    look(library)
    assert library.read("a.yaml") is first
    assert library.for_call("a.yaml") is first
    write(tmp_path / "a.yaml", "model: two", 2)
    assert library.read("a.yaml").model == "two"


def test_a_call_reads_no_file_and_gets_what_the_last_look_found(tmp_path: Path) -> None:
    library = known(tmp_path)
    write(tmp_path / "a.yaml", "model: two", 2)
    assert library.for_call("a.yaml").model == "one"
    look(library)
    assert library.for_call("a.yaml").model == "two"


def test_a_look_skips_scripts_that_were_never_read(tmp_path: Path) -> None:
    library = ScriptLibrary(tmp_path)
    asyncio.run(library.look(["none.yaml"]))
    with pytest.raises(FileNotFoundError):
        library.read("none.yaml")


def test_a_call_gets_the_last_good_version(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    library = known(tmp_path)
    write(tmp_path / "a.yaml", "turns: 7", 2)
    for _ in range(2):
        with pytest.raises(ScriptError):
            library.read("a.yaml")
    assert library.for_call("a.yaml").model == "one"
    (tmp_path / "a.yaml").unlink()
    with pytest.raises(FileNotFoundError):
        library.read("a.yaml")
    with caplog.at_level(logging.WARNING):
        look(library)
        look(library)
    assert len(caplog.records) == 1  # the problem is logged once
    assert library.for_call("a.yaml").model == "one"
    write(tmp_path / "a.yaml", "model: three", 3)
    look(library)
    assert library.for_call("a.yaml").model == "three"


def test_a_script_that_becomes_no_plain_file_leaves_its_last_good_version(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library, path = known(tmp_path), tmp_path / "a.yaml"
    path.unlink()
    os.mkfifo(path)
    look(library)
    assert "a.yaml is a named pipe; put a plain file there" in vars(caplog.records[-1])["why"]
    path.unlink()
    path.symlink_to("/dev/zero")
    look(library)
    assert "a.yaml is a device; put a plain file there" in vars(caplog.records[-1])["why"]
    path.unlink()
    path.touch()
    os.truncate(path, 2 << 30)
    look(library)
    assert "has 2147483648 bytes; at most 1048576 are read" in vars(caplog.records[-1])["why"]
    assert library.for_call("a.yaml").model == "one"
    write(path, "model: two", 2)
    look(library)
    assert library.for_call("a.yaml").model == "two"


def test_a_file_that_is_emptied_before_it_is_written_leaves_the_last_good_version(tmp_path: Path) -> None:
    library = known(tmp_path)
    write(tmp_path / "a.yaml", "", 2)
    look(library)
    with pytest.raises(ScriptError, match=r"a\.yaml:1: is empty, as while it is being written"):
        library.read("a.yaml")
    assert library.for_call("a.yaml").model == "one"
    write(tmp_path / "a.yaml", "{}", 3)
    look(library)
    assert library.for_call("a.yaml").model == "a"
