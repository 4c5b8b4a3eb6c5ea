"""A call over the real socket: 20 ms frames in real time, turn after turn, as from a person with a microphone.

Each turn starts when the agent has finished (or barges in at its moment); silence is sent in between, as a microphone
does. The agent's sound is played on a timeline of its own, stopped when the agent hears the caller, and reported back.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
import pybase64
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from audio.formats import PCM16_24K
from gateway.phone.plan import SpokenTurn, frames_of
from gateway.phone.playback import Playback
from gateway.phone.report import CallReport, ToolRow, TurnRow, measure
from sessions.ports import Clock

FRAME_MS = 20
SETTLED_MS = 400  # of quiet after an answer, before the next turn: another answer may follow at once
SILENCE = bytes(PCM16_24K.bytes_for_ms(FRAME_MS))


@dataclass(frozen=True, slots=True)
class LineOptions:
    """How to call. Times in seconds."""

    url: str  # ws://host/v1/realtime, with its query
    headers: Mapping[str, str]
    answer_timeout_s: float = 30.0
    linger_s: float = 0.5  # of the last answer's echo, before hanging up
    tls: ssl.SSLContext | None = None  # for wss:// only; None: the system's authorities


@dataclass(slots=True)
class _Talk:
    """What the receiver knows, and the sender waits for."""

    open_responses: set[str] = field(default_factory=set)
    open_tools: set[str] = field(default_factory=set)
    answers: int = 0  # responses that are over and called no tool
    caller_heard: bool = False  # the agent hears the caller, or has heard and not yet begun to answer
    quiet_since_ms: int = 0
    closed: bool = False


class PhoneCall:
    """One call. `run` returns the report; what is said meanwhile goes to `tell`, one line each, for the terminal."""

    def __init__(self, turns: Sequence[SpokenTurn], agent: str, clock: Clock, tell: Callable[[str], None]) -> None:
        self._turns = turns
        self._clock = clock
        self._tell = tell
        self._talk = _Talk()
        self._playback = Playback()
        self._caller = bytearray()  # all that was sent, from the call's start
        self._begin_ms = 0
        self.report = CallReport(agent)
        self._row: TurnRow | None = None
        self._rows: dict[str, TurnRow | None] = {}  # which turn each response answers; None: the greeting
        self._spoken: dict[str, TurnRow | None] = {}  # the same for each item that has sounded
        self._began_ms: dict[int, int] = {}  # when the answer to each turn began to sound, by the turn's number

    async def run(self, options: LineOptions) -> CallReport:
        """Make the call. Raises OSError and websockets' errors where it cannot be made."""
        more: dict[str, Any] = {} if options.tls is None else {"ssl": options.tls}
        async with connect(
            options.url, additional_headers=options.headers, compression=None, max_size=None, **more
        ) as socket:
            self._begin_ms = self._clock.now_ms()
            await socket.send(_json({"type": "session.update", "session": _SESSION}))
            try:
                async with asyncio.TaskGroup() as tasks:
                    listening = tasks.create_task(self._listen(socket))
                    await self._speak(socket, options)
                    await socket.close()
                    await listening
            except* ConnectionClosed:
                pass  # the other side hung up: the report says so
        self.report.close_code = socket.close_code
        caller, agent = self.tracks()
        measure(self.report.turns, caller, agent)
        return self.report

    def tracks(self) -> tuple[bytes, bytes]:
        """Both sides as heard, 24 kHz PCM16, of one length."""
        length_ms = max(PCM16_24K.ms_of(len(self._caller) // 2), round(self._playback.until_ms))
        size = PCM16_24K.bytes_for_ms(length_ms)
        return bytes(self._caller[:size]) + bytes(max(0, size - len(self._caller))), self._playback.track(length_ms)

    # ---- speaking

    async def _speak(self, socket: ClientConnection, options: LineOptions) -> None:
        await self._silence_until(socket, self._greeted, options.answer_timeout_s)
        for number, turn in enumerate(self._turns, start=1):
            if turn.barge_in_ms is not None and number > 1:
                moment = partial(self._sounded_for, turn.barge_in_ms)
                await self._silence_until(socket, moment, options.answer_timeout_s)
            if self._talk.closed:
                self.report.turns.append(TurnRow(number, turn.label, self._now_ms(), error="the call was over"))
                continue
            answered = partial(self._finished, self._talk.answers)
            await self._say(socket, number, turn)
            if number < len(self._turns) and self._turns[number].barge_in_ms is not None:
                continue
            done = await self._silence_until(socket, answered, options.answer_timeout_s)
            if not done and self._row is not None:
                self._row.error = f"no answer within {options.answer_timeout_s:g} s"
        await self._silence_for(socket, round(options.linger_s * 1000))
        if not self._talk.closed:
            self.report.ended = "caller hung up"

    async def _say(self, socket: ClientConnection, number: int, turn: SpokenTurn) -> None:
        self._row = TurnRow(number, turn.label, self._now_ms())
        self.report.turns.append(self._row)
        self._tell(f"caller  {turn.label}")
        for frame in frames_of(turn.pcm, FRAME_MS):
            if self._talk.closed:
                break
            await self._send(socket, frame.payload)
        self._row.end_ms = self._now_ms()

    async def _silence_until(self, socket: ClientConnection, done: Callable[[], bool], limit_s: float) -> bool:
        until_ms = self._now_ms() + round(limit_s * 1000)
        while not self._talk.closed and self._now_ms() < until_ms:
            if done():
                return True
            await self._send(socket, SILENCE)
        return done()

    async def _silence_for(self, socket: ClientConnection, ms: int) -> None:
        for _ in range(ms // FRAME_MS):
            if not self._talk.closed:
                await self._send(socket, SILENCE)

    async def _send(self, socket: ClientConnection, pcm: bytes) -> None:
        """Send one frame at its time: the n-th frame of the call goes out n frames after its start."""
        self._caller += pcm
        due_ms = PCM16_24K.ms_of(len(self._caller) // 2)
        try:
            await socket.send(_json({"type": "input_audio_buffer.append", "audio": pybase64.b64encode_as_string(pcm)}))
        except ConnectionClosed:
            self._talk.closed = True
            return
        await asyncio.sleep(max(0, due_ms - self._now_ms()) / 1000)

    # ---- what the sender waits for

    def _greeted(self) -> bool:
        """The greeting is over, or none has come in the first second and a half."""
        if self._talk.answers == 0 and not self._talk.open_responses:
            return self._now_ms() > 1500
        return self._finished(0)

    def _finished(self, answered: int) -> bool:
        talk = self._talk
        if talk.answers <= answered or talk.open_responses or talk.open_tools or talk.caller_heard:
            return False
        quiet_ms = self._now_ms() - max(talk.quiet_since_ms, round(self._playback.until_ms))
        return quiet_ms >= SETTLED_MS

    def _sounded_for(self, ms: int) -> bool:
        """The answer to this turn has sounded for so long; one that has finished sooner is not waited for."""
        begun_ms = self._began_ms.get(self._row.number) if self._row is not None else None
        return begun_ms is not None and self._now_ms() >= begun_ms + ms

    def _now_ms(self) -> int:
        return self._clock.now_ms() - self._begin_ms

    # ---- listening

    async def _listen(self, socket: ClientConnection) -> None:
        try:
            async for message in socket:
                await self._take(socket, orjson.loads(message))
        except ConnectionClosed:
            pass
        finally:
            self._talk.closed = True
            if not self.report.ended:
                self.report.ended = socket.close_reason or "the other side hung up"

    async def _take(self, socket: ClientConnection, event: dict[str, Any]) -> None:
        match event.get("type"):
            case "session.created":
                self.report.session_id = event["session"]["id"]
            case "response.output_audio.delta":
                self._sounds(event["response_id"], event["item_id"], pybase64.b64decode(event["delta"]))
            case "response.output_audio.done":
                self._playback.complete()
            case "input_audio_buffer.speech_started":
                self._talk.caller_heard = True
                await self._interrupted(socket)
            case "response.created":
                self._talk.caller_heard = False
                self._rows[event["response"]["id"]] = self._row
                self._talk.open_responses.add(event["response"]["id"])
            case "response.done":
                self._response_done(event["response"])
            case "conversation.item.input_audio_transcription.completed":
                self._understood(event.get("transcript", ""))
            case "response.output_audio_transcript.done":
                self._answered(event["response_id"], event.get("transcript", ""))
            case "response.output_text.done":
                self._answered(event["response_id"], event.get("text", ""))
            case "response.output_item.added" | "response.output_item.done":
                self._tool(event["type"], event["item"])
            case "error":
                self._tell(f"error   {event['error'].get('message')}")
            case _:
                pass

    def _sounds(self, response_id: str, item_id: str, pcm: bytes) -> None:
        begins_ms = self._playback.take(item_id, pcm, self._now_ms())
        row = self._spoken.setdefault(item_id, self._rows.get(response_id))
        if row is not None:
            self._began_ms.setdefault(row.number, begins_ms)

    async def _interrupted(self, socket: ClientConnection) -> None:
        cut = self._playback.cut(self._now_ms())
        if cut is None:
            return
        item_id, heard_ms = cut
        row = self._spoken.get(item_id)
        if row is not None:
            row.interrupted = True
        await socket.send(
            _json(
                {
                    "type": "conversation.item.truncate",
                    "item_id": item_id,
                    "content_index": 0,
                    "audio_end_ms": heard_ms,
                }
            )
        )

    def _response_done(self, response: dict[str, Any]) -> None:
        self._talk.open_responses.discard(response["id"])
        self._playback.complete()  # one that failed with the model's connection has not said so of its sound
        self._talk.quiet_since_ms = self._now_ms()
        kinds = {item.get("type") for item in response.get("output") or ()}
        if "mcp_call" not in kinds or "message" in kinds:
            self._talk.answers += 1
        if response.get("status") == "failed" and self._row is not None:
            self._row.error = "the answer failed"

    def _understood(self, text: str) -> None:
        if self._row is not None:
            self._row.heard = f"{self._row.heard} {text}".strip()
        self._tell(f"heard   {text}")

    def _answered(self, response_id: str, text: str) -> None:
        row = self._rows.get(response_id)
        if row is None:
            self.report.greeting = f"{self.report.greeting} {text}".strip()
        else:
            row.answer = f"{row.answer} {text}".strip()
        self._tell(f"agent   {text}")

    def _tool(self, kind: str, item: dict[str, Any]) -> None:
        if item.get("type") != "mcp_call":
            return
        if kind.endswith("added"):
            self._talk.open_tools.add(item["id"])
            return
        self._talk.open_tools.discard(item["id"])
        self._talk.quiet_since_ms = self._now_ms()
        problem = (item.get("error") or {}).get("message")
        row = ToolRow(item["name"], item["arguments"], item.get("output"), problem)
        if self._row is not None:
            self._row.tools.append(row)
        self._tell(f"tool    {row.name} {row.arguments} -> {row.output if problem is None else problem}")


def _json(event: Mapping[str, Any]) -> str:
    return orjson.dumps(event).decode()


_SESSION = {
    "type": "realtime",
    "audio": {
        "input": {"format": {"type": "audio/pcm", "rate": 24000}},
        "output": {"format": {"type": "audio/pcm", "rate": 24000}},
    },
}
