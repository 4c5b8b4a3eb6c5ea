"""The sweep's gateway: its folder, the fakes around it, and the real `patchbay serve`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from peers import hostile_files, hostile_functions, hostile_mcp, hostile_stdio
from peers.client_gateway import certificate
from peers.hostile_endpoints import EndpointsFake
from peers.hostile_mcp import HttpFake
from peers.hostile_model import ModelFake
from peers.hostile_model_cases import KINDS as MODELS
from peers.hostile_table import World
from peers.server_callers import calling
from peers.server_process import Server, start, stop

WARM_S = 40.0
HERE = Path(__file__).resolve().parent

STEADY = "model: steady\npace: real\npiece_ms: 20\nturns:\n  - {when: {text: speak}, say: WORDS}\n"
PLAIN = """
model: plain
turns:
  - {when: {text: ping}, repeat: true, say: Pong.}
otherwise: {say: "Pardon?"}
"""
LOCAL = """
model: local/offline
instructions: Be kind.
offline:
  rules:
    - {name: hours, phrases: [when are you open], say: From noon to ten.}
"""


def tool_script(names: Iterable[str]) -> str:
    """A script that calls a tool when a caller says `do NAME;`, and then says that it has."""
    turns = ["  - {when: {text: ping}, repeat: true, say: Pong.}"]
    for name in names:
        turns.append(f"  - {{when: {{text: 'do {name};'}}, repeat: true, calls: [{{name: {name}, arguments: {{}}}}]}}")
        turns.append(f"  - {{when: {{tool: {name}}}, repeat: true, say: Told.}}")
    return "\n".join(["model: tools", "turns:", *turns, "otherwise: {say: 'Pardon?'}", ""])


def write_files(folder: Path, http_port: int) -> None:
    """Write the agents, their scripts, the plugin and mcp.json."""
    agents, scripts = folder / "agents", folder / "agents" / "scripts"
    scripts.mkdir(parents=True)
    (folder / "plugins").mkdir()
    (folder / "plugins" / "hostile.py").write_text(hostile_functions.PLUGIN)
    functions = "".join(
        f"  - {{function: {name}, deadline_s: {hostile_functions.DEADLINE_S}}}\n" for name in hostile_functions.NAMES
    )
    tools = {"functions": functions, "steady": "", "plain": ""}
    for agent, servers in (("stdio", hostile_stdio.SERVERS), ("http", hostile_mcp.SERVERS)):
        tools[agent] = "".join(f"  - {{mcp: {name}, deadline_s: {hostile_mcp.DEADLINE_S}}}\n" for name in servers)
    for agent, granted in tools.items():
        head = f"model: scripted/scripts/{agent}.yaml\ninstructions: None.\n"
        recording = "recording: on\nreplay: full\n" if agent in ("plain", "steady") else ""
        (agents / f"{agent}.yaml").write_text(head + recording + (f"tools:\n{granted}" if granted else ""))
    (agents / "local.yaml").write_text(LOCAL)
    for number in range(len(MODELS)):
        (agents / f"model-{number}.yaml").write_text(f"model: openai/kind-{number}\ninstructions: None.\n")
    (scripts / "steady.yaml").write_text(STEADY.replace("WORDS", "word " * 1500))
    (scripts / "plain.yaml").write_text(PLAIN)
    (scripts / "functions.yaml").write_text(tool_script(hostile_functions.NAMES))
    (scripts / "stdio.yaml").write_text(tool_script(hostile_stdio.TOOLS))
    (scripts / "http.yaml").write_text(tool_script(hostile_mcp.TOOLS))
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": _servers(http_port)}))
    hostile_files.write_agents(folder)


def _servers(http_port: int) -> dict[str, object]:
    program = str(HERE / "hostile_stdio.py")
    return {name: {"command": sys.executable, "args": ["-S", program, name]} for name in hostile_stdio.SERVERS} | {
        name: {"url": f"http://127.0.0.1:{http_port}/mcp/{name}"} for name in hostile_mcp.SERVERS
    }


@asynccontextmanager
async def hostile_world(folder: Path) -> AsyncIterator[World]:
    """The gateway with its fakes. On exit, all of them have ended."""
    cert, key = certificate(folder)
    http, endpoints, model = HttpFake(), EndpointsFake(), ModelFake(list(MODELS.values()), cert, key)
    await http.wire.start()
    await endpoints.wire.start()
    await model.start()
    write_files(folder, http.wire.port)
    part = {"BASE_URL": f"http://127.0.0.1:{endpoints.wire.port}/v1", "MODEL": "m"}
    local = {f"PATCHBAY_LOCAL__{name}__{key}": value for name in ("CHAT", "TRANSCRIPTION", "SPEECH")
             for key, value in part.items()}  # fmt: skip
    server = start(
        folder,
        OPENAI_API_KEY="sk-of-no-worth",
        OPENAI_BASE_URL=f"wss://127.0.0.1:{model.port}/v1",
        PATCHBAY_MODEL_CA=str(cert),
        **local,
    )
    try:
        await _warmed(server)
        yield World(server, folder, endpoints)
    finally:
        stop(server)
        await model.stop()
        await endpoints.wire.stop()
        await http.wire.stop()


async def _warmed(server: Server) -> None:
    """Wait with a first call until the tool servers have been tried, some of which never answer."""
    async with asyncio.timeout(WARM_S):
        while True:
            try:
                async with calling(server, "plain"):
                    return
            except (TimeoutError, OSError):
                continue


class Healthy:
    """The two programs of the healthy call."""

    def __init__(self, server: Server, out: Path) -> None:
        program = str(HERE / "hostile_healthy.py")
        self._out = out
        self._echo = subprocess.Popen([sys.executable, program, "echo"], stdout=subprocess.PIPE, text=True)
        assert self._echo.stdout is not None
        echo_port = self._echo.stdout.readline().strip()
        given = [str(server.port), echo_port, str(server.process.pid), str(out)]
        self._call = subprocess.Popen([sys.executable, program, *given])

    def end(self) -> dict[str, object]:
        """Hang up. Returns what was observed."""
        self._call.terminate()
        self._call.wait(10)
        self.close()
        found: dict[str, object] = json.loads(self._out.read_text())
        return found

    def close(self) -> None:
        """Make sure that both have ended."""
        for program in (self._call, self._echo):
            if program.poll() is None:
                program.kill()
            program.wait(5)
        if self._echo.stdout is not None:
            self._echo.stdout.close()
