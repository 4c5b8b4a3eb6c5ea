"""Speech synthesis by an OpenAI-compatible endpoint. Source: OpenAI API reference, audio (speech)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from audio.formats import AudioFormat, Coding
from audio.g711 import encode
from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.endpoints import FIRST_S, GAP_S, Endpoint, Job, Spawn
from gateway.models.local.speech.text_to_speech import Sound, TextToSpeech
from gateway.models.local.speech_reader import SpeechReader

SENTENCE_S = 60.0  # the longest time for one sentence's request
MOST_SOUND_BYTES = 8 * 1024 * 1024  # of one sentence
READ_BYTES = 4800  # 100 ms of PCM16 at 24 kHz


class EndpointSpeech:
    """Speaks through an endpoint, and through `fallback` where that fails."""

    def __init__(self, endpoint: Endpoint, client: Any, spawn: Spawn, fallback: TextToSpeech) -> None:
        self._endpoint = endpoint
        self._client = client
        self._spawn = spawn
        self._fallback = fallback

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        """Start a request to the endpoint."""
        return EndpointSound(self._endpoint, self._client, self._spawn, sentence, format, self._fallback)


class EndpointSound(Job):
    """One sentence's sound, streamed by the speech endpoint; the request asks for PCM16 at 24 kHz."""

    def __init__(
        self, endpoint: Endpoint, client: Any, spawn: Spawn, sentence: str, format: AudioFormat, fallback: TextToSpeech
    ) -> None:
        super().__init__(spawn, "speech", endpoint)
        self._format = format
        self._payload = bytearray()  # in the call's format
        self._played = False  # whether `take` has returned some of the endpoint's sound
        self._fallback: Sound | None = None  # the fallback's sound, where the endpoint failed
        self._begin_fallback: Callable[[], Sound] = lambda: fallback.begin(sentence, format)
        self.start(lambda: self._ask(endpoint, client, sentence))

    @property
    def done(self) -> bool:
        """Whether no more sound follows, from the endpoint or the fallback."""
        return self.over if self._fallback is None else self._fallback.done

    def take(self) -> bytes:
        """The sound since the last call, in the call's format. One sentence is never spoken by two voices."""
        if self._fallback is None and self.failed and not self._played:
            self._fallback = self._begin_fallback()
        if self._fallback is not None:
            return self._fallback.take()
        payload = bytes(self._payload)
        self._payload.clear()
        self._played = self._played or bool(payload)
        return payload

    def drop(self) -> None:
        """Cancel: the sound is no longer needed."""
        super().drop()
        if self._fallback is not None:
            self._fallback.drop()

    async def _ask(self, endpoint: Endpoint, client: Any, sentence: str) -> None:
        async with (
            asyncio.timeout(SENTENCE_S),
            asyncio.timeout(FIRST_S) as limit,
            client.audio.speech.with_streaming_response.create(
                model=endpoint.model, voice=endpoint.voice or "alloy", input=sentence, response_format="pcm"
            ) as answer,
        ):
            self.check_head(answer)
            reader = SpeechReader(self._content_type, self._format.rate_hz)
            left_bytes = MOST_SOUND_BYTES
            async for piece in answer.iter_bytes(READ_BYTES):
                limit.reschedule(asyncio.get_running_loop().time() + GAP_S)
                left_bytes -= len(piece)
                if left_bytes < 0:
                    raise AnswerFault("the sentence's sound is longer than the limit")
                self._put(reader.feed(piece))
                await asyncio.sleep(0)  # many pieces may have arrived at once: let other tasks run
            self._put(reader.end())

    def _put(self, pcm16: bytes) -> None:
        self._payload += pcm16 if self._format.coding is Coding.PCM16 else encode(pcm16, self._format.coding)
