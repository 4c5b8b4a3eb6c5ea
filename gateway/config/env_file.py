"""Reads the assignments in `.env`, and finds the lines that are no assignments.

python-dotenv parses the lines. It ignores a line that it cannot read, and a server whose API keys are ignored is open
to everyone. So this module reports each such line, by its number only, since the line may hold a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from audio.whole_file import MAX_TEXT_BYTES, read_whole

# Names of other programs may have dots and dashes.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_OURS = re.compile(r"PATCHBAY_", re.IGNORECASE)
_OURS_WITHIN = re.compile(r"PATCHBAY_\w+\s*[=:]", re.IGNORECASE)
_ASSIGNED_WITHIN = re.compile(r"^\s*(export\s+)?[A-Z_][A-Z0-9_]*=", re.MULTILINE)

# python-dotenv looks for a comment after each blank of a value, which takes minutes for some hundred thousand blanks.
MAX_BLANKS = 200
_BLANKS = re.compile(rf"[^\S\r\n]{{{MAX_BLANKS}}}")

_NO_ASSIGNMENT = "is no assignment; write NAME=value, close each quote, and begin a comment with #"


class EnvFileFault(ValueError):
    """The file cannot be read at all."""


@dataclass(frozen=True, slots=True)
class EnvLine:
    """One line of the file: an assignment, or, where `fault` is not empty, the reason why it is none."""

    number: int
    name: str
    value: str
    fault: str = ""


def read_env_file(path: Path) -> list[EnvLine]:
    """The file's assignments and mistakes, in order; none where there is no file. Raises EnvFileFault."""
    try:
        text = read_whole(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EnvFileFault("is not UTF-8 text; save it as UTF-8") from error
    except FileNotFoundError as error:
        if not path.is_symlink():
            return []
        raise EnvFileFault("is a link that leads nowhere; repair it, or remove it") from error
    except OSError as error:
        raise EnvFileFault(f"cannot be read: {error.strerror}") from error
    if "\0" in text:
        raise EnvFileFault("is not UTF-8 text, since it holds NUL; save it as UTF-8")
    blanks = _BLANKS.search(text)
    if blanks is not None:
        line = text.count("\n", 0, blanks.start()) + 1
        raise EnvFileFault(f"holds {MAX_BLANKS} blanks in a row in line {line}; remove them")
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
