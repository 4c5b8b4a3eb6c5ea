"""Speech by an OpenAI-compatible endpoint. Source: OpenAI API reference, audio (speech)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from audio.formats import AudioFormat, Coding
from audio.g711 import encode
from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.endpoints import FIRST_S, GAP_S, Endpoint, Job, Spawn
from gateway.models.local.speaking import Mouth, Sound
from gateway.models.local.speech_reader import SpeechReader

SENTENCE_S = 60.0  # for the sound of one sentence
MOST_SOUND_BYTES = 8 * 1024 * 1024  # of one sentence
READ_BYTES = 4800  # 100 ms at 24 kHz


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
    """One sentence at the speech endpoint, streamed; PCM16 at 24 kHz is asked for."""

    def __init__(
        self, endpoint: Endpoint, client: Any, spawn: Spawn, sentence: str, format: AudioFormat, own: Mouth
    ) -> None:
        super().__init__(spawn, "speech", endpoint)
        self._format = format
        self._payload = bytearray()  # in the format that was asked for
        self._played = False  # some of it has been taken
        self._own: Sound | None = None  # the own voice's, where it has to stand in
        self._begin_own: Callable[[], Sound] = lambda: own.begin(sentence, format)
        self.start(lambda: self._ask(endpoint, client, sentence))

    @property
    def done(self) -> bool:
        """Whether nothing more comes, of the own voice either."""
        return self.over if self._own is None else self._own.done

    def take(self) -> bytes:
        """What has come, in the format that was asked for. Nothing of a sentence is said by two voices."""
        if self._own is None and self.failed and not self._played:
            self._own = self._begin_own()
        if self._own is not None:
            return self._own.take()
        payload = bytes(self._payload)
        self._payload.clear()
        self._played = self._played or bool(payload)
        return payload

    def drop(self) -> None:
        """Nobody wants it any more."""
        super().drop()
        if self._own is not None:
            self._own.drop()

    async def _ask(self, endpoint: Endpoint, client: Any, sentence: str) -> None:
        async with (
            asyncio.timeout(SENTENCE_S),
            asyncio.timeout(FIRST_S) as limit,
            client.audio.speech.with_streaming_response.create(
                model=endpoint.model, voice=endpoint.voice or "alloy", input=sentence, response_format="pcm"
            ) as answer,
        ):
            self.came(answer)
            reader = SpeechReader(self._content_type, self._format.rate_hz)
            left_bytes = MOST_SOUND_BYTES
            async for piece in answer.iter_bytes(READ_BYTES):
                limit.reschedule(asyncio.get_running_loop().time() + GAP_S)
                left_bytes -= len(piece)
                if left_bytes < 0:
                    raise AnswerFault("the sentence's sound does not end")
                self._put(reader.feed(piece))
                await asyncio.sleep(0)  # many pieces may be here at once
            self._put(reader.end())

    def _put(self, pcm16: bytes) -> None:
        self._payload += pcm16 if self._format.coding is Coding.PCM16 else encode(pcm16, self._format.coding)
