"""OpenAI-compatible endpoints in place of the embedded model's own parts: which there are, and a request as a job.

Each request runs beside the call as a job, which the brain looks into; the call itself never waits. A job that fails or
is late costs its answer only, whatever came or was raised: speech falls back to espeak-ng, and for words there is an
apology. The SDK makes the requests. What comes back is read from its bytes, because the SDK's objects hold whatever the
endpoint has put into them.
Source: OpenAI API reference (chat completions, audio); the `openai` package.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from gateway.guard import Boundary, innermost, place_of
from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.detector import MissingPart
from gateway.settings import LocalEndpoint, LocalModels

log = logging.getLogger(__name__)

FIRST_S = 12.0  # until something comes
GAP_S = 6.0  # between two pieces

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")  # a machine's word, and nobody's sentence


class Spawned(Protocol):
    """A task that nobody waits for."""

    def cancel(self) -> object:
        """It is not needed any more."""
        ...


Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], Spawned]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One part's endpoint. `voice` is for speech."""

    base_url: str
    model: str
    api_key: str | None = None
    voice: str | None = None


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """The endpoints of the local model; None: its own part."""

    chat: Endpoint | None = None
    transcription: Endpoint | None = None
    speech: Endpoint | None = None


def client_of(endpoint: Endpoint) -> Any:
    """An `openai.AsyncOpenAI` for an endpoint: half a second of importing, so beforehand. Raises MissingPart."""
    try:
        from gateway.models.local.http_client import open_client, rehearse
    except ImportError as error:
        raise MissingPart("an endpoint for the local model needs openai: pip install 'patchbay[openai]'") from error
    rehearse()
    # Servers without keys do not look at it, and the client does not start without one.
    return open_client(endpoint.base_url, endpoint.api_key or "none", FIRST_S)


@dataclass(frozen=True, slots=True)
class Outside:
    """What endpoints need: their settings, a way to run jobs, and a way to make a client."""

    settings: LocalSettings
    spawn: Spawn
    connect: Callable[[Endpoint], Any] = client_of


def outside_of(models: LocalModels, spawn: Spawn) -> Outside | None:
    """What the process's settings name; None where they name no endpoint. `spawn` runs a job in a task of its own."""
    if models == LocalModels():
        return None
    named = LocalSettings(_endpoint(models.chat), _endpoint(models.transcription), _endpoint(models.speech))
    return Outside(named, spawn)


def _endpoint(named: LocalEndpoint | None) -> Endpoint | None:
    if named is None:
        return None
    key = named.api_key.get_secret_value() if named.api_key is not None else None
    return Endpoint(named.base_url, named.model, key, named.voice)


class Job:
    """A request under way. `failed` once it is over without its result."""

    def __init__(self, spawn: Spawn, part: str, endpoint: Endpoint) -> None:
        self._spawn = spawn
        self._part = part
        self._endpoint = endpoint
        self._task: Spawned | None = None
        self._content_type = ""  # of the answer
        self.over = False
        self.failed = False

    @property
    def done(self) -> bool:
        """Whether nothing more comes."""
        return self.over

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run it in the background; whatever it raises ends it as failed."""
        self._task = self._spawn(self._guarded(work))

    def drop(self) -> None:
        """Nobody wants it any more."""
        self.over = True
        if self._task is not None:
            self._task.cancel()

    def came(self, answer: Any) -> None:
        """The answer's head is here. Raises AnswerFault where there is no answer behind it."""
        content_type, status = answer.headers.get("content-type"), answer.status_code
        self._content_type = content_type if isinstance(content_type, str) else ""
        if not 200 <= status < 300:
            raise AnswerFault(f"the answer has the status {status}")

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            with Boundary(self._broke):
                await work()
        finally:
            self.over = True

    def _broke(self, fault: BaseException) -> None:
        self.failed = True
        fault = innermost(fault)
        fields: dict[str, object] = {"part": self._part, "host": _host(self._endpoint), "why": type(fault).__name__}
        if isinstance(fault, AnswerFault):
            fields |= {"why": str(fault), "content_type": self._content_type[:100]}
        elif isinstance(status := getattr(fault, "status_code", None), int):
            fields["status"] = status
        elif not isinstance(fault, TimeoutError | OSError) and not _is_of_sdk(fault):
            fields["place"] = place_of(fault)
        if isinstance(code := getattr(fault, "code", None), str) and _CODE.fullmatch(code):
            fields["code"] = code
        if (proxy := _proxy_of(self._endpoint)) is not None:
            fields["through_proxy"] = proxy
        log.warning("local model endpoint failed", extra=fields)


def _host(endpoint: Endpoint) -> str:
    return urlsplit(endpoint.base_url).netloc.rpartition("@")[2]


def _is_of_sdk(fault: BaseException) -> bool:
    return type(fault).__module__.partition(".")[0] in ("openai", "httpx2")


def _proxy_of(endpoint: Endpoint) -> str | None:
    """The proxy that stands in the way of an endpoint, so that it can be named when something is wrong."""
    try:
        from gateway.models.local.http_client import proxy_for
    except ImportError:  # and no client of it, but of somebody's own
        return None
    return proxy_for(endpoint.base_url)
