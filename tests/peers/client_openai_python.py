"""The `openai` package's realtime client, with what its users write themselves: playback and truncation."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from client_voice import ClientCall
from openai import AsyncOpenAI

client_call = ClientCall()
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather at a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}


class Playing:
    """The item that is playing, and how much of it was played."""

    item_id: str | None = None
    began_ms = 0.0


async def answer(connection: Any, event: Any, playing: Playing) -> None:
    notes, loudspeaker = client_call.notes, client_call.loudspeaker
    match event.type:
        case "response.output_audio.delta":
            if event.item_id != playing.item_id:
                playing.item_id, playing.began_ms = event.item_id, loudspeaker.got_ms
            loudspeaker.play(base64.b64decode(event.delta))
        case "response.output_audio_transcript.done":
            notes.agent_said.append(event.transcript)
        case "conversation.item.input_audio_transcription.completed":
            notes.caller_said.append(event.transcript)
        case "input_audio_buffer.speech_started" if not loudspeaker.silent:
            heard_ms = int(loudspeaker.heard_ms - playing.began_ms)
            loudspeaker.clear()
            notes.interruptions += 1
            assert playing.item_id is not None
            await connection.conversation.item.truncate(item_id=playing.item_id, content_index=0, audio_end_ms=heard_ms)
        case "response.output_item.done" if event.item.type == "function_call":
            output = client_call.weather(**json.loads(event.item.arguments))
            item = {"type": "function_call_output", "call_id": event.item.call_id, "output": output}
            await connection.conversation.item.create(item=item)
        case "response.done" if any(item.type == "function_call" for item in event.response.output):
            await connection.response.create()
        case "error":
            notes.errors.append(event.error.message)


async def main() -> None:
    client = AsyncOpenAI(api_key=client_call.key, base_url=f"{client_call.url}/v1")
    async with client.realtime.connect(model=client_call.agent) as connection, asyncio.TaskGroup() as tasks:

        async def listen() -> None:
            playing = Playing()
            while True:
                text = await connection.recv_bytes()
                client_call.notes.events.append(json.loads(text))
                await answer(connection, connection.parse_event(text), playing)

        async def speak() -> None:
            async for frame in client_call.microphone.frames():
                await connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())

        async def typed(text: str) -> None:
            content = [{"type": "input_text", "text": text}]
            item = {"type": "message", "role": "user", "content": content}
            await connection.conversation.item.create(item=item)  # type: ignore[arg-type]
            await connection.response.create()

        await connection.session.update(session={"type": "realtime", "tools": [TOOL]})  # type: ignore[list-item]
        jobs = [tasks.create_task(listen()), tasks.create_task(speak())]
        await client_call.talk(typed)
        for job in jobs:
            job.cancel()


client_call.run(main)
