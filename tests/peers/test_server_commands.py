"""The other commands as programs: checking files, creating keys, serving a model by itself, and refused calls."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from peers.client_gateway import certificate
from peers.server_callers import Caller, run
from peers.server_files import AGENT, KEY, write_server_files
from peers.server_process import environment, serving
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from audio.formats import PCM16_24K
from audio.wav import write_wav
from gateway.models.scripted.sound import word

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


def as_json(done: tuple[int, str, str]) -> tuple[int, Any]:
    """Exit code and the single JSON object on standard output of a command."""
    code, out, err = done
    assert err == ""
    return code, json.loads(out)


def test_agents_are_checked(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    code, out, _ = patchbay(tmp_path, "agents", "check", "--json")
    assert (code, [agent["name"] for agent in json.loads(out)]) == (0, ["bulk", "desk", "locked"])
    (tmp_path / "agents" / "desk.yaml").write_text("model: scripted/scripts/desk.yaml\nlimits:\n  minutes: many\n")
    code, out, err = patchbay(tmp_path, "agents", "check")
    assert (code, out) == (1, "")
    fault = f"{tmp_path}/agents/desk.yaml:3: limits.minutes: must be a number from 0.1 to 1440"
    assert err == f"patchbay: {fault}\n"
    assert as_json(patchbay(tmp_path, "agents", "check", "--json")) == (1, {"error": {"message": fault}})


def test_agents_are_checked_against_the_existing_tools(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    (tmp_path / "agents" / "desk.yaml").write_text(AGENT.replace("  - function: hang_up\n", "  - mcp: nope\n"))
    code, _, err = patchbay(tmp_path, "agents", "check")
    assert code == 1
    assert "desk.yaml:7: tools[1].mcp: there is no MCP server 'nope' switched on in mcp.json" in err
    code, _, err = patchbay(tmp_path, "agents", "check", PATCHBAY_PLUGINS_DIR="nowhere")
    assert (code, err.startswith("patchbay: PATCHBAY_PLUGINS_DIR: there is no folder nowhere")) == (1, True)


def test_a_created_key_is_accepted_by_its_digest(tmp_path: Path) -> None:
    write_server_files(tmp_path)
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
            "patchbay: the gateway refused the call: This server requires an API key. (missing_api_key)\n",
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
    code, printed = as_json(patchbay(tmp_path, "call", "desk", "--url", server.url, "--text", "hello", "--json"))
    assert (code, "cannot be reached" in printed["error"]["message"]) == (1, True)


@contextmanager
def proxy(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that answers every request alike. Yields its address and the request lines it received."""
    asked: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                with client:
                    asked.append(client.recv(65536).partition(b"\r\n")[0])
                    client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}", asked
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_gateway_on_this_machine_is_called_without_the_environments_proxy(tmp_path: Path) -> None:
    with proxy(b"HTTP/1.1 403 Forbidden\r\n\r\n") as (place, asked), serving(tmp_path) as server:
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        proxies = dict.fromkeys(names, f"http://me:hush@{place}") | {"NO_PROXY": "", "no_proxy": ""}
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            code, out, err = patchbay(tmp_path, "call", "desk", "--url", url, "--text", "hello", **proxies)
            assert (code, "The marmalade is." in out, asked) == (0, True, []), err
        call = ("call", "desk", "--url", "http://voice.invalid", "--text", "hello")
        code, _, err = patchbay(tmp_path, *call, **proxies)
        assert (code, asked) == (1, [b"CONNECT voice.invalid:80 HTTP/1.1"])
        assert "hush" not in err
        assert err == (
            f"patchbay: the gateway at http://voice.invalid cannot be reached through the proxy http://{place}: "
            "proxy rejected connection: HTTP 403; the environment names this proxy (HTTPS_PROXY or similar); "
            "NO_PROXY can exempt the host\n"
        )
    for gone in (f"http://{place}", f"socks5h://{place}"):
        code, _, err = patchbay(tmp_path, *call, **dict.fromkeys(names, gone), NO_PROXY="", no_proxy="")
        assert (code, f"through the proxy {gone}: " in err) == (1, True)
    code, _, err = patchbay(tmp_path, *call, **dict.fromkeys(names, "proxy:3128"), NO_PROXY="", no_proxy="")
    assert (code, "cannot be used: scheme proxy isn't supported" in err) == (2, True)


def test_the_played_channel_of_a_recording_is_named(tmp_path: Path) -> None:
    speech = word(300, PCM16_24K)
    write_wav(tmp_path / "right.wav", PCM16_24K, [bytes(len(speech)), speech])
    printed = "right.wav: has sound only on channel 2 of 2 (right); that channel is used"
    with serving(tmp_path) as server:
        call = ("call", "desk", "right.wav", "--url", server.url)
        code, out, err = patchbay(tmp_path, *call)
        assert (code, out.splitlines()[0], err) == (0, printed, "")
        code, report = as_json(patchbay(tmp_path, *call, "--json"))
        assert (code, report["remarks"], report["turns"][0]["answer"]) == (0, [printed], "The marmalade is.")


def test_wrong_usage_is_reported_to_a_program_as_json(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    for arguments in (
        ["call"],
        ["call", "desk"],
        ["call", "desk", "--timeout", "soon"],
        ["call", "desk", "--text", "hello", "--timeout", "nan"],
        ["call", "desk", "--text", "hello", "--url", "ftp://x"],
        ["call", "desk", "--text", "hello", "--key", "ключ"],
        ["model"],
        ["model", "--script", "agents/scripts/desk.yaml", "--port", "70000"],
        ["serve", "--port", "x"],
        ["serve", "--port", "70000"],
    ):
        code, printed = as_json(patchbay(tmp_path, *arguments, "--json"))
        assert (code, list(printed), bool(printed["error"]["message"])) == (2, ["error"], True)
        assert "ключ" not in printed["error"]["message"]
    code, printed = as_json(patchbay(tmp_path, "serve", "--json", PATCHBAY_MAX_CALLS="0"))
    assert (code, printed) == (1, {"error": {"message": "PATCHBAY_MAX_CALLS: must be greater than or equal to 1"}})


def test_a_recording_that_cannot_be_saved_does_not_lose_the_table(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    with serving(tmp_path) as server:
        call = ("call", "desk", "--url", server.url, "--text", "hello")
        code, out, err = patchbay(tmp_path, *call, "--save", "nowhere/call.wav")
        assert (code, out) == (2, "")
        assert err.startswith("patchbay: --save nowhere/call.wav: there is no folder nowhere")
        assert server.figure("model_legs_opened_total") == 0
        code, out, err = patchbay(tmp_path, *call, "--save", "/dev/full")
        assert (code, "The marmalade is." in out) == (1, True)
        assert err.startswith("patchbay: the recording could not be saved: ")
        code, report = as_json(patchbay(tmp_path, *call, "--save", "/dev/full", "--json"))
        assert (code, report["turns"][0]["answer"], report["saved"]) == (1, "The marmalade is.", {})
        assert "could not be saved" in report["error"]["message"]


def test_the_command_that_a_server_prints_works_with_its_keys_and_its_certificate(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    cert, key = certificate(tmp_path)
    settings = {"PATCHBAY_API_KEYS": KEY, "PATCHBAY_TLS_CERT": str(cert), "PATCHBAY_TLS_KEY": str(key)}
    with started(tmp_path, "serve", **settings, PATCHBAY_HOST="0.0.0.0") as lines:
        printed = [next(lines) for _ in range(5)]
        assert printed[3] == "  try, in another terminal, with one of its keys in PATCHBAY_API_KEY:\n"
        program, *words = shlex.split(printed[4])
        assert program.endswith("patchbay")
        words[words.index("--text") :] = ["--text", "hello"]
        words[1] = "desk"
        code, out, err = patchbay(tmp_path, *words, PATCHBAY_API_KEY=KEY)
        assert (code, "The marmalade is." in out) == (0, True), err
        words.remove("--insecure")
        code, _, err = patchbay(tmp_path, *words, PATCHBAY_API_KEY=KEY)
        assert (code, "is not trusted: self-signed certificate; name its authority with --ca FILE" in err) == (1, True)
        assert patchbay(tmp_path, *words, "--ca", str(cert), PATCHBAY_API_KEY=KEY)[0] == 0


def test_a_server_prints_its_address_for_a_program(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    with started(tmp_path, "serve", "--json") as lines:
        ready = json.loads(next(lines))
        place = urlsplit(ready["url"]).netloc
        assert ready == {
            "url": f"http://{place}",
            "websocket_url": f"ws://{place}/v1/realtime",
            "agents": ["bulk", "desk", "locked"],
        }
        with urllib.request.urlopen(f"{ready['url']}/readyz", timeout=5) as answer:
            assert answer.status == 200


@contextmanager
def started(folder: Path, *arguments: str, **settings: str) -> Iterator[Iterator[str]]:
    """A command that serves until it is stopped, and then exits with 0. Yields the lines that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", *arguments],
        cwd=folder,
        env=environment(folder, settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield iter(process.stdout.readline, "")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


SCRIPTED = ("model", "--script", "agents/scripts/desk.yaml", "--port", "0")


@contextmanager
def model_alone(folder: Path, *arguments: str) -> Iterator[str]:
    """`patchbay model --script F`; yields its address, without a path."""
    write_server_files(folder)
    with started(folder, *SCRIPTED, *arguments) as lines:
        found = re.search(r"ws://127.0.0.1:\d+", next(lines))
        assert found is not None
        yield found[0]


def test_a_model_alone_answers_any_realtime_client(tmp_path: Path) -> None:
    async def main(url: str) -> None:
        async with connect(f"{url}/v1/realtime?model=desk", compression=None) as socket:
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

    with model_alone(tmp_path) as url:
        run(lambda: main(url))


@pytest.mark.openai_sdk
def test_a_model_alone_answers_the_openai_sdk(tmp_path: Path) -> None:
    openai = pytest.importorskip("openai", reason="pip install openai")

    async def main(url: str) -> None:
        client = openai.AsyncOpenAI(api_key="none", websocket_base_url=f"{url}/v1")
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

    with model_alone(tmp_path) as url:
        run(lambda: main(url))


def test_a_model_alone_refuses_foreign_pages_and_with_keys_clients_without_one(tmp_path: Path) -> None:
    async def status(url: str, **headers: str) -> int:
        try:
            async with connect(f"{url}/v1/realtime?model=desk", compression=None, additional_headers=headers) as socket:
                await Caller(socket).until("session.created")
        except InvalidStatus as refused:
            return refused.response.status_code
        return 101

    async def without_keys(url: str) -> None:
        assert await status(url) == 101
        assert await status(url, Origin="https://evil.example") == 403

    async def with_keys(url: str) -> None:
        assert await status(url) == 401
        assert await status(url, Authorization=f"Bearer {KEY}") == 101

    with model_alone(tmp_path) as url:
        run(lambda: without_keys(url))
    with started(tmp_path, *SCRIPTED, "--json", "--host", "0.0.0.0", "--key", KEY) as lines:
        ready = json.loads(next(lines))
        assert ready["agents"] == []
        run(lambda: with_keys(ready["websocket_url"].removesuffix("/v1/realtime")))


def test_a_model_alone_that_cannot_start_says_so(tmp_path: Path) -> None:
    write_server_files(tmp_path)
    assert patchbay(tmp_path, "model")[0] == 2
    assert patchbay(tmp_path, "model", "--script", "no.yaml") == (
        1,
        "",
        "patchbay: no.yaml: No such file or directory\n",
    )
    code, printed = as_json(patchbay(tmp_path, *SCRIPTED, "--host", "0.0.0.0", "--json"))
    assert (code, printed["error"]["message"].startswith("--host: without API keys")) == (1, True)
