"""What a client's script needs for the call: a microphone, a loudspeaker, and notes of what the client saw.

It uses only the standard library, because the scripts run under an interpreter with the client's packages but without
Patchbay. Sound is PCM16, 24 kHz, mono.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RATE_HZ = 24_000
FRAME_MS = 20
FRAME_BYTES = RATE_HZ * FRAME_MS // 1000 * 2
BYTES_PER_MS = RATE_HZ * 2 // 1000
STEP_LIMIT_S = 10.0
BARGE_IN_AFTER_MS = 1200


@dataclass
class Notes:
    """What the client itself observed."""

    events: list[Any] = field(default_factory=list)  # server events, in order
    agent_said: list[str] = field(default_factory=list)
    caller_said: list[str] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)  # calls of the client's own function
    interruptions: int = 0
    heard_ms: int = 0  # agent speech that was played
    got_ms: int = 0  # agent speech that was queued
    errors: list[str] = field(default_factory=list)
    secret: dict[str, Any] = field(default_factory=dict)  # the client secret that it received


class Microphone:
    """A caller who speaks a line when asked and is otherwise silent, always in 20 ms frames in real time."""

    def __init__(self, lines: Path) -> None:
        self._lines = lines
        self._left = b""

    def say(self, line: str) -> None:
        """Begin to speak this line."""
        self._left = (self._lines / f"{line}.pcm").read_bytes()

    async def frames(self) -> AsyncIterator[bytes]:
        """Endless frames, each at its time."""
        due = time.monotonic()
        while True:
            due += FRAME_MS / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            frame, self._left = self._left[:FRAME_BYTES], self._left[FRAME_BYTES:]
            yield frame.ljust(FRAME_BYTES, b"\0")


class Loudspeaker:
    """Plays queued sound in real time, until it is cleared."""

    def __init__(self) -> None:
        self.got_ms = 0.0
        self._heard_ms = 0.0  # of the sound that has left the queue
        self._queue_ms = 0.0
        self._since = time.monotonic()

    def play(self, pcm: bytes) -> None:
        """Queue some sound."""
        self._advance()
        self.got_ms += len(pcm) / BYTES_PER_MS
        self._queue_ms += len(pcm) / BYTES_PER_MS

    def clear(self) -> None:
        """Stop at once and drop the rest."""
        self._advance()
        self._queue_ms = 0.0

    @property
    def heard_ms(self) -> float:
        """How much has been played in all."""
        self._advance()
        return self._heard_ms

    @property
    def queue_ms(self) -> float:
        """How much is left to play."""
        self._advance()
        return self._queue_ms

    @property
    def silent(self) -> bool:
        """Whether nothing is left to play."""
        return self.queue_ms <= 0

    def _advance(self) -> None:
        now = time.monotonic()
        played = min(self._queue_ms, (now - self._since) * 1000)
        self._since = now
        self._queue_ms -= played
        self._heard_ms += played


class ClientCall:
    """The call that every client makes: a typed line, a greeting, a booking, the weather, an interruption, an end."""

    def __init__(self) -> None:
        self.url, folder, self.key, self._out, self.agent = sys.argv[1:6]
        self.microphone = Microphone(Path(folder) / "lines")
        self._typed = (Path(folder) / "lines" / "typed.txt").read_text()
        self.loudspeaker = Loudspeaker()
        self.notes = Notes()
        self.quiet: Callable[[], bool] = lambda: self.loudspeaker.silent

    def weather(self, place: str) -> str:
        """The client's own function."""
        self.notes.tools.append({"name": "get_weather", "place": place})
        return json.dumps({"place": place, "weather": "sunny, 24 degrees"})

    async def talk(self, typed: Callable[[str], Awaitable[object]]) -> None:
        """Type a line, then speak each line once the agent has given the expected answer."""
        await typed(self._typed)
        await self._answered("Harbour Restaurant.")
        await self._line("hello", "How can I help?")
        await self._line("table", "at seven.")
        before_ms = self.loudspeaker.heard_ms
        self.microphone.say("weather")
        await self.until(
            lambda: self.notes.tools and self.loudspeaker.heard_ms > before_ms + BARGE_IN_AFTER_MS, "the weather"
        )
        await self._line("stop", "Goodbye then.")
        self.notes.heard_ms, self.notes.got_ms = int(self.loudspeaker.heard_ms), int(self.loudspeaker.got_ms)

    async def until(self, true: Callable[[], object], what: str) -> None:
        """Wait for a limited time. Raises TimeoutError that says what was waited for."""
        limit = time.monotonic() + STEP_LIMIT_S
        while not true():
            if self.notes.errors:
                raise RuntimeError(self.notes.errors[0])
            if time.monotonic() > limit:
                raise TimeoutError(f"waited for {what}; the agent said {self.notes.agent_said}")
            await asyncio.sleep(0.01)

    async def _line(self, line: str, answer: str) -> None:
        self.microphone.say(line)
        await self._answered(answer)

    async def _answered(self, answer: str) -> None:
        await self.until(lambda: answer in " ".join(self.notes.agent_said), answer)
        await self.until(self.quiet, "silence")

    def leave(self, code: int = 0) -> None:
        """Write the notes and end the process, whatever threads the client's packages run."""
        Path(self._out).write_text(json.dumps(asdict(self.notes), default=str))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def run(self, main: Callable[[], Any]) -> None:
        """Run the script's `main` and write the notes, with the error if there was one."""
        try:
            asyncio.run(main())
        except BaseException as error:
            import traceback

            traceback.print_exc()
            self.notes.errors.append(f"{type(error).__name__}: {error}")
            self.leave(1)
        self.leave()
