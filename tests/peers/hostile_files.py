"""Agents' files, scripts and recordings that are damaged while the server runs: new calls use the last good version."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from peers.hostile_calls import converse, look_up, note
from peers.hostile_endpoint_kinds import wav
from peers.hostile_table import Case, Provoke, Says, Seen, World
from peers.server_callers import calling

AGENT = "model: scripted/scripts/NAME.yaml\ninstructions: None.\n"
SCRIPT = """
model: files
turns:
  - {when: {text: ping}, repeat: true, say: Pong., audio: NAME.wav}
otherwise: {say: "Pardon?"}
"""
# A valid script in which one character, which cannot be sent, becomes another.
HALF_AN_EMOJI = b'turns: [{when: {text: ping}, repeat: true, say: Pong.}]\notherwise: {say: "\\ud83d"}\n'
LOOKED_S = 2.5  # the files are checked once a second

Spoil = Callable[[Path], None]


def _bytes(content: bytes) -> Spoil:
    def spoil(path: Path) -> None:
        path.write_bytes(content)

    return spoil


def _instead(make: Callable[[Path], None]) -> Spoil:
    """Put something else in place of the file."""

    def spoil(path: Path) -> None:
        path.unlink()
        make(path)

    return spoil


def _grow(path: Path) -> None:
    """Let the file grow to 2 GB, without using disk space."""
    os.truncate(path, 2 << 30)


def _unlink(path: Path) -> None:
    path.unlink()


def _chain(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path.name)


def _half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


# What a file can become. None of it may be read without a bound, or waited for.
ANY: dict[str, Spoil] = {
    "deleted": _unlink,
    "empty": _bytes(b""),
    "no UTF-8": _bytes(b"\xff\xfe\x00model: x"),
    "random bytes": _bytes(bytes(range(256)) * 200),
    "NUL bytes": _bytes(bytes(5000)),
    "a folder": _instead(lambda path: path.mkdir()),
    "a link in a loop": _instead(_chain),
    "a link to nothing": _instead(lambda path: path.symlink_to("nowhere")),
    "a link to a folder": _instead(lambda path: path.symlink_to(path.parent)),
    "a link to /dev/null": _instead(lambda path: path.symlink_to("/dev/null")),
    "a pipe": _instead(os.mkfifo),
    "2 GB of nothing": _grow,
    "cut in half": _half,
}
YAML: dict[str, Spoil] = {
    "null": _bytes(b"null\n"),
    "a list": _bytes(b"[1, 2]\n"),
    "a number": _bytes(b"7\n"),
    "a text": _bytes(b"model\n"),
    "half an emoji": _bytes(b'model: "\\ud83d"\n'),
    "1000 lists deep": _bytes(b"a: " + b"[" * 1000 + b"]" * 1000),
    "100000 lists deep": _bytes(b"a: " + b"[" * 100_000),
    "a key twice": _bytes(b"model: a\nmodel: b\n"),
    "doubling anchors": _bytes(
        b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (n + 1, n + 1, n, n) for n in range(97, 121))
    ),
    "a Python object": _bytes(b"model: !!python/object/apply:sys.exit [3]\n"),
    "a number of 100000 digits": _bytes(b"model: " + b"9" * 100_000),
    "3 MB in 300000 parts": _bytes(b"model: x\nturns: [" + b"{say: a}, " * 300_000 + b"]\n"),
    "fields that are no text": _bytes(b"model: 7\nturns: 7\nname: []\ntools: {a: [null]}\ninstructions: {}\n"),
}
WAV: dict[str, Spoil] = {
    "HTML": _bytes(b"<html>"),
    "a head alone": lambda path: path.write_bytes(path.read_bytes()[:44]) and None,
    "rate 0": lambda path: path.write_bytes(path.read_bytes()[:24] + bytes(8) + path.read_bytes()[32:]) and None,
    "no channels": lambda path: path.write_bytes(path.read_bytes()[:22] + bytes(2) + path.read_bytes()[24:]) and None,
    "a size of 4 GB": lambda path: (
        path.write_bytes(path.read_bytes()[:40] + b"\xff" * 4 + path.read_bytes()[44:]) and None
    ),
}

TARGETS: dict[str, dict[str, Spoil]] = {
    "agent's file": {**ANY, **YAML, "a date that is none": _bytes(b"model: 2026-99-99\n")},
    "script": {**ANY, **YAML, "half an emoji": _bytes(HALF_AN_EMOJI)},
    "script's sound": {**ANY, **WAV},
}
# The agent's name: which of its files is damaged, and how.
FILES = {
    f"file-{number}": (target, kind)
    for number, (target, kind) in enumerate((target, kind) for target, kinds in TARGETS.items() for kind in kinds)
}


def _path(folder: Path, name: str, target: str) -> Path:
    agents = folder / "agents"
    return {
        "agent's file": agents / f"{name}.yaml",
        "script": agents / "scripts" / f"{name}.yaml",
        "script's sound": agents / "scripts" / f"{name}.wav",
    }[target]


def write_agents(folder: Path) -> None:
    """Write all agents, with a script and a recording each."""
    sound = wav(24_000)
    for name in FILES:
        _path(folder, name, "agent's file").write_text(AGENT.replace("NAME", name))
        _path(folder, name, "script").write_text(SCRIPT.replace("NAME", name))
        _path(folder, name, "script's sound").write_bytes(sound)


def _spoilt(name: str, target: str, spoil: Spoil) -> Provoke:
    """One call, then the file is damaged, then a call with the same result."""

    async def provoke(world: World, case: Case) -> Seen:
        async with calling(world.server, name) as caller:
            assert await converse(caller, "ping", 10)
        path = _path(world.folder, name, target)
        await asyncio.to_thread(spoil, path)
        if target == "script's sound":  # read again together with its script
            os.utime(_path(world.folder, name, "script"))
        await asyncio.sleep(LOOKED_S)
        seen = Seen()
        try:
            async with calling(world.server, name) as caller:
                seen.session_id = caller.session_id
                seen.answered_again = await converse(caller, "ping", 10)
                note(seen, caller)
        finally:
            _take_away(path)
        return await look_up(world, seen)

    return provoke


def _take_away(path: Path) -> None:
    """Remove it, so that no later test waits for it or reads 2 GB of it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


CASES = [
    Case(target, kind, _spoilt(name, target, TARGETS[target][kind]), Says(said="Pong.", status=("completed",)))
    for name, (target, kind) in FILES.items()
]
