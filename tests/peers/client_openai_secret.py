"""The `openai` package creates a client secret, connects with it, and asks to see the agent's own tool calls."""

from __future__ import annotations

import json

from client_voice import ClientCall
from openai import AsyncOpenAI

client_call = ClientCall()


async def main() -> None:
    server = AsyncOpenAI(api_key=client_call.key, base_url=f"{client_call.url}/v1")
    secret = await server.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60}, session={"type": "realtime", "model": client_call.agent}
    )
    client_call.notes.secret = json.loads(secret.model_dump_json())
    browser = AsyncOpenAI(api_key=secret.value, base_url=f"{client_call.url}/v1")
    async with browser.realtime.connect(model=client_call.agent, extra_query={"server_tools": "show"}) as connection:
        content = [{"type": "input_text", "text": "Good day."}]
        item = {"type": "message", "role": "user", "content": content}
        await connection.conversation.item.create(item=item)  # type: ignore[arg-type]
        await connection.response.create()
        answered = False
        while not answered:
            text = await connection.recv_bytes()
            client_call.notes.events.append(json.loads(text))
            event = connection.parse_event(text)
            if event.type == "response.done":
                answered = any(item.type == "message" for item in event.response.output or [])


client_call.run(main)
