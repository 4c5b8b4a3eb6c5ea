"""Pipecat's realtime service in an ordinary pipeline, between a microphone and a loudspeaker as its transport."""

from __future__ import annotations

import asyncio
import json

from client_voice import RATE_HZ, ClientCall
from loguru import logger
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMMessagesAppendFrame,
    OutputAudioRawFrame,
    StartFrame,
    TranscriptionFrame,
    TTSTextFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

client_call = ClientCall()
logger.remove()
logger.add(lambda line: print(line, end=""), level="WARNING")
# The size of a sound card's buffer.
BUFFER_MS = 40


class CallerInput(BaseInputTransport):
    """The caller's microphone."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self.create_task(self._listen())

    async def _listen(self) -> None:
        async for sound in client_call.microphone.frames():
            await self.push_audio_frame(InputAudioRawFrame(audio=sound, sample_rate=RATE_HZ, num_channels=1))


class CallerOutput(BaseOutputTransport):
    """The caller's loudspeaker, which takes sound as fast as it plays it."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        client_call.loudspeaker.play(frame.audio)
        while client_call.loudspeaker.queue_ms > BUFFER_MS:
            await asyncio.sleep(0.005)
        return True


class Watch(BaseObserver):
    """Records each frame once, where it leaves the service or the loudspeaker."""

    def __init__(self, service: OpenAIRealtimeLLMService, caller_output: CallerOutput) -> None:
        super().__init__()
        self._service = service
        self._caller_output = caller_output
        self.speaking = False

    async def on_push_frame(self, data: FramePushed) -> None:
        frame: Frame = data.frame
        notes = client_call.notes
        if isinstance(frame, ErrorFrame):
            notes.errors.append(frame.error)
        if data.source is self._service and isinstance(frame, TranscriptionFrame):
            notes.caller_said.append(frame.text)
        if data.source is not self._caller_output:
            return
        match frame:
            case TTSTextFrame():
                notes.agent_said.append(frame.text.strip())
            case BotStartedSpeakingFrame():
                self.speaking = True
            case BotStoppedSpeakingFrame():
                self.speaking = False
            case InterruptionFrame() if self.speaking:
                notes.interruptions += 1
                client_call.loudspeaker.clear()


async def get_weather(params: FunctionCallParams, place: str) -> None:
    """The weather at a place.

    Args:
        place: The place.
    """
    await params.result_callback(json.loads(client_call.weather(place)))


def noting(message: str) -> object:
    client_call.notes.events.append(json.loads(message))
    return parse(message)


parse = events.parse_server_event
events.parse_server_event = noting  # only to record the events: Pipecat parses them as before


async def main() -> None:
    service = OpenAIRealtimeLLMService(
        api_key=client_call.key,
        base_url=f"{client_call.url.replace('http', 'ws', 1)}/v1/realtime",
        settings=OpenAIRealtimeLLMService.Settings(
            model=client_call.agent,
            system_instruction="Be kind.",
            session_properties=events.SessionProperties(
                audio=events.AudioConfiguration(
                    input=events.AudioInput(
                        transcription=events.InputAudioTranscription(),
                        turn_detection=events.SemanticTurnDetection(),
                        noise_reduction=events.InputAudioNoiseReduction(type="near_field"),
                    )
                )
            ),
        ),
    )
    params = TransportParams(audio_in_enabled=True, audio_out_enabled=True, audio_out_end_silence_secs=0)
    caller_input, caller_output = CallerInput(params), CallerOutput(params)
    context = LLMContext([], tools=[get_weather])
    user, assistant = LLMContextAggregatorPair(context)
    watch = Watch(service, caller_output)
    client_call.quiet = lambda: client_call.loudspeaker.silent and not watch.speaking
    worker = PipelineWorker(
        Pipeline([caller_input, user, service, caller_output, assistant]),
        params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
        observers=[watch],
        enable_rtvi=False,
    )

    async def typed(text: str) -> None:
        await worker.queue_frames([LLMMessagesAppendFrame([{"role": "user", "content": text}], run_llm=True)])

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(runner.run())
        await client_call.talk(typed)
        print("context:", context.get_messages())
        await worker.cancel()
        await running


client_call.run(main)
