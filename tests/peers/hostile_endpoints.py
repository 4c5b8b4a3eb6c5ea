"""Hostile endpoints for the parts of the local model: chat, transcription and speech, all in one fake.

The words of a chat or speech request select the case (`chat-7;`, `speech-7;`). A transcription request has no words, so
one call at a time sets the case of the next one.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from contextlib import suppress
from typing import Any

from peers.hostile_calls import converse, finish_any, look_up, note, talk
from peers.hostile_endpoint_kinds import CHATS, PCM, SPEECHES, TRANSCRIPTIONS, chat, sse
from peers.hostile_table import Case, Provoke, Seen, World
from peers.hostile_wire import Request, Wire, Writer, whole
from peers.server_callers import calling
from websockets.exceptions import ConnectionClosed

PART = "local model's"
CHAT_NAMES, SPEECH_NAMES, HEAR_NAMES = list(CHATS), list(SPEECHES), list(TRANSCRIPTIONS)
# How long the gateway waits for the first piece.
FIRST_S = 12.0
SPOKEN_AS = "hello there"


class EndpointsFake:
    """One server for all three parts."""

    def __init__(self) -> None:
        self.wire = Wire(self._answer)
        self.transcription_lock = asyncio.Lock()  # held while `hears` is set
        self.hears: str | None = None
        self.heard = asyncio.Event()

    async def _answer(self, request: Request, writer: Writer) -> None:
        if request.path.endswith("/chat/completions"):
            await self._chat(request, writer)
        elif request.path.endswith("/audio/speech"):
            await self._speech(request, writer)
        elif request.path.endswith("/audio/transcriptions"):
            kind, self.hears = self.hears, None
            self.heard.set()
            if kind is None:
                writer.write(whole(json.dumps({"text": "ping"}).encode()))
            else:
                await TRANSCRIPTIONS[kind].answer(writer)
        else:
            writer.write(whole(b"no", "text/plain", "404 Not Found"))

    async def _chat(self, request: Request, writer: Writer) -> None:
        words = _last_words(request.json()["messages"])
        if found := re.search(r"do chat-(\d+);", words):
            await CHATS[CHAT_NAMES[int(found[1])]].answer(writer)
        elif found := re.search(r"do (speech-\d+);", words):
            writer.write(sse(chat(f"This is {found[1]} now.")))
        else:
            writer.write(sse(chat("Pong." if "ping" in words else "Well.")))

    async def _speech(self, request: Request, writer: Writer) -> None:
        found = re.search(r"speech-(\d+)", str(request.json().get("input")))
        if found is None:
            writer.write(whole(PCM, "audio/pcm"))
        else:
            await SPEECHES[SPEECH_NAMES[int(found[1])]].answer(writer)


def _last_words(messages: list[dict[str, Any]]) -> str:
    """The caller's latest words."""
    return str([message for message in messages if message["role"] == "user"][-1:])


def _hear(kind: str) -> Provoke:
    """A spoken call, from a recording, whose transcription is the case."""

    async def provoke(world: World, case: Case) -> Seen:
        seen, fake = Seen(), world.endpoints
        async with calling(world.server, "local") as caller:
            seen.session_id = caller.session_id
            async with fake.transcription_lock:
                fake.hears = kind
                fake.heard.clear()
                part = {"type": "input_audio", "audio": b64encode(_spoken()).decode()}
                item = {"type": "message", "role": "user", "content": [part]}
                await caller.send("conversation.item.create", item=item)
                await caller.send("response.create")
                async with asyncio.timeout(10):
                    await fake.heard.wait()
            with suppress(ConnectionClosed):
                await finish_any(caller, case.wait_s)
                seen.answered_again = await converse(caller, "ping", case.wait_s)
            note(seen, caller)
        return await look_up(world, seen)

    return provoke


_sound: list[bytes] = []


def _spoken() -> bytes:
    """A caller's words, PCM16 at 24 kHz."""
    if not _sound:
        from gateway.models.local.speech.voice import speak_pcm16_24k

        _sound.append(speak_pcm16_24k(SPOKEN_AS) + bytes(48_000))
    return _sound[0]


CASES = [
    *(
        Case(f"{PART} chat", kind, talk("local", f"do chat-{number};"), CHATS[kind].says, CHATS[kind].slow, 40.0)
        for number, kind in enumerate(CHAT_NAMES)
    ),
    *(
        Case(
            f"{PART} speech",
            kind,
            talk("local", f"do speech-{number};"),
            SPEECHES[kind].says,
            SPEECHES[kind].slow,
            40.0,
        )
        for number, kind in enumerate(SPEECH_NAMES)
    ),
    *(
        Case(f"{PART} transcription", kind, _hear(kind), TRANSCRIPTIONS[kind].says, TRANSCRIPTIONS[kind].slow, 40.0)
        for kind in HEAR_NAMES
    ),
]
