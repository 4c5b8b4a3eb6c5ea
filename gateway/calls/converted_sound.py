"""Gives a model the caller's sound in the format that its session has, where the caller's far end sends another one.

The record of a call keeps the sound as the far end sent it, so it is converted only on its way to the model. This
module loads numpy.
"""

from __future__ import annotations

from collections.abc import Callable

from audio.formats import AudioFormat, AudioFrame
from audio.resampling import Converter
from gateway.legs.fast_path_end import fast_path_of
from gateway.legs.model import ModelConnector, ModelLeg
from sessions.commands import Configure, ModelCommand, SendAudio
from sessions.events import ModelEvent
from sessions.setup import ModelSetup


class ConvertingLeg:
    """A model's leg that takes sound in any format. It offers the fast path of the leg that it stands for, if any."""

    def __init__(self, leg: ModelLeg, format: AudioFormat) -> None:
        """`format` is that of the model's session, until another one is configured."""
        self._leg = leg
        self._format = format
        self._converter: Converter | None = None
        self.fast_path = fast_path_of(leg)
        if self.fast_path is not None:
            self.fast_path.inward = self._inward_of

    def send(self, command: ModelCommand) -> None:
        """Pass a command on; sound is converted to the session's format, if it has another one."""
        if type(command) is SendAudio:
            frame = self._inward(command.frame)
            if frame is not command.frame:
                command = SendAudio(frame, None)
        elif type(command) is Configure:
            self._format = command.setup.input_format
        self._leg.send(command)

    def close(self) -> None:
        """Close the model's leg."""
        self._leg.close()

    @property
    def dropped_ms(self) -> int:
        """How much of the caller's sound the model's leg has dropped."""
        dropped_ms: int = getattr(self._leg, "dropped_ms", 0)
        return dropped_ms

    def _inward_of(self, format: AudioFormat) -> Callable[[AudioFrame], AudioFrame] | None:
        return None if format == self._format else self._inward

    def _inward(self, frame: AudioFrame) -> AudioFrame:
        """The frame in the session's format."""
        converter, source, target = self._converter, frame.format, self._format
        if converter is not None and converter.source is source and converter.target is target:  # as nearly always
            return converter.convert(frame)
        if source == target:
            return frame
        if converter is None or converter.source != source or converter.target != target:
            converter = self._converter = Converter(source, target)
        return converter.convert(frame)


class ConvertingConnector:
    """Dials a model, and converts the caller's sound for it."""

    def __init__(self, connector: ModelConnector) -> None:
        self._connector = connector

    async def dial(
        self,
        setup: ModelSetup,
        attempt: int,
        deliver: Callable[[ModelEvent], None],
        fault: Callable[[BaseException], None],
    ) -> ModelLeg:
        """Open a leg. Raises LegLost."""
        return ConvertingLeg(await self._connector.dial(setup, attempt, deliver, fault), setup.input_format)
