"""`patchbay traces`: sends calls from the store to the destinations of telemetry."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import __version__
from gateway.agents.book import NoAgents, agent_paths
from gateway.agents.files import AgentFileError, load_agent
from gateway.auth.keys import DEFAULT_TENANT, check_tenant
from gateway.cli.output import AsJson, err, fail, out, words_of
from gateway.clock import SystemClock
from gateway.config.settings import Settings, load_settings
from gateway.logs import quiet_azure
from gateway.state.access import make_store
from gateway.telemetry.link.destinations import TRACES, Destination, check_installed, destinations_of, resource_of
from gateway.telemetry.link.opening import blob_place, policy_of
from sessions.agent import TelemetryContent
from sessions.errors import VoiceError
from sessions.stores.contract import Missing, SessionKey

if TYPE_CHECKING:
    from gateway.telemetry.courier.resend import Resending

traces_app = typer.Typer(no_args_is_help=True, help="Traces of calls.")

_AGO = re.compile(r"(\d{1,6})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


@traces_app.command("send")
def send(
    sessions: Annotated[list[str] | None, typer.Argument(metavar="[SESSION…]", help="Sessions to send.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="T", help="All calls that began since then: 2026-11-30T12:00, or 30m, 2h, 7d ago."),
    ] = None,
    tenant: Annotated[str, typer.Option(help="The tenant of the sessions.")] = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Send stored calls to every destination that is set; code 1 if one does not take them."""
    if bool(sessions) == (since is not None):
        fail("name sessions, or give --since", 2, as_json=as_json)
    try:
        check_tenant(tenant)
        since_s = None if since is None else since_of(since, time.time())
    except ValueError as problem:
        fail(str(problem), 2, as_json=as_json)
    try:
        settings = load_settings()
        destinations = destinations_of(settings.destinations_given)
        takers = tuple(one for one in destinations if one.takes(TRACES))
        if not takers:
            fail("no destination of traces is set (docs/telemetry.md)", 1, as_json=as_json)
        check_installed(takers)
        code = asyncio.run(_send(settings, takers, tenant, sessions or [], since_s, as_json=as_json))
    except KeyboardInterrupt:
        code = 130
    except (ValueError, VoiceError, OSError) as problem:
        fail(words_of(problem), 1, as_json=as_json)
    raise typer.Exit(code)


def since_of(text: str, now_s: float) -> float:
    """A moment as Unix time: a date with or without a time (of this machine's zone, unless it names one), or how long
    ago. Raises ValueError, whose message names the option."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now_s - int(ago[1]) * _SECONDS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ValueError(f"--since {text[:40]!r}: write a time such as 2026-11-30T12:00, or 30m, 2h or 7d") from None


async def _send(
    settings: Settings,
    destinations: tuple[Destination, ...],
    tenant: str,
    sessions: list[str],
    since_s: float | None,
    *,
    as_json: bool,
) -> int:
    # Only here, because it loads what sends: other commands do without.
    from gateway.telemetry.courier.destinations import Sender
    from gateway.telemetry.courier.resend import ended_since, make_resending

    logging.getLogger("patchbay.telemetry").setLevel(logging.CRITICAL)  # the result tells what failed
    quiet_azure()
    policy = policy_of(settings, {})
    if sessions:  # who names a call wants it whole
        policy = replace(policy, ratio=1.0)
    given = settings.destinations_given
    resource = resource_of(given, version=__version__)
    blobs = blob_place(settings) if policy.content is TelemetryContent.AUDIO else None
    sender = Sender(resource, __version__, 0, policy.shape, blobs)
    resending = make_resending(destinations, sender, policy, _levels(settings))
    store, _ = make_store(settings, SystemClock(), inline=False)
    await store.open()
    running = [asyncio.ensure_future(outlet.run()) for outlet in resending.outlets.all]
    missing: list[str] = []
    try:
        if since_s is not None:
            async for key in ended_since(store, tenant, since_s):
                await resending.send(store, key)
        for session in dict.fromkeys(sessions):
            try:
                await resending.send(store, SessionKey(tenant, session))
            except Missing:
                missing.append(session)
        await resending.flush()
    finally:
        for task in running:
            task.cancel()
        await resending.outlets.close()
        await store.close()
    _print(resending, missing, as_json=as_json)
    return 1 if missing or any(one.refused for one in resending.sent) else 0


def _levels(settings: Settings) -> Callable[[str], TelemetryContent | None]:
    """What each agent allows. Of an agent that does not exist any more, or cannot be read, no words are sent."""
    found: dict[str, TelemetryContent | None] = {}
    with suppress(NoAgents):
        for path in agent_paths(settings.agents_dir):
            with suppress(AgentFileError):
                agent = load_agent(path, lambda agent: None)
                found[agent.name] = agent.telemetry
    return lambda agent: found.get(agent, TelemetryContent.NONE)


def _print(resending: Resending, missing: list[str], *, as_json: bool) -> None:
    if as_json:
        told = {
            "calls": resending.calls,
            "destinations": [asdict(one) for one in resending.sent],
            "live": resending.skipped,
            "missing": missing,
        }
        out.print_json(json.dumps(told))
        return
    for session in missing:
        err.print(f"patchbay: there is no session {session}", soft_wrap=True)
    for session in resending.skipped:
        err.print(f"patchbay: session {session} has not ended; its server sends it", soft_wrap=True)
    out.print(f"{resending.calls} calls")
    for one in resending.sent:
        more = f", {one.scores} scores" if one.scores else ""
        more += f", {one.sounds} files of sound" if one.sounds else ""
        told_refused = f", {one.refused} not taken ({one.reason})" if one.refused else ""
        out.print(f"{one.destination}: {one.spans} spans{more} sent{told_refused}", soft_wrap=True)
