"""How the commands print: tables and text for people, one JSON object for programs."""

from __future__ import annotations

import os
import select
import sys
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from gateway.cli.announce import error_line

# Print text unchanged: `:b:` is not an emoji, and words in brackets are not markup.
out = Console(emoji=False, markup=False)
err = Console(stderr=True, emoji=False, markup=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text, also for an error.")]


def fail(message: str, code: int, *, as_json: bool) -> NoReturn:
    """End the command: code 1 where it failed, 2 where it was used wrongly."""
    if as_json:
        sys.stdout.write(error_line(message))
    else:
        err.print(f"patchbay: {message}", style="red", soft_wrap=True)
    raise typer.Exit(code)


class UsedWrongly(ValueError):
    """An option has an unusable value; the message names the option."""


class OutputLost(Exception):
    """Standard output does not take a line; `closed` tells whether nobody reads it any more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"a line could not be printed: {error.strerror}")
        self.closed = isinstance(error, ConnectionError)  # a broken pipe is one


def write_line(text: str) -> None:
    """Write one line to standard output at once. Raises OutputLost; nothing can be printed after that."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # otherwise Python tries once more when it ends, and fails
        os.close(nowhere)
        raise OutputLost(error) from error


def output_closed() -> bool:
    """Whether nobody reads standard output any more, where the system can tell: of a pipe, a socket or a terminal."""
    if sys.platform == "win32":
        return False
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))
    except (OSError, ValueError):  # it is not a file
        return False


def words_of(problem: Exception) -> str:
    """The error's message, with the file name where the system gives one."""
    if isinstance(problem, OSError) and problem.filename:
        return f"{problem.filename}: {problem.strerror}"
    return str(problem)
