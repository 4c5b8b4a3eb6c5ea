"""Transcription by an OpenAI-compatible endpoint. Source: OpenAI API reference, audio (transcriptions)."""

from __future__ import annotations

import asyncio
import io
import json
import wave
from collections.abc import Callable
from typing import Any

from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.endpoints import FIRST_S, Endpoint, Job, Spawn
from gateway.models.local.speech.caller_speech import CallerSpeech
from gateway.models.local.speech.detector import RATE_HZ, SpeechModel
from gateway.models.local.speech.transcripts import Transcript
from sessions.ports import Json
from sessions.text import well_formed

MOST_TRANSCRIPT_BYTES = 256 * 1024
MOST_TRANSCRIPT_CHARS = 8000


class EndpointSpeechToText:
    """Finds speech on this machine and has an endpoint transcribe it."""

    free_text = True

    def __init__(self, endpoint: Endpoint, client: Any, spawn: Spawn, model: Callable[[], SpeechModel]) -> None:
        self._endpoint = endpoint
        self._client = client
        self._spawn = spawn
        self._model = model

    def open_stream(self) -> CallerSpeech:
        """A speech finder for one stream, without a recogniser."""
        return CallerSpeech(self._model(), None)

    def transcript(self, caller_speech: CallerSpeech, state: str, speech_ms: int) -> Transcript:
        """Send the speech to the endpoint."""
        return EndpointTranscript(self._endpoint, self._client, self._spawn, bytes(caller_speech.spoken))


class EndpointTranscript(Job):
    """The transcript of one turn, requested from the transcription endpoint."""

    decoded_here = False

    def __init__(self, endpoint: Endpoint, client: Any, spawn: Spawn, pcm16: bytes) -> None:
        super().__init__(spawn, "transcription", endpoint)
        self.text: str | None = None
        self.start(lambda: self._ask(endpoint, client, _wav(pcm16)))

    def work(self) -> None:
        """Nothing to do: the request runs in the background."""

    async def _ask(self, endpoint: Endpoint, client: Any, wav: bytes) -> None:
        async with (
            asyncio.timeout(FIRST_S),
            client.audio.transcriptions.with_streaming_response.create(
                model=endpoint.model, file=("speech.wav", wav, "audio/wav"), response_format="json"
            ) as answer,
        ):
            self.check_head(answer)
            self.text = transcript_of(await _whole(answer, MOST_TRANSCRIPT_BYTES))


def transcript_of(body: bytes) -> str | None:
    """The words in a transcription endpoint's answer; None: it found no words. Raises AnswerFault."""
    try:
        answer: Json = json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerFault("the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise AnswerFault("the answer is not a JSON object")
    if answer.get("error"):
        raise AnswerFault("the endpoint reported an error")
    text = answer.get("text")
    if not isinstance(text, str):
        raise AnswerFault("text is not a string")
    if len(text) > MOST_TRANSCRIPT_CHARS:
        raise AnswerFault("the transcript is longer than the limit")
    return well_formed(text).replace("\0", "").strip() or None


def _wav(pcm16: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes(pcm16)
    return file.getvalue()


async def _whole(answer: Any, most_bytes: int) -> bytes:
    """An answer's whole body. Raises AnswerFault where it is longer than `most_bytes`."""
    body = bytearray()
    async for piece in answer.iter_bytes():
        body += piece
        if len(body) > most_bytes:
            raise AnswerFault("the answer is longer than the limit")
    return bytes(body)
