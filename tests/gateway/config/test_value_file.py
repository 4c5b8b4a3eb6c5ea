"""gateway/config/value_file.py: the file and the line of every problem."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.config.section import FieldProblem
from gateway.config.value_file import FileProblem, decoded, json_file, read_file, read_file_if_there, yaml_file


class DeskProblem(FileProblem):
    """A kind of problem of its own."""


def test_a_problem_reads_file_line_field_and_why() -> None:
    assert str(FileProblem("a.yaml", 3, "b.c", "is odd")) == "a.yaml:3: b.c: is odd"
    assert str(FileProblem(Path("a.yaml"), 3, "", "is odd")) == "a.yaml:3: is odd"
    problem = FileProblem("a.yaml", 0, "b", "is odd")
    assert (str(problem), problem.line, problem.field, problem.message) == ("a.yaml: b: is odd", 0, "b", "is odd")


def test_a_file_that_is_not_there_may_be_told_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    assert read_file_if_there(path, DeskProblem) is None
    with pytest.raises(DeskProblem, match=r"a\.yaml: cannot be read: No such file"):
        read_file(path, DeskProblem)
    path.write_text("a: 1\n")
    assert read_file(path, DeskProblem) == b"a: 1\n"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DeskProblem, match=r"a\.yaml: cannot be read: is a named pipe"):
        read_file_if_there(path, DeskProblem)


def test_text_is_utf_8_with_or_without_a_byte_order_mark() -> None:
    assert decoded("\ufeffé".encode(), "a", DeskProblem) == decoded("é".encode(), "a", DeskProblem) == "é"
    with pytest.raises(DeskProblem, match="a:2: is not UTF-8 text; save it as UTF-8"):
        decoded(b"a: 1\nb: \xff", "a", DeskProblem)


@pytest.mark.parametrize("read", ["yaml", "json"])
def test_what_a_check_finds_gets_its_line(read: str) -> None:
    text = '{"a": 1,\n "b": [\n  {"c": 2}]}'
    file = yaml_file(text, "f", DeskProblem) if read == "yaml" else json_file(text.encode(), "f", DeskProblem)
    assert file.value == {"a": 1, "b": [{"c": 2}]}
    with pytest.raises(DeskProblem, match=r"^f:3: b\[0\]\.c: is odd$"), file.checking():
        raise FieldProblem("b[0].c", "is odd")
    with pytest.raises(DeskProblem, match=r"^f:1: is odd$"), file.checking():
        raise FieldProblem("", "is odd")


def test_an_empty_file_is_told_from_null() -> None:
    assert [yaml_file(text, "f", DeskProblem).empty for text in ("", "# a\n", "null", "{}")] == [
        True,
        True,
        False,
        False,
    ]


def test_json_that_is_no_yaml_has_no_line() -> None:
    file = json_file(b'{"a": 1, "a": 2}', "f", DeskProblem)  # YAML refuses a key that stands twice
    with pytest.raises(DeskProblem, match=r"^f: a: is odd$"), file.checking():
        raise FieldProblem("a", "is odd")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"{\n,", "f:2: is not JSON: "),
        (b'{"a": "\xff"}', "f: is not JSON in UTF-8"),
        (b"9" * 5000, "f: holds a number of too many digits"),
        (b"\n" + b"[" * 200_000, "f:2: is nested too deeply"),
    ],
)
def test_what_is_no_json_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(DeskProblem, match=why):
        json_file(raw, "f", DeskProblem)


def test_what_is_no_yaml_is_refused_with_its_line_and_field() -> None:
    with pytest.raises(DeskProblem, match=r"^f:2: a: stands here twice"):
        yaml_file("a: 1\na: 2\n", "f", DeskProblem)
