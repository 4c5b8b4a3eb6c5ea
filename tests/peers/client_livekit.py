"""LiveKit's agent session over its OpenAI realtime model. The room is this file's microphone and loudspeaker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from client_voice import RATE_HZ, ClientCall
from livekit import rtc
from livekit.agents import Agent, AgentSession, ChatContext, function_tool, io
from livekit.plugins import openai

client_call = ClientCall()
POLL_S = 0.01


class CallerInput(io.AudioInput):
    """The caller's microphone."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self._frames: AsyncIterator[bytes] = client_call.microphone.frames()

    async def __anext__(self) -> rtc.AudioFrame:
        frame = await self._frames.__anext__()
        return rtc.AudioFrame(frame, RATE_HZ, 1, len(frame) // 2)


class CallerOutput(io.AudioOutput):
    """The caller's loudspeaker, which reports how far it has played."""

    def __init__(self) -> None:
        capabilities = io.AudioOutputCapabilities(pause=False)
        super().__init__(label="loudspeaker", capabilities=capabilities, sample_rate=RATE_HZ)
        self._began_ms: float | None = None
        self._playing: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if self._began_ms is None:
            self._began_ms = client_call.loudspeaker.got_ms
            self.on_playback_started(created_at=time.time())
        client_call.loudspeaker.play(bytes(frame.data))

    def flush(self) -> None:
        super().flush()
        if self._began_ms is not None and self._playing is None:
            self._playing = asyncio.get_running_loop().create_task(self._play_out())

    def clear_buffer(self) -> None:
        if self._began_ms is None:
            return
        heard_ms = client_call.loudspeaker.heard_ms
        client_call.loudspeaker.clear()
        client_call.notes.interruptions += 1
        if self._playing is not None:
            self._playing.cancel()
        self._over(heard_ms, interrupted=True)

    async def _play_out(self) -> None:
        while not client_call.loudspeaker.silent:
            await asyncio.sleep(POLL_S)
        self._over(client_call.loudspeaker.heard_ms, interrupted=False)

    def _over(self, heard_ms: float, *, interrupted: bool) -> None:
        assert self._began_ms is not None
        position_s = max(0.0, heard_ms - self._began_ms) / 1000
        self._began_ms = self._playing = None
        self.on_playback_finished(playback_position=position_s, interrupted=interrupted)


@function_tool
async def get_weather(place: str) -> str:
    """The weather at a place."""
    return client_call.weather(place)


async def main() -> None:
    notes = client_call.notes
    model = openai.realtime.RealtimeModel(
        model=client_call.agent, base_url=f"{client_call.url}/v1", api_key=client_call.key
    )
    connect = model.session

    def watched(**options: Any) -> Any:
        connection = connect(**options)
        connection.on("openai_server_event_received", notes.events.append)
        return connection

    model.session = watched  # type: ignore[method-assign]  # only to record the events
    session: AgentSession[None] = AgentSession(llm=model, vad=None, aec_warmup_duration=None)
    session.input.audio, session.output.audio = CallerInput(), CallerOutput()

    @session.on("conversation_item_added")
    def _(event: object) -> None:
        item = event.item  # type: ignore[attr-defined]
        if item.type == "message":
            (notes.agent_said if item.role == "assistant" else notes.caller_said).append(item.text_content or "")

    @session.on("error")
    def _(event: object) -> None:
        notes.errors.append(str(event.error))  # type: ignore[attr-defined]

    async def typed(text: str) -> None:
        session.generate_reply(user_input=text)

    # From an earlier call. The session waits until the server confirms each item.
    history = ChatContext()
    history.add_message(role="user", content="Are you open on Sundays?")
    history.add_message(role="assistant", content="No, we are closed then.")
    await session.start(Agent(instructions="Be kind.", tools=[get_weather], chat_ctx=history))
    await client_call.talk(typed)
    await session.aclose()


client_call.run(main)
