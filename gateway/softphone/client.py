"""A call over a real socket: 20 ms frames in real time, turn after turn, like a person with a microphone.

Each turn starts when the agent has finished, or barges in at its given moment; silence is sent in between. The agent's
sound is played on a timeline, stopped when the agent detects the caller's speech, and truncated at the agent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from audio.formats import PCM16_24K
from gateway.realtime.reading import read_json
from gateway.softphone.lines.realtime import RealtimeMouth
from gateway.softphone.microphone import Microphone
from gateway.softphone.plan import SpokenTurn
from gateway.softphone.received import ReceivedEvents
from gateway.softphone.report import CallReport, TurnRow, measure
from gateway.softphone.turn_taking import Pace, speak_turns
from sessions.ports import Clock


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How to make the call."""

    url: str  # ws://host/v1/realtime, with its query
    headers: Mapping[str, str]
    answer_timeout_s: float = 30.0
    # How long to stay on the line after the last answer.
    linger_s: float = 0.5
    tls: ssl.SSLContext | None = None  # only for wss://; None: the system's authorities
    proxy: str | None = None  # the proxy's URL; None: a direct connection


class PhoneCall:
    """One call. `run` returns the report; each line of what is said goes to `tell` for the terminal."""

    def __init__(self, turns: Sequence[SpokenTurn], agent: str, clock: Clock, tell: Callable[[str], None]) -> None:
        self._turns = turns
        self._clock = clock
        self._caller = bytearray()  # all sound sent since the call's start
        self._microphone: Microphone | None = None  # set while the call runs
        self.report = CallReport(agent)
        self._events = ReceivedEvents(self.report, tell)

    async def run(self, options: ClientOptions) -> CallReport:
        """Make the call. Raises OSError, ImportError (from a proxy) and websockets' errors where it cannot be made."""
        tls_options: dict[str, Any] = {} if options.tls is None else {"ssl": options.tls}
        async with connect(
            options.url,
            additional_headers=options.headers,
            compression=None,
            max_size=None,
            proxy=options.proxy,
            **tls_options,
        ) as socket:
            microphone = self._microphone = Microphone(RealtimeMouth(socket), self._clock, self._caller)
            await socket.send(_json({"type": "session.update", "session": _SESSION}))
            try:
                async with asyncio.TaskGroup() as tasks:
                    listening = tasks.create_task(self._listen(socket, microphone))
                    pace = Pace(options.answer_timeout_s, options.linger_s)
                    await speak_turns(self._turns, microphone, _EventWatch(self._events), self.report, pace)
                    await socket.close()
                    await listening
            except* ConnectionClosed:
                pass  # the other side hung up, as the report says
        self.report.close_code = socket.close_code
        measure(self.report.turns, self._caller, self._events.playback.runs)
        return self.report

    def hang_up(self) -> bool:
        """End the call after the current frame, whatever remains to be said. False where there is no call yet."""
        if self._microphone is None:
            return False
        self.report.ended = self.report.ended or "interrupted"
        self._microphone.closed = True
        return True

    def tracks(self) -> tuple[bytes, bytes]:
        """Both sides of the call as 24 kHz PCM16, of the same length."""
        playback = self._events.playback
        length_ms = max(PCM16_24K.ms_of(len(self._caller) // 2), round(playback.until_ms))
        size = PCM16_24K.bytes_for_ms(length_ms)
        return bytes(self._caller[:size]) + bytes(max(0, size - len(self._caller))), playback.track(length_ms)

    async def _listen(self, socket: ClientConnection, microphone: Microphone) -> None:
        try:
            async for message in socket:
                reply = self._events.take(_read(message), microphone.now_ms())
                if reply is not None:
                    await socket.send(_json(reply))
        except ConnectionClosed:
            pass
        finally:
            microphone.closed = True
            if not self.report.ended:
                self.report.ended = socket.close_reason or "the other side hung up"


class _EventWatch:
    """Tells from the gateway's events what the agent does."""

    def __init__(self, events: ReceivedEvents) -> None:
        self._events = events
        self._answers = 0  # before the current turn

    def greeted(self, now_ms: int) -> bool:
        return self._events.activity.greeted(now_ms)

    def turn_begins(self, row: TurnRow, turn: SpokenTurn) -> None:
        self._answers = self._events.activity.answers
        self._events.turn_begins(row)

    def sounded_for(self, ms: int, now_ms: int) -> bool:
        return self._events.sounded_for(ms, now_ms)

    def answered(self, now_ms: int) -> bool:
        return self._events.activity.finished(self._answers, now_ms)


def _read(message: str | bytes) -> dict[str, Any]:
    event: dict[str, Any] = read_json(message.encode() if isinstance(message, str) else message)
    return event


def _json(event: Mapping[str, Any]) -> str:
    return orjson.dumps(event).decode()


_SESSION = {
    "type": "realtime",
    "audio": {
        "input": {"format": {"type": "audio/pcm", "rate": 24000}},
        "output": {"format": {"type": "audio/pcm", "rate": 24000}},
    },
}
