"""What a caller needs of its line, whichever protocol that speaks.

A line is the network side of a call; what a carrier sends and checks is in `far_ends/`, without a network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from audio.formats import PCM16_24K, AudioFormat, AudioFrame
from audio.resampling import Converter
from gateway.softphone.far_ends.ear import Ear

NowMs: TypeAlias = Callable[[], float]  # milliseconds since the call began


class LineRefused(Exception):
    """There is no call; the message says who refused it and why, or what to do."""


class LineLost(Exception):
    """The call has ended; nothing more can be said."""


class Mouth(Protocol):
    """Where the caller's sound goes."""

    async def speak(self, pcm: bytes) -> None:
        """Send 20 ms of 24 kHz PCM16. Raises LineLost."""
        ...


class Line(Mouth, Protocol):
    """One call of a carrier's. Its methods are called in the order in which they stand here, `speak` in between."""

    @property
    def protocol(self) -> str:
        """The protocol's name in the call's record."""
        ...

    @property
    def carrier_call_id(self) -> str:
        """The carrier's own id of the call, as in the call's record."""
        ...

    @property
    def ear(self) -> Ear:
        """What the caller hears."""
        ...

    async def dial(self) -> None:
        """Ask the gateway for the call, and connect. Raises LineRefused, and OSError where no gateway is there."""
        ...

    async def begin(self, now_ms: NowMs) -> None:
        """Say that the call begins; its time 0 is that of `now_ms`. Raises LineLost."""
        ...

    async def listen(self) -> str:
        """Take what the gateway sends until the call has ended. Returns how the gateway has ended it."""
        ...

    async def hang_up(self) -> None:
        """End the call from the caller's side. Harmless where it has ended."""
        ...

    async def after(self) -> None:
        """Do what the carrier does once the call has ended."""
        ...

    def faults(self) -> list[str]:
        """What the gateway has done against the protocol, each thing once."""
        ...


class Voice:
    """Turns the caller's sound into that of the line, frame by frame; it comes up to 3 ms later."""

    def __init__(self, format: AudioFormat) -> None:
        self._converter = Converter(PCM16_24K, format)
        self._samples = 0

    def frame(self, pcm: bytes) -> bytes:
        """20 ms of 24 kHz PCM16 as exactly 20 ms of the line's format."""
        frame = AudioFrame(pcm, PCM16_24K, self._samples)
        self._samples += frame.samples
        return self._converter.convert(frame).payload
