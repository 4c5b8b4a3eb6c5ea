"""The embedded model as an engine: parts that are loaded once for all calls, and one Realtime server for each call.

Loading takes about 0.7 s and 180 MB. It runs in a thread, once the process is ready and before an agent's first call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from audio.formats import PCM16_24K
from gateway.models.local.brain import LocalBrain
from gateway.models.local.chat import ChatAnswerer
from gateway.models.local.dialogue.answerer import Answerer, DialogueAnswerer
from gateway.models.local.dialogue.dialogue import DialogueError, compile_dialogue
from gateway.models.local.dialogue.rules import Dialogue
from gateway.models.local.endpoint_speech import EndpointSpeech
from gateway.models.local.endpoint_transcription import EndpointSpeechToText
from gateway.models.local.endpoints import Endpoint, EndpointAccess
from gateway.models.local.server import LocalServer
from gateway.models.local.speech.bulk_audio import SliceSchedule
from gateway.models.local.speech.detector import MissingPart, SpeechModel, load_speech_model
from gateway.models.local.speech.recogniser import DecoderPool, Recogniser, Vocabulary
from gateway.models.local.speech.speech_to_text import GrammarSpeechToText, SpeechToText
from gateway.models.local.speech.text_to_speech import EspeakSpeech, TextToSpeech
from gateway.models.local.speech.voice import Voice, process_voice
from gateway.realtime.server.brain import BrainFactory, TurnEvents
from sessions.agent import Agent
from sessions.ports import Clock, Ids

DECODERS = 3  # callers that can be decoded at the same time; a fourth is decoded a moment later


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that all agents and calls of a process share."""

    speech_model: Any
    decoders: DecoderPool
    voice: Voice


@cache
def shared_parts() -> Parts:
    """Load the shared parts; later calls return the same ones. Raises MissingPart."""
    parts = Parts(load_speech_model(), DecoderPool(DECODERS), process_voice())
    SpeechModel(parts.speech_model).probability(bytes(1024))  # the first run is slower than all others
    return parts


def local_brain_factory(
    dialogue: Dialogue,
    parts: Parts,
    endpoints: EndpointAccess | None = None,
    schedule: SliceSchedule | None = None,
    vocabulary: Vocabulary | None = None,
) -> BrainFactory:
    """Make the factory of a dialogue's brains; `endpoints` replace some of the embedded parts.

    `schedule`: the schedule that all calls of the loop share; None makes one for these brains only. `vocabulary`: the
    dialogue's, if it exists already. Raises DialogueError for words without a pronunciation, MissingPart for a package
    that is not installed.
    """
    vocabulary = vocabulary or Vocabulary(dialogue)
    parts.decoders.teach(vocabulary)
    parts.voice.speak("Ready.", dialogue.speech, PCM16_24K)
    speech_to_text: SpeechToText = GrammarSpeechToText(
        dialogue,
        lambda: SpeechModel(parts.speech_model),
        lambda: Recogniser(parts.decoders, vocabulary),
    )
    text_to_speech: TextToSpeech = EspeakSpeech(parts.voice, dialogue.speech)
    make_answerer: Callable[[], Answerer] = partial(DialogueAnswerer, dialogue)
    if endpoints is not None:
        settings, spawn = endpoints.settings, endpoints.spawn
        if settings.transcription is not None:
            client = endpoints.connect(settings.transcription)
            speech_to_text = EndpointSpeechToText(
                settings.transcription, client, spawn, lambda: SpeechModel(parts.speech_model)
            )
        if settings.speech is not None:
            text_to_speech = EndpointSpeech(settings.speech, endpoints.connect(settings.speech), spawn, text_to_speech)
        if settings.chat is not None:
            make_answerer = partial(ChatAnswerer, settings.chat, endpoints.connect(settings.chat), spawn)

    shared_schedule = schedule or SliceSchedule()

    def make(turn_events: TurnEvents) -> LocalBrain:
        return LocalBrain(turn_events, speech_to_text, make_answerer(), text_to_speech, shared_schedule)

    return make


class EngineResources:
    """What an engine holds outside itself, to be released after its last call: endpoint clients and grammars."""

    def __init__(self) -> None:
        self._clients: list[Any] = []
        self._vocabulary: Vocabulary | None = None

    def open_client(self, connect: Callable[[Endpoint], Any], endpoint: Endpoint) -> Any:
        """Open an endpoint's client, which `close` closes."""
        client = connect(endpoint)
        self._clients.append(client)
        return client

    def use_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Remember the vocabulary that the decoders learn for this engine."""
        self._vocabulary = vocabulary

    def forget_grammars(self) -> None:
        """Remove the engine's grammars from the decoders. Takes a few ms for each grammar, so call it in a thread."""
        vocabulary, self._vocabulary = self._vocabulary, None
        if vocabulary is not None:
            shared_parts().decoders.forget(vocabulary)

    async def close(self) -> None:
        """Close the connections to endpoints."""
        while self._clients:
            await self._clients.pop().close()


class LocalEngine:
    """One version of an agent on the embedded model. The constructor loads its parts, so call it in a thread."""

    def __init__(
        self,
        agent: Agent,
        clock: Clock,
        ids: Ids,
        endpoints: EndpointAccess | None = None,
        schedule: SliceSchedule | None = None,
    ) -> None:
        """`schedule`: the schedule that all calls on this loop share. Raises MissingPart where a part is not installed
        or a word has no pronunciation.
        """
        assert agent.offline is not None  # checked when the agent's file was read
        self._clock = clock
        self._ids = ids
        self.resources = EngineResources()
        if endpoints is not None:
            endpoints = replace(endpoints, connect=partial(self.resources.open_client, endpoints.connect))
        try:
            dialogue, parts = compile_dialogue(agent.offline), shared_parts()
            vocabulary = Vocabulary(dialogue)
            self.resources.use_vocabulary(vocabulary)
            self._brains = local_brain_factory(dialogue, parts, endpoints, schedule, vocabulary)
        except DialogueError as error:
            self.resources.forget_grammars()
            raise MissingPart(f"{agent.name}: offline.{error.field}: {error.message}") from error

    def refuses(self, attempt: int) -> int | None:
        """The HTTP status that refuses a dial; always None, because this model accepts every dial."""
        return None

    def server(self, emit: Callable[[bytes], None], on_drop: Callable[[], None], attempt: int) -> LocalServer:
        """Make the Realtime server of one call; it sends its messages through `emit`."""
        now_ms, wall_s = self._clock.now_ms(), self._clock.wall_s()
        return LocalServer(self._brains, self._ids, emit, now_ms=now_ms, wall_s=wall_s, model="local/offline")
