"""Reads a file that a person writes, in YAML or JSON, and adds the file and the line to each problem in it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audio.whole_file import MAX_TEXT_BYTES, read_whole
from gateway.config.names import shown_in_file
from gateway.config.section import FieldProblem
from gateway.config.yaml_lines import YamlFault, read_yaml
from sessions.ports import Json


class FileProblem(ValueError):
    """A file that a person has written cannot be used. Reads `FILE:LINE: FIELD: WHY`.

    `line` counts from 1 and is 0 where no line is at fault; `field` is the path of a value, and may be empty.
    """

    def __init__(self, file: Path | str, line: int, field: str, message: str) -> None:
        place = f"{file}:{line}" if line else str(file)
        super().__init__(f"{place}: {field}: {message}" if field else f"{place}: {message}")
        self.line = line
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class ValueFile:
    """The value of a file, with its name and its lines for error messages."""

    name: str
    value: Json
    # Gives the line of a field, from 1; 0 where it cannot be found.
    line_of: Callable[[str], int]
    problem: type[FileProblem]
    # Whether a YAML file holds nothing at all, not even a null.
    empty: bool = False

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Add the file and the line to a FieldProblem that is raised inside. Raises `problem`."""
        try:
            yield
        except FieldProblem as found:
            raise self.problem(self.name, self.line_of(found.field), found.field, found.message) from found


def read_file(path: Path, problem: type[FileProblem]) -> bytes:
    """The bytes of a file of at most 1 MiB. Raises `problem`."""
    raw = read_file_if_there(path, problem)
    if raw is None:
        raise problem(path, 0, "", f"cannot be read: {os.strerror(errno.ENOENT)}")
    return raw


def read_file_if_there(path: Path, problem: type[FileProblem]) -> bytes | None:
    """The bytes of a file of at most 1 MiB; None where there is no file. Raises `problem`."""
    try:
        return read_whole(path, MAX_TEXT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise problem(path, 0, "", f"cannot be read: {error.strerror}") from error


def decoded(raw: bytes, name: Path | str, problem: type[FileProblem]) -> str:
    """Decode UTF-8 text, with or without a byte order mark. Raises `problem`."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise problem(name, line, "", "is not UTF-8 text; save it as UTF-8") from error


def yaml_file(text: str, name: Path | str, problem: type[FileProblem]) -> ValueFile:
    """Read a YAML text. Raises `problem`."""
    try:
        document = read_yaml(text)
    except YamlFault as fault:
        raise problem(name, fault.line, shown_in_file(fault.field), fault.message) from None  # the cause has the field
    return ValueFile(str(name), document.value, document.line_of, problem, empty=not document.lines)


def json_file(raw: bytes, name: Path | str, problem: type[FileProblem]) -> ValueFile:
    """Read a JSON text. Raises `problem`."""
    try:
        value = json.loads(raw)
    except json.JSONDecodeError as error:
        raise problem(name, error.lineno, "", f"is not JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise problem(name, 0, "", "is not JSON in UTF-8; save it as UTF-8") from error
    except RecursionError as error:
        raise problem(name, _fault_line(raw), "", "is nested too deeply") from error
    except ValueError as error:  # Python reads no whole number of more than 4,300 digits
        raise problem(name, 0, "", "holds a number of too many digits") from error
    return ValueFile(str(name), value, lambda field: _line_in_json(raw, field), problem)


def _line_in_json(raw: bytes, field: str) -> int:
    # Python's JSON reader keeps no lines. Nearly all JSON is YAML too, and the YAML reader keeps them.
    try:
        return read_yaml(raw.decode("utf-8", "replace")).line_of(field)
    except YamlFault:
        return 0


def _fault_line(raw: bytes) -> int:
    try:
        read_yaml(raw.decode("utf-8", "replace"))
    except YamlFault as fault:
        return fault.line
    return 1
