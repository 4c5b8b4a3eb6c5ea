"""How the commands print: tables and words for people, one JSON object for programs that ask for it."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from gateway.announcing import error_line

# What is printed is told as it is: `:b:` is no emoji, and words in brackets are no markup.
out = Console(emoji=False, markup=False)
err = Console(stderr=True, emoji=False, markup=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words, and so for an error.")]


def fail(message: str, code: int, *, as_json: bool) -> NoReturn:
    """End the command: 1 where it could not do its work, 2 where it was used wrongly."""
    if as_json:
        sys.stdout.write(error_line(message))
    else:
        err.print(f"patchbay: {message}", style="red", soft_wrap=True)
    raise typer.Exit(code)


def words_of(problem: Exception) -> str:
    """What is wrong, with the file where the system names one."""
    if isinstance(problem, OSError) and problem.filename:
        return f"{problem.filename}: {problem.strerror}"
    return str(problem)
