"""OpenAI-compatible endpoints in place of the embedded model's parts: their settings, and a request as a job.

Each request runs beside the call as a job, which the brain polls; the call itself never waits. A job that fails or is
late costs only its own answer, whatever was sent or raised: speech falls back to espeak-ng, and a failed chat answer
becomes an apology. The SDK makes the requests. Answers are read from their bytes, because the SDK's objects take over
whatever values the endpoint has sent.
Source: OpenAI API reference (chat completions, audio); the `openai` package.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from gateway.config.settings import LocalEndpoint, LocalModels
from gateway.guard import Boundary, innermost, place_of
from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.speech.detector import MissingPart

log = logging.getLogger(__name__)

FIRST_S = 12.0  # the longest wait for an answer's first bytes
GAP_S = 6.0  # the longest gap between two pieces of an answer

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")  # an error code may be logged; a sentence of the endpoint's may not


class BackgroundTask(Protocol):
    """A task that runs in the background and can be cancelled."""

    def cancel(self) -> object:
        """Cancel the task: its result is no longer needed."""
        ...


Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], BackgroundTask]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The endpoint of one part. `voice` is used for speech only."""

    base_url: str
    model: str
    api_key: str | None = None
    voice: str | None = None


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """The endpoints of the local model; None stands for the embedded part."""

    chat: Endpoint | None = None
    transcription: Endpoint | None = None
    speech: Endpoint | None = None


def client_of(endpoint: Endpoint) -> Any:
    """Make an `openai.AsyncOpenAI`. Importing it takes 0.5 s, so call this early. Raises MissingPart."""
    try:
        from gateway.models.local.http_client import open_client, warm_up
    except ImportError as error:
        raise MissingPart("an endpoint for the local model needs openai: pip install 'patchbay[openai]'") from error
    warm_up()
    # The client requires a key; servers that need none ignore it.
    return open_client(endpoint.base_url, endpoint.api_key or "none", FIRST_S)


@dataclass(frozen=True, slots=True)
class EndpointAccess:
    """The endpoints' settings, with the functions that run a job and open a client."""

    settings: LocalSettings
    spawn: Spawn
    connect: Callable[[Endpoint], Any] = client_of


def endpoint_access(models: LocalModels, spawn: Spawn) -> EndpointAccess | None:
    """Access to the endpoints that the process's settings name; None where they name none.

    `spawn` runs a job in a separate task.
    """
    if models == LocalModels():
        return None
    settings = LocalSettings(_endpoint(models.chat), _endpoint(models.transcription), _endpoint(models.speech))
    return EndpointAccess(settings, spawn)


def _endpoint(settings: LocalEndpoint | None) -> Endpoint | None:
    if settings is None:
        return None
    key = settings.api_key.get_secret_value() if settings.api_key is not None else None
    return Endpoint(settings.base_url, settings.model, key, settings.voice)


class Job:
    """A request in progress. `failed` is set when it ends without a result."""

    def __init__(self, spawn: Spawn, part: str, endpoint: Endpoint) -> None:
        self._spawn = spawn
        self._part = part
        self._endpoint = endpoint
        self._task: BackgroundTask | None = None
        self._content_type = ""  # of the answer
        self.over = False
        self.failed = False

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self.over

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` in the background; if it raises anything, the job has failed."""
        self._task = self._spawn(self._guarded(work))

    def drop(self) -> None:
        """Cancel the job: its result is no longer needed."""
        self.over = True
        if self._task is not None:
            self._task.cancel()

    def check_head(self, answer: Any) -> None:
        """Take the answer's status and headers. Raises AnswerFault for a status other than 2xx."""
        content_type, status = answer.headers.get("content-type"), answer.status_code
        self._content_type = content_type if isinstance(content_type, str) else ""
        if not 200 <= status < 300:
            raise AnswerFault(f"the answer has the status {status}")

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            with Boundary(self._on_fault):
                await work()
        finally:
            self.over = True

    def _on_fault(self, fault: BaseException) -> None:
        self.failed = True
        fault = innermost(fault)
        fields: dict[str, object] = {"part": self._part, "host": _host(self._endpoint), "why": type(fault).__name__}
        if isinstance(fault, AnswerFault):
            fields |= {"why": str(fault), "content_type": self._content_type[:100]}
        elif isinstance(status := getattr(fault, "status_code", None), int):
            fields["status"] = status
        elif not isinstance(fault, TimeoutError | OSError) and not _is_sdk_error(fault):
            fields["place"] = place_of(fault)
        if isinstance(code := getattr(fault, "code", None), str) and _CODE.fullmatch(code):
            fields["code"] = code
        if (proxy := _proxy_of(self._endpoint)) is not None:
            fields["through_proxy"] = proxy
        log.warning("local model endpoint failed", extra=fields)


def _host(endpoint: Endpoint) -> str:
    return urlsplit(endpoint.base_url).netloc.rpartition("@")[2]


def _is_sdk_error(fault: BaseException) -> bool:
    return type(fault).__module__.partition(".")[0] in ("openai", "httpx2")


def _proxy_of(endpoint: Endpoint) -> str | None:
    """The proxy that requests to this endpoint go through, to be named in a log message about a failure."""
    try:
        from gateway.models.local.http_client import proxy_for
    except ImportError:  # the `openai` package is absent: the client is not the SDK's
        return None
    return proxy_for(endpoint.base_url)
