"""What the models of this process cost: the gateway's own price list, with the operator's laid over it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config.settings import Settings
from gateway.realtime.session import DEFAULT_TRANSCRIPTION
from gateway.telemetry.price_file import OWN_FILE, Deployment, Entry, Kind, PriceFile, PriceFileError, read_price_file
from sessions.agent import Agent
from sessions.costs import ModelPrice, TranscriptionPrice

log = logging.getLogger(__name__)

OPENAI_HOST = "api.openai.com"
NO_DEPLOYMENT = (
    "say under `deployments` in the file of PATCHBAY_PRICES which model this deployment is, and of which kind"
)
NOT_LISTED = "no price list has it; add it in the file of PATCHBAY_PRICES"
NOT_OPENAI = (
    f"the gateway's own prices are for {OPENAI_HOST} only, and OPENAI_BASE_URL is another service; "
    "add the model in the file of PATCHBAY_PRICES"
)
NOT_IN_PROCESS = (
    "the gateway's own prices are for the local model without endpoints (PATCHBAY_LOCAL__…) only; "
    "add the model in the file of PATCHBAY_PRICES"
)
LACKING = "its price list lacks prices that spoken calls need; add the model in the file of PATCHBAY_PRICES"
# What every spoken call uses, unless its model is sold by time.
SPOKEN = ("text_input", "text_cached", "text_output", "audio_input", "audio_cached", "audio_output")


class PriceBook:
    """Knows the prices of models, by `KIND/NAME`; it is the `Pricing` of every call of this process."""

    def __init__(
        self,
        version: str,
        models: tuple[Entry[ModelPrice], ...],
        transcription: tuple[Entry[TranscriptionPrice], ...],
        deployments: Mapping[str, Deployment],
        foreign: Mapping[str, str],
    ) -> None:
        """`foreign` has the providers to which the gateway's own list does not apply, with what to do."""
        self._version = version
        self._models = models
        self._transcription = transcription
        self._deployments = deployments
        self._foreign = foreign
        self._found: dict[str, Entry[ModelPrice] | None] = {}
        self._told: set[tuple[str, str]] = set()
        # What is to be told once the server starts; None from then on, and everything is told at once.
        self._untold: list[tuple[Agent, str]] | None = []

    @property
    def version(self) -> str:
        """The versions of the lists, the operator's behind a plus sign."""
        return self._version

    def price_of(self, model: str) -> ModelPrice | None:
        """A model's prices; None where they are not known."""
        entry = self.entry_of(model)
        return None if entry is None else entry.price

    def transcription_of(self, model: str, name: str) -> TranscriptionPrice | None:
        """The prices of the transcription model `name` in a session of `model`; None where they are not known."""
        entry = self.transcription_entry_of(model, name)
        return None if entry is None else entry.price

    def entry_of(self, model: str) -> Entry[ModelPrice] | None:
        """The entry of the price list with a model's prices."""
        if model not in self._found:
            provider, _, name = model.partition("/")
            deployed = self._deployments.get(name) if provider == "azure" else None
            named = name if deployed is None else deployed.model
            kind = None if deployed is None else deployed.kind
            self._found[model] = next((one for one in self._models if one.fits(provider, named, kind)), None)
        return self._found[model]

    def transcription_entry_of(self, model: str, name: str) -> Entry[TranscriptionPrice] | None:
        """The entry with a transcription model's prices.

        On Azure, `name` may be a deployment of its own. Any other name is a model of the same kind of deployment as the
        session's model.
        """
        provider, _, session = model.partition("/")
        kind: Kind | None = None
        if provider == "azure":
            own, around = self._deployments.get(name), self._deployments.get(session)
            name = name if own is None else own.model
            deployed = own or around
            kind = None if deployed is None else deployed.kind
        return next((one for one in self._transcription if one.fits(provider, name, kind)), None)

    def unknown(self, model: str) -> str | None:
        """What to do about a model of which a price is not known that spoken calls need; None if there is none."""
        entry = self.entry_of(model)
        if entry is not None:
            missing = [name for name in SPOKEN if getattr(entry.price, name) is None]
            timed = entry.price.active_minute is not None
            return None if timed or not missing else f"{LACKING}: {', '.join(missing)}"
        return self._advice(model)

    def unknown_transcription(self, model: str, name: str) -> str | None:
        """What to do about a transcription model in a session of `model` whose price is not known; None if it is."""
        return None if self.transcription_entry_of(model, name) is not None else self._advice(model)

    def _advice(self, model: str) -> str:
        provider, _, name = model.partition("/")
        if provider == "azure" and name not in self._deployments:
            return NO_DEPLOYMENT
        return self._foreign.get(provider, NOT_LISTED)

    def check(self, agent: Agent) -> None:
        """Note an agent whose calls will have no known cost: it is logged once, and not before `tell`."""
        advice = self.unknown(str(agent.model))
        if advice is None or (agent.name, str(agent.model)) in self._told:
            return
        self._told.add((agent.name, str(agent.model)))
        if self._untold is None:
            self._tell(agent, advice)
        else:
            self._untold.append((agent, advice))

    def tell(self) -> None:
        """Log the agents that were noted so far, and from now on each as it is noted: the server starts."""
        untold, self._untold = self._untold or [], None
        for agent, advice in untold:
            self._tell(agent, advice)

    def _tell(self, agent: Agent, advice: str) -> None:
        fields = {"agent": agent.name, "model": str(agent.model), "advice": advice}
        log.warning("a price of an agent's model is not known, so its spoken calls have no known cost", extra=fields)
        if agent.limits.cost_nano is not None:
            log.warning(
                "an agent has a budget, but what its calls cost is not known: it may end none of them", extra=fields
            )


def transcription_model(agent: Agent) -> str:
    """The name of the model that transcribes an agent's callers, unless a client changes it."""
    return str((agent.transcription or DEFAULT_TRANSCRIPTION).get("model", ""))


def load_prices(settings: Settings) -> PriceBook:
    """The prices for these settings. Raises PriceFileError, with the file, the line and what to do."""
    own, over = read_price_file(OWN_FILE), _laid_over(settings.prices)
    foreign = _foreign(settings)
    models = tuple(entry for entry in own.models if entry.provider not in foreign)
    transcription = tuple(entry for entry in own.transcription if entry.provider not in foreign)
    if over is None:
        return PriceBook(own.version, models, transcription, own.deployments, foreign)
    return PriceBook(
        f"{own.version}+{over.version}",
        over.models + models,
        over.transcription + transcription,
        {**own.deployments, **over.deployments},
        foreign,
    )


def _laid_over(path: Path | None) -> PriceFile | None:
    if path is None:
        return None
    try:
        return read_price_file(path)
    except PriceFileError as error:
        raise PriceFileError(f"PATCHBAY_PRICES: {path}", error.line, error.field, error.message) from error


def _foreign(settings: Settings) -> dict[str, str]:
    """The providers whose names stand for something else here, so that the gateway's own list does not apply.

    Each has what to do about a model whose price is then not known.
    """
    local = settings.local
    foreign: dict[str, str] = {}
    if urlsplit(settings.openai_base_url).hostname != OPENAI_HOST:
        foreign["openai"] = NOT_OPENAI
    if local.chat is not None or local.transcription is not None or local.speech is not None:
        foreign["local"] = NOT_IN_PROCESS
    return foreign
