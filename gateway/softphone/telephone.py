"""A call by telephone: the caller speaks in real time on a carrier's line, and the answer is what the ear hears.

What was said and done in each turn stands in the call's record, which is read once the call has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from audio.formats import PCM16_24K
from gateway.softphone.call_record import RecordReader
from gateway.softphone.lines.line import Line, LineLost
from gateway.softphone.listening import Listener
from gateway.softphone.microphone import Microphone
from gateway.softphone.plan import SpokenTurn, to_24k
from gateway.softphone.playback import Played
from gateway.softphone.report import CallReport, measure
from gateway.softphone.turn_taking import Pace, speak_turns
from sessions.ports import Clock


@dataclass(frozen=True, slots=True)
class TelephoneOptions:
    """How to make the call; `record` reads its record afterwards."""

    line: Line
    record: RecordReader
    answer_timeout_s: float = 30.0
    linger_s: float = 0.5


class TelephoneCall:
    """One call. `run` returns the report; each line of what is said goes to `tell` for the terminal."""

    def __init__(self, turns: Sequence[SpokenTurn], agent: str, clock: Clock, tell: Callable[[str], None]) -> None:
        self._turns = turns
        self._clock = clock
        self._tell = tell
        self._caller = bytearray()  # all sound sent since the call's start
        self._heard = b""  # what the caller has heard, as 24 kHz PCM16
        self._microphone: Microphone | None = None  # set while the call runs
        self.report = CallReport(agent)

    async def run(self, options: TelephoneOptions) -> CallReport:
        """Make the call. Raises LineRefused, OSError and websockets' errors where it cannot be made."""
        line, report = options.line, self.report
        report.protocol = line.protocol
        await line.dial()
        microphone = self._microphone = Microphone(line, self._clock, self._caller)
        listener = Listener(line.ear, report, self._tell)
        try:
            await line.begin(microphone.now_ms)
        except LineLost:
            microphone.closed = True
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(line, microphone))
            pace = Pace(options.answer_timeout_s, options.linger_s)
            await speak_turns(self._turns, microphone, listener, report, pace)
            await line.hang_up()
            await listening
        self._keep(line, microphone.now_ms())
        try:
            await line.after()
        except OSError as error:
            report.faults.append(f"what the carrier says after the call was not taken: {error}")
        report.faults += line.faults()
        await options.record.fill(report, line.carrier_call_id)
        return report

    def hang_up(self) -> bool:
        """End the call after the current frame, whatever remains to be said. False where there is no call yet."""
        if self._microphone is None:
            return False
        self.report.ended = self.report.ended or "interrupted"
        self._microphone.closed = True
        return True

    def tracks(self) -> tuple[bytes, bytes]:
        """Both sides of the call as 24 kHz PCM16, of the same length."""
        size = max(len(self._caller), len(self._heard))
        return bytes(self._caller).ljust(size, b"\0"), self._heard.ljust(size, b"\0")

    async def _listen(self, line: Line, microphone: Microphone) -> None:
        ending = await line.listen()
        microphone.closed = True
        self.report.ended = self.report.ended or ending

    def _keep(self, line: Line, until_ms: int) -> None:
        """Keep what was heard until the call's end, and measure the turns."""
        ear = line.ear
        # The next whole multiple of 20 ms, since a rate may not count whole samples in any other time.
        length_ms = until_ms + -until_ms % 20
        ear.clear(until_ms)
        self._heard = to_24k(ear.track(length_ms), ear.format)
        measure(self.report.turns, self._caller, [Played("", 0, bytearray(self._heard))])
        assert len(self._heard) == PCM16_24K.bytes_for_ms(length_ms)
