"""OpenAI-compatible endpoints in place of the embedded model's own parts: chat, transcription, speech.

Each request runs beside the call as a job, which the brain looks into; the call itself never waits. A job that fails or
is late costs its answer only: speech falls back to espeak-ng, and for words there is an apology.
Source: OpenAI API reference (chat completions, audio); the `openai` package.
"""

from __future__ import annotations

import asyncio
import io
import logging
import wave
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from audio.formats import AudioFormat, Coding
from audio.g711 import encode
from audio.resampling import Resampler
from gateway.models.local.detector import RATE_HZ, MissingPart, SpeechModel
from gateway.models.local.hearing import Hearing
from gateway.models.local.speaking import Mouth, Sound
from gateway.models.local.transcripts import Transcript
from gateway.settings import LocalEndpoint, LocalModels

log = logging.getLogger(__name__)

FIRST_S = 12.0  # until something comes
GAP_S = 6.0  # between two pieces
MAX_PCM_BYTES = 8 * 1024 * 1024  # of one sentence
READ_BYTES = 4800  # 100 ms at 24 kHz

T = TypeVar("T")


class Spawned(Protocol):
    """A task of somebody's group."""

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
        from openai import AsyncOpenAI
    except ImportError as error:
        raise MissingPart("an endpoint for the local model needs openai: pip install 'patchbay[openai]'") from error
    # Servers without keys do not look at it, and the client does not start without one.
    return AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key or "none", max_retries=0, timeout=FIRST_S)


@dataclass(frozen=True, slots=True)
class Outside:
    """What endpoints need: their settings, a group to run jobs in, and a way to make a client."""

    settings: LocalSettings
    spawn: Spawn
    connect: Callable[[Endpoint], Any] = client_of


def outside_of(models: LocalModels, spawn: Spawn) -> Outside | None:
    """What the process's settings name; None where they name no endpoint. `spawn` runs a job in somebody's group."""
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

    def __init__(self, spawn: Spawn, part: str) -> None:
        self._spawn = spawn
        self._part = part
        self._task: Spawned | None = None
        self.done = False
        self.failed = False

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it in the background; what an endpoint can do wrong ends it as failed."""
        self._task = self._spawn(self._guarded(work))

    def drop(self) -> None:
        """Nobody wants it any more."""
        self.done = True
        if self._task is not None:
            self._task.cancel()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        from openai import OpenAIError  # loaded long ago, by `client_of`

        try:
            await work
        except (OpenAIError, TimeoutError, OSError, ValueError) as error:
            log.warning("local model endpoint failed", extra={"part": self._part, "why": type(error).__name__})
            self.failed = True
        finally:
            self.done = True


async def paced(stream: AsyncIterator[T]) -> AsyncIterator[T]:
    """The stream's pieces. Raises TimeoutError where one is late."""
    while True:
        try:
            async with asyncio.timeout(GAP_S):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        yield piece


# ---- transcription


class RemoteListener:
    """Speech is found here, and made out by an endpoint."""

    free = True

    def __init__(self, endpoint: Endpoint, client: Any, spawn: Spawn, model: Callable[[], SpeechModel]) -> None:
        self._endpoint = endpoint
        self._client = client
        self._spawn = spawn
        self._model = model

    def hearing(self) -> Hearing:
        """Without a recogniser."""
        return Hearing(self._model(), None)

    def transcript(self, hearing: Hearing, state: str, speech_ms: int) -> Transcript:
        """Ask the endpoint."""
        return RemoteTranscript(self._endpoint, self._client, self._spawn, bytes(hearing.spoken))


class RemoteTranscript(Job):
    """One stretch of speech at the transcription endpoint."""

    by_work = False

    def __init__(self, endpoint: Endpoint, client: Any, spawn: Spawn, pcm16: bytes) -> None:
        super().__init__(spawn, "transcription")
        self.text: str | None = None
        self.start(self._ask(endpoint, client, _wav(pcm16)))

    def work(self) -> None:
        """It goes on by itself."""

    async def _ask(self, endpoint: Endpoint, client: Any, wav: bytes) -> None:
        async with asyncio.timeout(FIRST_S):
            answer = await client.audio.transcriptions.create(
                model=endpoint.model, file=("speech.wav", wav, "audio/wav"), response_format="json"
            )
        self.text = answer.text.strip() or None


def _wav(pcm16: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes(pcm16)
    return file.getvalue()


# ---- speech


class RemoteMouth:
    """Speaks by an endpoint, and by `own` where that fails."""

    def __init__(self, endpoint: Endpoint, client: Any, spawn: Spawn, own: Mouth) -> None:
        self._endpoint = endpoint
        self._client = client
        self._spawn = spawn
        self._own = own

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        """Ask the endpoint."""
        return RemoteSound(self._endpoint, self._client, self._spawn, sentence, format, self._own)


class RemoteSound(Job):
    """One sentence at the speech endpoint: PCM16 at 24 kHz, streamed."""

    def __init__(
        self, endpoint: Endpoint, client: Any, spawn: Spawn, sentence: str, format: AudioFormat, own: Mouth
    ) -> None:
        super().__init__(spawn, "speech")
        self._format = format
        self._resampler = None if format.rate_hz == 24_000 else Resampler(24_000, format.rate_hz)
        self._pcm16 = bytearray()
        self._received_bytes = 0
        self._fallback: Callable[[], Sound] = lambda: own.begin(sentence, format)
        self.start(self._ask(endpoint, client, sentence))

    def take(self) -> bytes:
        """What has come, in the format that was asked for."""
        if self.failed and not self._received_bytes:
            self.failed = False
            return self._fallback().take()
        whole = len(self._pcm16) - len(self._pcm16) % 2
        pcm16 = bytes(self._pcm16[:whole])
        del self._pcm16[:whole]
        if self._resampler is not None:
            pcm16 = self._resampler.feed(pcm16) + (self._resampler.flush() if self.done else b"")
        return pcm16 if self._format.coding is Coding.PCM16 else encode(pcm16, self._format.coding)

    async def _ask(self, endpoint: Endpoint, client: Any, sentence: str) -> None:
        async with (
            asyncio.timeout(FIRST_S) as limit,
            client.audio.speech.with_streaming_response.create(
                model=endpoint.model, voice=endpoint.voice or "alloy", input=sentence, response_format="pcm"
            ) as answer,
        ):
            limit.reschedule(None)
            async for piece in paced(answer.iter_bytes(READ_BYTES)):
                self._received_bytes += len(piece)
                if self._received_bytes > MAX_PCM_BYTES:
                    raise ValueError("the sentence's sound does not end")
                self._pcm16 += piece
