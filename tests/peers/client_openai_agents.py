"""The `openai-agents` package's realtime session: it runs the tool, tracks playback and truncates by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from agents.realtime import RealtimeAgent, RealtimeModelConfig, RealtimeRunner, RealtimeSession
from agents.realtime.items import RealtimeItem
from client_voice import ClientCall

from agents import function_tool, set_tracing_disabled

client_call = ClientCall()
set_tracing_disabled(True)  # its traces would go to the vendor


@function_tool
def get_weather(place: str) -> str:
    """The weather at a place."""
    return client_call.weather(place)


def said(history: list[RealtimeItem], role: str) -> list[str]:
    messages = [item for item in history if item.type == "message" and item.role == role]
    parts: list[Any] = [part for message in messages for part in message.content]
    return [getattr(part, "transcript", None) or getattr(part, "text", None) or "" for part in parts]


async def listen(session: RealtimeSession) -> None:
    notes = client_call.notes
    async for event in session:
        match event.type:
            case "audio":
                client_call.loudspeaker.play(event.audio.data)
            case "audio_interrupted":
                client_call.loudspeaker.clear()
                notes.interruptions += 1
            case "history_updated":
                notes.agent_said = said(event.history, "assistant")
                notes.caller_said = said(event.history, "user")
            case "raw_model_event" if event.data.type == "raw_server_event":
                notes.events.append(event.data.data)
            case "error":
                notes.errors.append(str(event.error))


async def speak(session: RealtimeSession) -> None:
    async for frame in client_call.microphone.frames():
        await session.send_audio(frame)


async def main() -> None:
    runner = RealtimeRunner(RealtimeAgent(name="caller", instructions="Be kind.", tools=[get_weather]))
    url = f"{client_call.url.replace('http', 'ws', 1)}/v1/realtime?model={client_call.agent}"
    model_config: RealtimeModelConfig = {"url": url, "api_key": client_call.key}
    async with await runner.run(model_config=model_config) as session, asyncio.TaskGroup() as tasks:
        jobs = [tasks.create_task(listen(session)), tasks.create_task(speak(session))]
        await client_call.talk(session.send_message)
        for job in jobs:
            job.cancel()


client_call.run(main)
