"""`patchbay prices`: what the agents' models cost, and whether stored calls cost what they would cost now."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.agents.book import AgentBook
from gateway.cli.output import AsJson, fail, out, words_of
from gateway.clock import SystemClock
from gateway.config.settings import Settings, load_settings
from gateway.logs import quiet_azure
from gateway.state.access import cosmos_access
from gateway.telemetry.price_file import Entry
from gateway.telemetry.prices import PriceBook, load_prices, transcription_model
from gateway.telemetry.recomputing import Difference, Recomputed, recompute
from sessions.agent import Agent
from sessions.costs import ModelPrice, TranscriptionPrice
from sessions.errors import VoiceError
from sessions.money import usd_of
from sessions.ports import Json
from sessions.stores.opening import open_reader
from sessions.stores.store_meter import StoreMeter

SHOWN_DIFFERENCES = 50  # for people; JSON has all
_AGO = re.compile(r"(\d{1,6})(m|h|d)")
_UNIT_S = {"m": 60, "h": 3_600, "d": 86_400}

prices_app = typer.Typer(no_args_is_help=True, help="Prices of models, and the costs of calls.")


@prices_app.callback()
def _prices() -> None:
    """Prices of models, and the costs of calls."""


@dataclass(frozen=True, slots=True)
class PricedModel:
    """A model of an agent, with its prices if they are known; `advice` says what to do where they are not."""

    agent: str
    role: str  # model, or transcription
    model: str
    entry: Entry[ModelPrice] | Entry[TranscriptionPrice] | None
    advice: str | None

    @property
    def prices(self) -> dict[str, str]:
        """The prices in dollars, by name; none where they are not known."""
        if self.entry is None:
            return {}
        return {name: usd_of(nano) for name, nano in asdict(self.entry.price).items() if nano is not None}

    @property
    def shown_prices(self) -> str:
        """The prices for people."""
        if set(self.prices.values()) == {"0"}:
            return "free"
        return ", ".join(f"{name} {usd}" for name, usd in self.prices.items())

    def as_json(self) -> dict[str, Json]:
        """The fields for `--json`."""
        entry = self.entry
        return {
            "agent": self.agent,
            "role": self.role,
            "model": self.model,
            "prices_usd": None if entry is None else self.prices,
            "source": None if entry is None else entry.source,
            "date": None if entry is None else entry.date,
            "advice": self.advice,
        }


def priced_models(agents: list[Agent], prices: PriceBook) -> list[PricedModel]:
    """Each agent's model, and the model that transcribes its callers."""
    found: list[PricedModel] = []
    for agent in agents:
        model, name = str(agent.model), transcription_model(agent)
        found.append(PricedModel(agent.name, "model", model, prices.entry_of(model), prices.unknown(model)))
        heard = prices.transcription_entry_of(model, name)
        advice = prices.unknown_transcription(model, name)
        found.append(PricedModel(agent.name, "transcription", name, heard, advice))
    return found


@prices_app.command("check")
def check(
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only calls since 2026-12-01, 2026-12-01T09:30, 90m, 12h or 7d.")
    ] = None,
    calls: Annotated[bool, typer.Option(help="Also compute the costs of stored calls again.")] = True,
    as_json: AsJson = False,
) -> None:
    """Show what each agent's models cost, and compute the costs of stored calls again.

    Ends with code 1 if a price is not known, or the stored cost of a call differs.
    """
    try:
        since_s = 0.0 if since is None else read_since(since, SystemClock().wall_s())
    except ValueError as problem:
        fail(f"--since {since!r}: {problem}", 2, as_json=as_json)
    try:
        settings = load_settings()
        prices = load_prices(settings)
        agents = AgentBook(settings.agents_dir, lambda agent: None, SystemClock()).all()
        models = priced_models(agents, prices)
        found = asyncio.run(_recomputed(settings, prices, since_s)) if calls else Recomputed()
    except (ValueError, VoiceError, OSError) as problem:
        fail(words_of(problem), 1, as_json=as_json)
    good = not found.differences and all(model.advice is None for model in models)
    if as_json:
        shown: dict[str, Json] = {
            "version": prices.version,
            "models": [model.as_json() for model in models],
            "calls": found.calls,
            "calls_without_usage": found.without_usage,
            "unreadable_documents": found.unreadable,
            "differences": [asdict(difference) for difference in found.differences],
            "ok": good,
        }
        out.print_json(json.dumps(shown))
    else:
        _show(models, found, prices.version)
    if not good:
        raise typer.Exit(1)


def read_since(text: str, now_s: float) -> float:
    """A day, a time, or a span before now, in Unix seconds. Times without a zone are UTC. Raises ValueError."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now_s - int(ago[1]) * _UNIT_S[ago[2]]
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("write a day such as 2026-12-01, a time such as 2026-12-01T09:30, or 90m, 12h, 7d") from None
    return (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()


async def _recomputed(settings: Settings, prices: PriceBook, since_s: float) -> Recomputed:
    if not settings.store and not (settings.data_dir / "patchbay.db").exists():
        return Recomputed()  # no call was taken here yet
    quiet_azure()
    store = open_reader(settings.store_url, SystemClock(), cosmos=cosmos_access(settings, StoreMeter()))
    await store.open()
    try:
        return await recompute(store, prices, since_s)
    finally:
        await store.close()


def _show(models: list[PricedModel], found: Recomputed, version: str) -> None:
    out.print("In US dollars, for 1,000,000 tokens or a minute:")
    for model in models:
        out.print(f"{model.agent}, {model.role}: {model.model}", soft_wrap=True)
        if model.entry is not None:
            out.print(f"    {model.shown_prices} ({model.entry.source}, {model.entry.date})", soft_wrap=True)
        if model.advice is not None:
            out.print(f"    unknown: {model.advice}", soft_wrap=True)
    out.print(f"price list {version}; {found.calls} stored calls computed again, {len(found.differences)} differences")
    if found.without_usage:
        out.print(f"{found.without_usage} stored calls are without usage, so there is nothing to compute")
    if found.unreadable:
        out.print(f"{found.unreadable} documents could not be read and are left out")
    for difference in found.differences[:SHOWN_DIFFERENCES]:
        out.print(_line(difference), soft_wrap=True)
    if len(found.differences) > SHOWN_DIFFERENCES:
        out.print(f"and {len(found.differences) - SHOWN_DIFFERENCES} more; --json prints all")


def _line(one: Difference) -> str:
    """A difference on one line: a table would cut the ids that people copy from it."""
    stored, computed = ("unknown" if nano is None else usd_of(nano) for nano in (one.stored_nano, one.computed_nano))
    where = f"{one.tenant}/{one.session_id}, turn {one.turn}, {one.what}"
    return f"{where}: {one.model}, stored {stored}, computed {computed}"
