"""The other commands as programs: checking files, making keys, a model alone, and calls that are refused."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from peers.server_callers import Caller, run
from peers.server_files import KEY, furnish
from peers.server_house import ROOT, Server, environment, serving
from websockets.asyncio.client import connect

pytestmark = pytest.mark.sockets


def patchbay(folder: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", *arguments],
        cwd=folder,
        env=environment(folder, settings),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_agents_are_checked(tmp_path: Path) -> None:
    furnish(tmp_path)
    code, out, _ = patchbay(tmp_path, "agents", "check", "--json")
    assert (code, [agent["name"] for agent in json.loads(out)]) == (0, ["bulk", "desk", "locked"])
    (tmp_path / "agents" / "desk.yaml").write_text("model: scripted/scripts/desk.yaml\nlimits:\n  minutes: many\n")
    code, out, err = patchbay(tmp_path, "agents", "check")
    assert (code, out) == (1, "")
    assert err == f"patchbay: {tmp_path}/agents/desk.yaml:3: limits.minutes: must be a number from 0.1 to 1440\n"


def test_a_made_key_opens_the_door_by_its_digest(tmp_path: Path) -> None:
    furnish(tmp_path)
    code, out, _ = patchbay(tmp_path, "keys", "create", "--tenant", "shop")
    key, entry = re.findall(r": +(\S+)\n", out)
    assert (code, entry.startswith("shop:sha256:")) == (0, True)
    assert patchbay(tmp_path, "keys", "create", "--tenant", "The Shop")[0] == 2
    with serving(tmp_path, PATCHBAY_API_KEYS=entry) as server:
        assert server.ask("/api/v1/agents", headers={"Authorization": f"Bearer {key}"})[0] == 200
        assert server.ask("/api/v1/agents", headers={"Authorization": f"Bearer {entry}"})[0] == 401


def test_a_call_that_is_refused_says_why(tmp_path: Path) -> None:
    with serving(tmp_path, PATCHBAY_API_KEYS=KEY) as server:

        def call(agent: str, *more: str) -> tuple[int, str]:
            code, out, err = patchbay(tmp_path, "call", agent, "--url", server.url, "--text", "hello", *more)
            assert out == ""
            return code, err

        assert call("desk") == (
            1,
            "patchbay: the gateway refused the call: This server asks for an API key. (missing_api_key)\n",
        )
        assert call("desk", "--key", "other")[1].endswith("(invalid_api_key)\n")
        assert call("nobody", "--key", KEY)[1].endswith("(model_not_found)\n")
        code, err = call("locked", "--key", KEY)
        assert code == 1
        assert err.endswith("The agent cannot be called: OPENAI_API_KEY is not set. (agent_unavailable)\n")
        assert server.figure("model_legs_opened_total") == 0
    code, _, err = patchbay(tmp_path, "call", "desk", "--url", server.url, "--text", "hello")
    assert (code, f"the gateway at {server.url} cannot be reached" in err) == (1, True)
    assert patchbay(tmp_path, "call", "desk", "--url", server.url)[0] == 2


@contextmanager
def model_alone(folder: Path) -> Iterator[Server]:
    """`patchbay model --script F`."""
    furnish(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "model", "--script", "agents/scripts/desk.yaml", "--port", "0"],
        cwd=folder,
        env=environment(folder, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        found = re.search(r"ws://127.0.0.1:\d+", process.stdout.readline())
        assert found is not None, process.stderr.read()
        yield Server(folder, process, found[0])
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_a_model_alone_answers_any_realtime_client(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        async with connect(f"{server.url}/v1/realtime?model=desk", compression=None) as socket:
            caller = Caller(socket)
            await caller.until("session.created")
            assert (await caller.turn("ping"))["response"]["status"] == "completed"
            for _ in range(9):
                await socket.send("{")
                await caller.problem()
            await caller.turn("ping")
            for _ in range(10):
                await socket.send("{")
            assert await caller.close_code() == 1008

    with model_alone(tmp_path) as server:
        run(lambda: main(server))


@pytest.mark.openai_sdk
def test_a_model_alone_answers_the_openai_sdk(tmp_path: Path) -> None:
    openai = pytest.importorskip("openai", reason="pip install openai")

    async def main(server: Server) -> None:
        client = openai.AsyncOpenAI(api_key="none", websocket_base_url=f"{server.url}/v1")
        async with client.realtime.connect(model="desk") as connection:
            content = [{"type": "input_text", "text": "ping"}]
            await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
            await connection.response.create()
            said = ""
            async for event in connection:
                if event.type == "response.output_audio_transcript.delta":
                    said += event.delta
                if event.type == "response.done":
                    break
            assert said == "Marmalade for you."
        await client.close()

    with model_alone(tmp_path) as server:
        run(lambda: main(server))


def test_a_model_alone_that_cannot_start_says_so(tmp_path: Path) -> None:
    furnish(tmp_path)
    assert patchbay(tmp_path, "model")[0] == 2
    assert patchbay(tmp_path, "model", "--script", "no.yaml") == (
        1,
        "",
        "patchbay: no.yaml: No such file or directory\n",
    )
    assert ROOT
