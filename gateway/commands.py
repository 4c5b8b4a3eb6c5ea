"""Every command of `patchbay` but `serve`: being a caller, serving a model alone, checking files, making keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import typer
from rich.console import Console
from rich.table import Table

from gateway.auth.keys import create_key, read_keys
from gateway.clock import SystemClock
from gateway.ids import RandomIds
from gateway.settings import load_settings
from sessions.errors import VoiceError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Patchbay, a gateway for voice agents.")
agents_app = typer.Typer(no_args_is_help=True, help="Agents' files.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(agents_app, name="agents")
app.add_typer(keys_app, name="keys")
out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


@app.command(context_settings={"ignore_unknown_options": True})
def serve() -> None:
    """Run the gateway. (`patchbay serve --help` tells its options.)"""
    from gateway.serving import serve as run

    raise typer.Exit(run([]))


@app.command()
def call(
    agent: Annotated[str, typer.Argument(help="The agent to call.")],
    turns: Annotated[list[str] | None, typer.Argument(help="Recordings (WAV), or text:WORDS, one a turn.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="A turn spoken by espeak-ng, after the recordings.")] = None,
    barge_in: Annotated[
        list[str] | None, typer.Option(help="TURN:MS: start that turn so long after the agent became audible.")
    ] = None,
    url: Annotated[str, typer.Option(help="The gateway.", envvar="PATCHBAY_URL")] = "http://127.0.0.1:8080",
    key: Annotated[str | None, typer.Option(help="An API key.", envvar="PATCHBAY_API_KEY")] = None,
    save: Annotated[Path, typer.Option(help="Where the stereo recording goes (caller left, agent right).")] = Path(
        "call.wav"
    ),
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Be a caller: play recordings to an agent in real time, save both sides, and print the turn table."""
    from websockets.exceptions import InvalidStatus, WebSocketException

    from gateway.phone.line import LineOptions, PhoneCall
    from gateway.phone.plan import PlanError, read_plan
    from gateway.phone.report import CallReport

    tell: Callable[[str], None] = (lambda line: None) if as_json else (lambda line: out.print(line, markup=False))
    try:
        plan = read_plan(turns or [], text or [], barge_in or [], _speak)
        phone = PhoneCall(plan, agent, SystemClock(), tell)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        report: CallReport = asyncio.run(phone.run(LineOptions(_realtime_url(url, agent), headers, timeout)))
    except PlanError as problem:
        _fail(str(problem), 2)
    except InvalidStatus as refused:
        _fail(f"the gateway refused the call: {_reason(refused)}", 1)
    except (OSError, WebSocketException, TimeoutError) as problem:
        _fail(f"the gateway at {url} cannot be reached: {problem}", 1)
    _save(phone, save, report)
    if as_json:
        out.print_json(json.dumps(report.as_json()))
    else:
        out.print(_table(report))
        out.print(f"session {report.session_id}, ended: {report.ended}; both sides saved in {save}", markup=False)
    raise typer.Exit(1 if report.failed else 0)


@app.command()
def model(
    script: Annotated[Path | None, typer.Option(help="A YAML script to follow.")] = None,
    local: Annotated[bool, typer.Option("--local", help="The embedded offline model.")] = False,
    agent: Annotated[str, typer.Option(help="Whose dialogue the embedded model follows.")] = "front-desk",
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8090,
) -> None:
    """Serve a model alone, over the Realtime protocol, for anybody's tests."""
    from gateway.model_server import serve_model

    if (script is None) == (not local):
        _fail("name either --script FILE or --local", 2)
    try:
        serve_model(load_settings(), script=script, agent=agent if local else None, host=host, port=port)
    except (ValueError, VoiceError, OSError) as problem:
        _fail(_words(problem), 1)


@agents_app.command("check")
def agents_check(as_json: AsJson = False) -> None:
    """Read every agent's file, and say what is wrong with it."""
    from gateway.agents import AgentBook
    from gateway.models.registry import ModelRegistry

    try:
        settings = load_settings()
        clock = SystemClock()
        registry = ModelRegistry(settings, clock, RandomIds())
        agents = AgentBook(settings.agents_dir, registry.check, clock).all()
    except (ValueError, VoiceError) as problem:
        _fail(str(problem), 1)
    if as_json:
        out.print_json(
            json.dumps([{"name": one.name, "model": str(one.model), "version": one.version} for one in agents])
        )
        return
    table = Table("agent", "model", "version")
    for one in agents:
        table.add_row(one.name, str(one.model), one.version)
    out.print(table)


@keys_app.command("create")
def keys_create(
    tenant: Annotated[str | None, typer.Option(help="Whose key it is.")] = None, as_json: AsJson = False
) -> None:
    """Make an API key: the key for its user, and the digest for PATCHBAY_API_KEYS."""
    key, digest = create_key()
    entry = f"{tenant}:{digest}" if tenant else digest
    try:
        read_keys([entry])
    except ValueError as problem:
        _fail(str(problem).partition(": ")[2], 2)
    if as_json:
        out.print_json(json.dumps({"key": key, "entry": entry}))
        return
    out.print(f"key (shown once):      {key}", markup=False, soft_wrap=True)
    out.print(f"for PATCHBAY_API_KEYS: {entry}", markup=False, soft_wrap=True)


def _realtime_url(url: str, agent: str) -> str:
    split = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(split.scheme, split.scheme)
    query = urlencode({"model": agent, "greeting": "1", "server_tools": "show"})
    return urlunsplit((scheme, split.netloc, f"{split.path.rstrip('/')}/v1/realtime", query, ""))


def _speak(words: str) -> bytes:
    from gateway.models.local.voice import speak_pcm16_24k

    return speak_pcm16_24k(words)


def _save(phone: Any, path: Path, report: Any) -> None:
    from audio.formats import PCM16_24K
    from audio.wav import write_wav

    caller, agent = phone.tracks()
    write_wav(path, PCM16_24K, [caller, agent])
    report.saved = {"stereo": str(path)}


def _table(report: Any) -> Table:
    table = Table("turn", "said", "heard", "answer", "tools", "latency", title=f"call to {report.agent}")
    if report.greeting:
        table.add_row("", "", "", report.greeting, "", "")
    for turn in report.turns:
        tools = "\n".join(f"{tool.name}{' (failed)' if tool.error else ''} {tool.arguments}" for tool in turn.tools)
        latency = "–" if turn.latency_ms is None else f"{turn.latency_ms} ms"
        answer = f"{turn.answer} ✂" if turn.interrupted else turn.answer
        table.add_row(str(turn.number), turn.said, turn.heard, turn.error or answer, tools, latency)
    return table


def _words(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.filename:
        return f"{problem.filename}: {problem.strerror}"
    return str(problem)


def _reason(refused: Any) -> str:
    try:
        error = json.loads(refused.response.body or b"")["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {refused.response.status_code}"
    return f"{error['message']} ({error['code']})"


def _fail(message: str, code: int) -> None:
    err.print(f"patchbay: {message}", markup=False, style="red", soft_wrap=True)
    raise typer.Exit(code)
