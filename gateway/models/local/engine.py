"""The embedded model as an engine: what is loaded once for all calls, and a server for each.

Loading takes some 0.7 s and 180 MB: in a thread, after the process is ready and before an agent's first call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from audio.formats import PCM16_24K
from gateway.models.local.backlog import Roster
from gateway.models.local.brain import LocalBrain
from gateway.models.local.chat import ChatMind
from gateway.models.local.detector import MissingPart, SpeechModel, load_speech_model
from gateway.models.local.dialogue import DialogueError, compile_dialogue
from gateway.models.local.endpoints import Endpoint, Outside
from gateway.models.local.listeners import GrammarListener, Listener
from gateway.models.local.mind import DialogueMind, Mind
from gateway.models.local.recogniser import DecoderPool, Recogniser, Vocabulary
from gateway.models.local.remote_hearing import RemoteListener
from gateway.models.local.remote_speech import RemoteMouth
from gateway.models.local.rules import Dialogue
from gateway.models.local.server import LocalServer
from gateway.models.local.speaking import Mouth, OwnMouth
from gateway.models.local.voice import Voice, process_voice
from gateway.realtime.brain import BrainFactory, Ear
from sessions.agent import Agent
from sessions.ports import Clock, Ids

DECODERS = 3  # how many callers can speak at the very same time; a further one is decoded a moment later


@dataclass(frozen=True, slots=True)
class Parts:
    """What all agents and calls of a process share."""

    speech_model: Any
    decoders: DecoderPool
    voice: Voice


@cache
def shared_parts() -> Parts:
    """Load them, once. Raises MissingPart."""
    parts = Parts(load_speech_model(), DecoderPool(DECODERS), process_voice())
    SpeechModel(parts.speech_model).probability(bytes(1024))  # the first run is slower than all others
    return parts


def local_brain_factory(
    dialogue: Dialogue,
    parts: Parts,
    outside: Outside | None = None,
    roster: Roster | None = None,
    vocabulary: Vocabulary | None = None,
) -> BrainFactory:
    """Brains for a dialogue's calls, with endpoints in place of some parts if there is an `outside`.

    `roster`: the one that the loop's other calls share; None for one of their own. `vocabulary`: the dialogue's, if it
    has been made. Raises DialogueError for words that the recogniser cannot pronounce, MissingPart for an absent
    package.
    """
    vocabulary = vocabulary or Vocabulary(dialogue)
    parts.decoders.teach(vocabulary)
    parts.voice.speak("Ready.", dialogue.speech, PCM16_24K)
    listener: Listener = GrammarListener(
        dialogue,
        lambda: SpeechModel(parts.speech_model),
        lambda: Recogniser(parts.decoders, vocabulary),
    )
    mouth: Mouth = OwnMouth(parts.voice, dialogue.speech)
    think: Callable[[], Mind] = partial(DialogueMind, dialogue)
    if outside is not None:
        settings, spawn = outside.settings, outside.spawn
        if settings.transcription is not None:
            client = outside.connect(settings.transcription)
            listener = RemoteListener(settings.transcription, client, spawn, lambda: SpeechModel(parts.speech_model))
        if settings.speech is not None:
            mouth = RemoteMouth(settings.speech, outside.connect(settings.speech), spawn, mouth)
        if settings.chat is not None:
            think = partial(ChatMind, settings.chat, outside.connect(settings.chat), spawn)

    slots = roster or Roster()

    def make(ear: Ear) -> LocalBrain:
        return LocalBrain(ear, listener, think(), mouth, slots)

    return make


class Remains:
    """What an engine leaves behind in what all share, once nobody uses it any more."""

    def __init__(self) -> None:
        self._clients: list[Any] = []
        self._vocabulary: Vocabulary | None = None

    def client(self, connect: Callable[[Endpoint], Any], endpoint: Endpoint) -> Any:
        """A client that is to be closed."""
        client = connect(endpoint)
        self._clients.append(client)
        return client

    def taught(self, vocabulary: Vocabulary) -> None:
        """The decoders have learnt this."""
        self._vocabulary = vocabulary

    def unlearn(self) -> None:
        """Have the decoders forget its grammars; a few milliseconds for each, so in a thread."""
        vocabulary, self._vocabulary = self._vocabulary, None
        if vocabulary is not None:
            shared_parts().decoders.forget(vocabulary)

    async def close(self) -> None:
        """Close the connections to endpoints."""
        while self._clients:
            await self._clients.pop().close()


class LocalEngine:
    """One version of an agent on the embedded model. Making it loads what it needs, so make it in a thread."""

    def __init__(
        self, agent: Agent, clock: Clock, ids: Ids, outside: Outside | None = None, roster: Roster | None = None
    ) -> None:
        """`roster`: the one that all calls on this loop share. Raises MissingPart where a part is not installed, or a
        word has no pronunciation.
        """
        assert agent.offline is not None  # the file was checked
        self._clock = clock
        self._ids = ids
        self.remains = Remains()
        if outside is not None:
            outside = replace(outside, connect=partial(self.remains.client, outside.connect))
        try:
            dialogue, parts = compile_dialogue(agent.offline), shared_parts()
            vocabulary = Vocabulary(dialogue)
            self.remains.taught(vocabulary)
            self._brains = local_brain_factory(dialogue, parts, outside, roster, vocabulary)
        except DialogueError as error:
            self.remains.unlearn()
            raise MissingPart(f"{agent.name}: offline.{error.field}: {error.message}") from error

    def refuses(self, attempt: int) -> int | None:
        """It never does."""
        return None

    def server(self, emit: Callable[[bytes], None], on_drop: Callable[[], None], attempt: int) -> LocalServer:
        """A server for one call."""
        now_ms, wall_s = self._clock.now_ms(), self._clock.wall_s()
        return LocalServer(self._brains, self._ids, emit, now_ms=now_ms, wall_s=wall_s, model="local/offline")
