"""gateway/models/scripted_library.py"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.models.scripted_file import ScriptError
from gateway.models.scripted_library import ScriptLibrary


def write(path: Path, text: str, at_s: int) -> None:
    path.write_text(text)
    os.utime(path, (at_s, at_s))


def test_a_script_is_read_once_for_each_change_of_its_file(tmp_path: Path) -> None:
    library = ScriptLibrary(tmp_path)
    write(tmp_path / "a.yaml", "model: one", 1)
    first = library.read("a.yaml")
    assert library.read("a.yaml") is first
    write(tmp_path / "a.yaml", "model: two", 2)
    assert library.read("a.yaml").model == "two"


def test_a_call_gets_the_last_good_version(tmp_path: Path) -> None:
    library = ScriptLibrary(tmp_path)
    write(tmp_path / "a.yaml", "model: one", 1)
    library.read("a.yaml")
    write(tmp_path / "a.yaml", "turns: 7", 2)
    with pytest.raises(ScriptError):
        library.read("a.yaml")
    assert library.for_call("a.yaml").model == "one"
    (tmp_path / "a.yaml").unlink()
    with pytest.raises(FileNotFoundError):
        library.read("a.yaml")
    assert library.for_call("a.yaml").model == "one"
    write(tmp_path / "a.yaml", "model: three", 3)
    assert library.for_call("a.yaml").model == "three"
