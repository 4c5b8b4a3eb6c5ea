"""A call over the real socket: 20 ms frames in real time, turn after turn, as from a person with a microphone.

Each turn starts when the agent has finished (or barges in at its moment); silence is sent in between, as a microphone
does. The agent's sound is played on a timeline of its own, stopped when the agent hears the caller, and reported back.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from audio.formats import PCM16_24K
from gateway.phone.hearing import Hearing
from gateway.phone.microphone import Microphone
from gateway.phone.plan import SpokenTurn
from gateway.phone.report import CallReport, TurnRow, measure
from gateway.realtime.reading import read_json
from sessions.ports import Clock


@dataclass(frozen=True, slots=True)
class LineOptions:
    """How to call. Times in seconds."""

    url: str  # ws://host/v1/realtime, with its query
    headers: Mapping[str, str]
    answer_timeout_s: float = 30.0
    linger_s: float = 0.5  # of the last answer's echo, before hanging up
    tls: ssl.SSLContext | None = None  # for wss:// only; None: the system's authorities
    proxy: str | None = None  # the way to the other side; None: straight


class PhoneCall:
    """One call. `run` returns the report; what is said meanwhile goes to `tell`, one line each, for the terminal."""

    def __init__(self, turns: Sequence[SpokenTurn], agent: str, clock: Clock, tell: Callable[[str], None]) -> None:
        self._turns = turns
        self._clock = clock
        self._caller = bytearray()  # all that was sent, from the call's start
        self._microphone: Microphone | None = None  # while there is a call
        self.report = CallReport(agent)
        self._hearing = Hearing(self.report, tell)

    async def run(self, options: LineOptions) -> CallReport:
        """Make the call. Raises OSError, ImportError (of a proxy) and websockets' errors where it cannot be made."""
        more: dict[str, Any] = {} if options.tls is None else {"ssl": options.tls}
        async with connect(
            options.url,
            additional_headers=options.headers,
            compression=None,
            max_size=None,
            proxy=options.proxy,
            **more,
        ) as socket:
            microphone = self._microphone = Microphone(socket, self._clock, self._caller)
            await socket.send(_json({"type": "session.update", "session": _SESSION}))
            try:
                async with asyncio.TaskGroup() as tasks:
                    listening = tasks.create_task(self._listen(socket, microphone))
                    await self._speak(microphone, options)
                    await socket.close()
                    await listening
            except* ConnectionClosed:
                pass  # the other side hung up: the report says so
        self.report.close_code = socket.close_code
        measure(self.report.turns, self._caller, self._hearing.playback.runs)
        return self.report

    def hang_up(self) -> bool:
        """End the call after the frame at hand, whatever is still to be said. False where there is none yet."""
        if self._microphone is None:
            return False
        self.report.ended = self.report.ended or "interrupted"
        self._microphone.off = True
        return True

    def tracks(self) -> tuple[bytes, bytes]:
        """Both sides as heard, 24 kHz PCM16, of one length."""
        playback = self._hearing.playback
        length_ms = max(PCM16_24K.ms_of(len(self._caller) // 2), round(playback.until_ms))
        size = PCM16_24K.bytes_for_ms(length_ms)
        return bytes(self._caller[:size]) + bytes(max(0, size - len(self._caller))), playback.track(length_ms)

    async def _speak(self, microphone: Microphone, options: LineOptions) -> None:
        hearing, floor, limit_s = self._hearing, self._hearing.floor, options.answer_timeout_s
        await microphone.silence_until(floor.greeted, limit_s)
        for number, turn in enumerate(self._turns, start=1):
            if turn.barge_in_ms is not None and number > 1:
                await microphone.silence_until(partial(hearing.sounded_for, turn.barge_in_ms), limit_s)
            row = TurnRow(number, turn.label, microphone.spoken_ms)
            if microphone.off:
                row.error = "the call was over"
                self.report.turns.append(row)
                continue
            answered = partial(floor.finished, floor.answers)
            hearing.turn_begins(row)
            await microphone.say(turn.pcm)
            row.end_ms = microphone.spoken_ms
            if number < len(self._turns) and self._turns[number].barge_in_ms is not None:
                continue
            if not await microphone.silence_until(answered, limit_s):
                row.error = "the call was over" if microphone.off else f"no answer within {limit_s:g} s"
        await microphone.silence_for(round(options.linger_s * 1000))
        if not microphone.off:
            self.report.ended = "caller hung up"

    async def _listen(self, socket: ClientConnection, microphone: Microphone) -> None:
        try:
            async for message in socket:
                told = self._hearing.take(_read(message), microphone.now_ms())
                if told is not None:
                    await socket.send(_json(told))
        except ConnectionClosed:
            pass
        finally:
            microphone.off = True
            if not self.report.ended:
                self.report.ended = socket.close_reason or "the other side hung up"


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
