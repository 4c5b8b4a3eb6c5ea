"""All commands of `patchbay` except `serve`, which must start quickly, and `call`, which has a file of its own."""

from __future__ import annotations

import json
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from gateway.auth.keys import check_tenant, create_key, read_keys
from gateway.cli.announce import error_line
from gateway.cli.call import call
from gateway.cli.output import AsJson, fail, out, words_of
from gateway.cli.prices import prices_app
from gateway.cli.sessions import sessions_app
from gateway.cli.traces import traces_app
from gateway.clock import SystemClock
from gateway.config.settings import load_settings
from gateway.ids import RandomIds
from gateway.net.bind import MAX_PORT
from sessions.errors import VoiceError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Patchbay, a gateway for voice agents.")
agents_app = typer.Typer(no_args_is_help=True, help="Agents' files.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(agents_app, name="agents")
app.add_typer(keys_app, name="keys")
app.add_typer(prices_app, name="prices")
app.add_typer(sessions_app, name="sessions")
app.add_typer(traces_app, name="traces")

# Typer bundles its own click since 0.16 and does not export its exceptions.
_UsageError: Any = typer.BadParameter.__base__


@app.command(context_settings={"ignore_unknown_options": True})
def serve() -> None:
    """Run the gateway. (`patchbay serve --help` lists its options.)"""
    from gateway.cli.serve import serve as run

    raise typer.Exit(run([]))


app.command()(call)


@app.command()
def model(
    script: Annotated[Path | None, typer.Option(help="A YAML script to follow.")] = None,
    local: Annotated[bool, typer.Option("--local", help="The embedded offline model.")] = False,
    agent: Annotated[str, typer.Option(help="The agent whose dialogue the model follows.")] = "front-desk",
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=MAX_PORT, help="The port to listen on; 0 takes a free one.")] = 8090,
    key: Annotated[
        list[str] | None, typer.Option(help="A key as in PATCHBAY_API_KEYS; without one, only this machine connects.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve a model by itself over the Realtime protocol, for tests of other programs."""
    from gateway.cli.model import serve_model

    if (script is None) == (not local):
        fail("name either --script FILE or --local", 2, as_json=as_json)
    try:
        read_keys(key or [])
    except ValueError as problem:
        fail(f"--key: {problem}", 2, as_json=as_json)
    try:
        settings = load_settings(api_keys=key) if key else load_settings()
        named = agent if local else None
        serve_model(settings, script=script, agent=named, host=host, port=port, as_json=as_json)
    except (ValueError, VoiceError, OSError) as problem:
        fail(words_of(problem), 1, as_json=as_json)


@agents_app.command("check")
def agents_check(as_json: AsJson = False) -> None:
    """Read every agent's file, and report what is wrong."""
    from gateway.agents.book import AgentBook
    from gateway.agents.files import all_of
    from gateway.models.registry import ModelRegistry
    from gateway.tools.config import load_mcp_config
    from gateway.tools.grants import GrantCheck
    from gateway.tools.plugins import load_functions

    try:
        settings = load_settings()
        clock = SystemClock()
        registry = ModelRegistry(settings, clock, RandomIds())
        servers = load_mcp_config(settings.mcp_config, os.environ)
        grants = GrantCheck(servers, load_functions(settings.plugins_dir), settings.mcp_config)
        agents = AgentBook(settings.agents_dir, all_of(registry.check, grants.check), clock).all()
    except (ValueError, VoiceError) as problem:
        fail(str(problem), 1, as_json=as_json)
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
    tenant: Annotated[str | None, typer.Option(help="The tenant to whom it belongs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key: the key for its user, and the entry for PATCHBAY_API_KEYS."""
    try:
        if tenant is not None:
            check_tenant(tenant)
    except ValueError as problem:
        fail(f"--tenant {tenant!r}: {problem}", 2, as_json=as_json)
    key, digest = create_key()
    entry = digest if tenant is None else f"{tenant}:{digest}"
    if as_json:
        out.print_json(json.dumps({"key": key, "entry": entry}))
        return
    out.print(f"key (shown once):      {key}", soft_wrap=True)
    out.print(f"for PATCHBAY_API_KEYS: {entry}", soft_wrap=True)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code. With `--json`, a usage error is printed as JSON."""
    # A character that the terminal cannot show must not end a call.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if "--json" not in arguments:
        app(arguments)
    try:
        code = app(arguments, standalone_mode=False)
    except _UsageError as problem:
        sys.stdout.write(error_line(problem.format_message()))
        return int(problem.exit_code)
    return code if isinstance(code, int) else 0
