"""Reads `.env`: the assignments in it, and what in it is none.

The lines are read as python-dotenv reads them. It passes over in silence what it cannot read, and keys that are passed
over leave the door open. So each such line is told here, by its number alone, since what stands in it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from audio.whole_file import MAX_TEXT_BYTES, read_whole

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")  # others' names may have dots and dashes
_OURS = re.compile(r"PATCHBAY_", re.IGNORECASE)
_OURS_WITHIN = re.compile(r"PATCHBAY_\w+\s*[=:]", re.IGNORECASE)
_ASSIGNED_WITHIN = re.compile(r"^\s*(export\s+)?[A-Z_][A-Z0-9_]*=", re.MULTILINE)

MAX_BLANKS = 200
# Where a value has more, python-dotenv looks for a comment behind each of them: minutes for some hundred thousand.
_BLANKS = re.compile(rf"[^\S\r\n]{{{MAX_BLANKS}}}")

_NO_ASSIGNMENT = "is no assignment; write NAME=value, close each quote, and begin a comment with #"


class EnvFileFault(ValueError):
    """The file cannot be read at all."""


@dataclass(frozen=True, slots=True)
class EnvLine:
    """One line of the file: an assignment, or, where `fault` is not empty, why it is none."""

    number: int
    name: str
    value: str
    fault: str = ""


def read_env_file(path: Path) -> list[EnvLine]:
    """The file's assignments and faults in order; none where there is no file. Raises EnvFileFault."""
    try:
        text = read_whole(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EnvFileFault("is not UTF-8 text; save it as such") from error
    except FileNotFoundError as error:
        if not path.is_symlink():
            return []
        raise EnvFileFault("is a link that leads nowhere; mend it, or take it away") from error
    except OSError as error:
        raise EnvFileFault(f"cannot be read: {error.strerror}") from error
    if "\0" in text:
        raise EnvFileFault("is not UTF-8 text, as it holds NUL; save it as such")
    blanks = _BLANKS.search(text)
    if blanks is not None:
        line = text.count("\n", 0, blanks.start()) + 1
        raise EnvFileFault(f"holds {MAX_BLANKS} blanks in a row in line {line}; take them out")
    return list(_lines(text.replace("\r\n", "\n").replace("\r", "\n")))


def _lines(text: str) -> Iterator[EnvLine]:
    for binding in parse_stream(StringIO(text, newline="\n")):
        written = binding.original.string
        blank = written[: len(written) - len(written.lstrip())]
        number = binding.original.line + blank.count("\n")
        if binding.error or binding.key is not None:
            yield EnvLine(number, binding.key or "", binding.value or "", _fault_of(binding))


def _fault_of(binding: Binding) -> str:
    if binding.error or binding.key is None or binding.value is None or not _NAME.fullmatch(binding.key):
        return _NO_ASSIGNMENT
    written = binding.original.string.strip()
    quoted = written.partition("=")[2].lstrip()[:1] in ("'", '"')
    spans = "\n" in written
    if (spans or not quoted) and _OURS_WITHIN.search(binding.value):
        return "holds a second assignment; give each a line of its own, and close each quote"
    if spans and _OURS.match(binding.key) and _ASSIGNED_WITHIN.search(binding.value):
        return "holds the lines that follow it; close its quote"
    return ""
