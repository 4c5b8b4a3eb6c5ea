"""A server whose figures are looked at, and callers who bring about what they count."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from peers.demo_desk import run_call
from peers.server_callers import Caller, calling, refused
from peers.server_files import KEY
from peers.server_process import ROOT, Server, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus

from audio.formats import PCM16_24K
from gateway.models.scripted.sound import word

MAX_CALLS = 14
TALKERS = 8
QUICK_MS, SLOW_MS = 50, 2500

AGENTS = {
    "desk": "model: scripted/scripts/desk.yaml\nrecording: on\n"
    "tools:\n  - function: look_up\n  - function: fall_over\n  - mcp: bookings\n  - mcp: gone\n",
    "talker": "model: scripted/scripts/talker.yaml\n",
    "flaky": "model: scripted/scripts/flaky.yaml\n",
    "shut": "model: scripted/scripts/shut.yaml\n",
    "phone": "model: scripted/scripts/phone.yaml\ngreeting: Hello there.\n",
}
DESK = """
ms_per_word: 150
usage: {input_text: 40, input_audio: 400, input_cached: 60, output_text: 20, output_audio: 200}
turns:
  - {when: {text: ping}, repeat: true, say: Here I am.}
  - {when: {text: number}, repeat: true, calls: [{name: look_up, arguments: {name: somebody}}]}
  - {when: {text: fall}, repeat: true, calls: [{name: fall_over, arguments: {}}]}
  - {when: {tool: look_up}, repeat: true, say: It is marmalade.}
  - {when: {tool: fall_over}, repeat: true, say: That did not work.}
  - {when: {text: trouble}, repeat: true, say: Well., fault: {error: {code: server_error, message: No.}}}
  - {when: {text: failing}, repeat: true, say: Well., fault: {fail: {code: server_error, message: No.}}}
  - {when: {text: story}, repeat: true, pace: real,
     say: Once upon a time somebody lived by the sea and played all day and all night and all year.}
  - {when: {spoken: true}, repeat: true, hears: Stop it., say: I have stopped.}
otherwise: {say: "Pardon?"}
"""
TALKER = "ms_per_word: 150\nafter_ms: {}\nturns: []\notherwise: {{say: So I hear.}}\n"
FLAKY = """
turns:
  - {when: {text: ping, attempt: 0}, say: I am about to be cut off in this answer, fault: {drop: 300}}
otherwise: {say: Here again.}
"""
SHUT = "refuse: [503, 503, 503, 503, 503, 503]\nturns: []\n"
PHONE = """
pace: real
ms_per_word: 150
voice_gate: 300
turns: []
otherwise: {hears: Something., say: I have heard you well and shall go on about it for some time., after_ms: 100}
"""
PLUGIN = '''
from patchbay import tool


@tool
def look_up(name: str) -> str:
    """Look somebody up."""
    return f"marmalade at {name}"


@tool
def fall_over() -> str:
    """Fail."""
    raise RuntimeError("fell over")
'''
SETTINGS = """\
public_url: https://voice.example
numbers: {"*": phone}
audiosocket_port: PORT
carriers:
  asterisk: {}
  twilio:
    account_sid: AC00000000000000000000000000000000
    auth_token: made-up-token-for-a-trial
"""
# In this process models cost nothing; here they have the prices of others.
PRICES = """\
version: observed
models:
  - provider: scripted
    model: "*"
    text: {input: 4, cached: 0.40, output: 16}
    audio: {input: 32, cached: 0.40, output: 64}
    source: made up
    date: 2026-12-01
"""


def set_pace(server: Server, after_ms: int) -> None:
    """Let the talkers' model take this long for an answer, in calls that begin in a second or later."""
    script = server.folder / "agents" / "scripts" / "talker.yaml"
    new = script.with_suffix(".new")
    new.write_text(TALKER.format(after_ms))
    new.replace(script)


@contextmanager
def observed_server(folder: Path) -> Iterator[Server]:
    """The server: two tool servers, one of which cannot be started, and agents that bring about every kind of end."""
    (folder / "agents" / "scripts").mkdir(parents=True)
    (folder / "plugins").mkdir()
    for name, text in AGENTS.items():
        (folder / "agents" / f"{name}.yaml").write_text(text)
    scripts = {"desk": DESK, "talker": TALKER.format(QUICK_MS), "flaky": FLAKY, "shut": SHUT, "phone": PHONE}
    for name, text in scripts.items():
        (folder / "agents" / "scripts" / f"{name}.yaml").write_text(text)
    (folder / "plugins" / "observed.py").write_text(PLUGIN)
    with socket.create_server(("127.0.0.1", 0)) as free:
        (folder / "patchbay.yaml").write_text(SETTINGS.replace("PORT", str(free.getsockname()[1])))
    (folder / "prices.yaml").write_text(PRICES)
    bookings = {"BOOKINGS_DB": str(folder / "bookings.db"), "PYTHONPATH": str(ROOT)}
    servers = {
        "bookings": {"command": sys.executable, "args": ["-m", "mcp_servers.bookings"], "env": bookings},
        "gone": {"command": sys.executable, "args": ["-c", "raise SystemExit(1)"]},
    }
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    settings = {"PATCHBAY_API_KEYS": KEY, "PATCHBAY_MAX_CALLS": str(MAX_CALLS), "PATCHBAY_PRICES": "prices.yaml"}
    with serving(folder, module="peers.breaking_server", **settings) as server:
        yield server


async def interrupt(caller: Caller) -> None:
    """Let the agent tell a story, and speak over it."""
    await caller.say("story")
    await caller.until("response.output_audio.delta")
    voice = word(250, PCM16_24K) * 3 + bytes(48_000)
    for at in range(0, len(voice), 960):
        await caller.sound(voice[at : at + 960])
        await asyncio.sleep(0.018)
    await caller.until("response.done")


async def odd_calls(server: Server) -> None:
    """One round of everything that is not an ordinary turn."""
    async with calling(server, "desk") as caller:
        for text in ("ping", "number", "fall", "trouble", "failing"):
            await caller.turn(text)
            await asyncio.sleep(0.2)
        await interrupt(caller)
    with suppress(ConnectionClosed):
        async with calling(server, "desk") as caller:
            await caller.turn("break")
    with suppress(ConnectionClosed, InvalidStatus, TimeoutError):
        async with calling(server, "flaky") as caller:
            await caller.turn("ping")
            await caller.turn("again")
    with suppress(ConnectionClosed, InvalidStatus, TimeoutError):
        async with calling(server, "shut") as caller:
            await caller.close_code()


async def crowd(server: Server) -> None:
    """Come with more callers than the server carries, until one is refused."""
    async with asyncio.TaskGroup() as group:
        full = asyncio.Event()

        async def one() -> None:
            with suppress(InvalidStatus):
                async with calling(server, "desk"):
                    await full.wait()

        for _ in range(MAX_CALLS):
            group.create_task(one())
        while True:
            await asyncio.sleep(0.1)
            with suppress(AssertionError):
                assert (await refused(server))[1]["code"] == "server_full"
                break
        full.set()


async def talk(server: Server, over: asyncio.Event, after_s: float) -> None:
    """Ordinary calls of three turns, one after the other, until it is over. A full server is asked again.

    Talkers begin at different times: if all of them had their slow answers at once, none would end in some seconds.
    """
    await asyncio.sleep(after_s)
    while not over.is_set():
        try:
            async with calling(server, "talker") as caller:
                for _ in range(3):
                    await caller.turn("Well?")
                    await asyncio.sleep(0.3)
        except InvalidStatus:
            await asyncio.sleep(0.5)


def telephone_call(server: Server, carrier: str) -> str:
    """One interrupted call as this carrier makes it; returns what went wrong, if anything did."""
    words = ("--text", "hello", "--text", "stop it please", "--barge-in", "2:600")
    options = ("--as", carrier, "--key", KEY)
    done = run_call(server, "phone", *options, *words, save=server.folder / f"{carrier}.wav")
    return "" if done.returncode == 0 else done.stdout + done.stderr
