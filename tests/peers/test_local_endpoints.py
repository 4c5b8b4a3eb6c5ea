"""gateway/models/local/endpoints.py and chat.py against a small OpenAI-compatible server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from local_world import LocalCall, front_desk, parts_or_skip, spoken

from gateway.models.local.engine import local_brain_factory
from sessions.ports import JsonObject

pytest.importorskip("openai", reason="needs openai: pip install 'patchbay[openai]'")
uvicorn = pytest.importorskip("uvicorn")

from gateway.models.local.chat import APOLOGY  # noqa: E402
from gateway.models.local.endpoints import Endpoint, LocalSettings, Outside, client_of  # noqa: E402

pytestmark = [pytest.mark.openai_sdk, pytest.mark.sockets]

LOOKUP: JsonObject = {
    "type": "function",
    "name": "lookup",
    "description": "Looks up.",
    "parameters": {"type": "object"},
}


@dataclass
class FakeOpenAI:
    """Answers as told, and keeps what it was asked."""

    chats: list[list[dict[str, Any]]] = field(default_factory=list)  # deltas of each coming answer
    asked: list[dict[str, Any]] = field(default_factory=list)
    transcript: str = "where are you"
    status: int = 200
    heard_bytes: int = 0

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            self.asked.append(await request.json())
            if self.status != 200:
                return Response(status_code=self.status, content=b"{}")
            deltas = self.chats.pop(0)

            async def stream() -> AsyncIterator[str]:
                for delta in deltas:
                    piece = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
                    yield f"data: {json.dumps({**piece, 'choices': [{'index': 0, 'delta': delta}]})}\n\n"
                yield "data: [DONE]\n\n"

            return StreamingResponse(stream(), media_type="text/event-stream")

        @app.post("/v1/audio/transcriptions")
        async def transcribe(request: Request) -> Response:
            self.heard_bytes = len(await request.body())
            return Response(
                json.dumps({"text": self.transcript}), status_code=self.status, media_type="application/json"
            )

        @app.post("/v1/audio/speech")
        async def speech(request: Request) -> Response:
            self.asked.append(await request.json())
            tone = (8000 * np.sin(np.arange(24_000) * 0.1)).astype("<i2").tobytes()
            return Response(tone, status_code=self.status, media_type="audio/pcm")

        return app


class LoopbackServer(uvicorn.Server):  # type: ignore[misc, name-defined]
    """uvicorn without a hand on the process's signals."""

    def install_signal_handlers(self) -> None:
        return

    def capture_signals(self) -> Any:
        return nullcontext()


def run(fake: FakeOpenAI, parts: frozenset[str], test: Callable[[LocalCall, Until], Awaitable[None]]) -> None:
    """A call on a brain with endpoints for these parts, all at the fake server."""

    async def main() -> None:
        server = LoopbackServer(uvicorn.Config(fake.app(), port=0, log_level="error", ws="none", lifespan="off"))
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", "m")
            settings = LocalSettings(**dict.fromkeys(parts, endpoint))
            clients = []

            def connect(endpoint: Endpoint) -> Any:
                clients.append(client_of(endpoint))
                return clients[-1]

            outside = Outside(settings, tasks.create_task, connect)
            make = local_brain_factory(front_desk(), parts_or_skip(), outside)
            call = LocalCall(make)

            async def until(done: Callable[[], bool]) -> None:
                while not done():
                    await asyncio.sleep(0.01)
                    call.advance(20)

            await test(call, until)
            call.brain.close()
            for client in clients:
                await client.close()
            server.should_exit = True

    asyncio.run(main())


Until = Callable[[Callable[[], bool]], Awaitable[None]]


def test_a_chat_endpoint_answers_sentence_by_sentence_and_calls_tools() -> None:
    fake = FakeOpenAI(
        chats=[
            [
                {"role": "assistant", "content": "Let me see. I am loo"},
                {"content": "king."},
                {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "lookup", "arguments": '{"a"'}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
            ],
            [{"content": "Found it."}],
        ]
    )

    async def test(call: LocalCall, until: Until) -> None:
        call.brain.configured({"instructions": "Be kind.", "tools": [LOOKUP]})
        answer = call.type("Look it up")
        await until(lambda: answer.finished)
        assert answer.text == "Let me see. I am looking."
        assert answer.sound
        assert [(name, json.loads(arguments)) for _, name, arguments in answer.calls] == [("lookup", {"a": 1})]
        answer = call.tool_gives(found=True)
        await until(lambda: answer.finished)
        assert answer.text == "Found it."

    run(fake, frozenset({"chat"}), test)
    first, second = fake.asked
    assert first["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Look it up"},
    ]
    assert first["tools"][0]["function"]["name"] == "lookup"
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert second["messages"][3]["tool_call_id"] == second["messages"][2]["tool_calls"][0]["id"]


def test_a_chat_endpoint_that_fails_costs_an_apology() -> None:
    async def test(call: LocalCall, until: Until) -> None:
        answer = call.type("Hello")
        await until(lambda: answer.finished)
        assert answer.text == APOLOGY

    run(FakeOpenAI(status=500), frozenset({"chat"}), test)


def test_an_interrupted_answer_is_no_longer_read() -> None:
    fake = FakeOpenAI(chats=[[{"content": "One. Two. Three. "}] * 50])

    async def test(call: LocalCall, until: Until) -> None:
        answer = call.type("Count")
        await until(lambda: bool(answer.sound))
        answer.ended = True
        call.brain.stopped(answer.id)
        call.advance(1000)
        assert call.brain.deadline_ms is None

    run(fake, frozenset({"chat"}), test)


def test_a_transcription_endpoint_hears_what_no_grammar_holds() -> None:
    fake = FakeOpenAI(transcript=" Oh, and where are you exactly? ")

    async def test(call: LocalCall, until: Until) -> None:
        call.hear(spoken("the quick brown fox jumps over the lazy dog"))
        await until(lambda: bool(call.ear.said) and call.ear.responses[0].finished)
        assert call.ear.said == ["Oh, and where are you exactly?"]
        assert "Quay Street" in call.ear.responses[0].text

    run(fake, frozenset({"transcription"}), test)
    assert fake.heard_bytes > 40_000


def test_a_transcription_endpoint_that_fails_is_not_understood() -> None:
    async def test(call: LocalCall, until: Until) -> None:
        call.hear(spoken("hello"))
        await until(lambda: bool(call.ear.said) and call.ear.responses[0].finished)
        assert call.ear.said == [""]

    run(FakeOpenAI(status=503), frozenset({"transcription"}), test)


def test_a_speech_endpoint_speaks() -> None:
    fake = FakeOpenAI()

    async def test(call: LocalCall, until: Until) -> None:
        answer = call.type("Where are you?")
        await until(lambda: answer.finished)
        assert len(answer.sound) == 2 * 48_000  # a second for each sentence

    run(fake, frozenset({"speech"}), test)
    assert fake.asked[0]["input"] == "We are at twelve Quay Street, right by the old harbour."


def test_a_speech_endpoint_that_fails_is_stood_in_for() -> None:
    async def test(call: LocalCall, until: Until) -> None:
        answer = call.type("Where are you?")
        await until(lambda: answer.finished)
        assert len(answer.sound) > 48_000

    run(FakeOpenAI(status=500), frozenset({"speech"}), test)
