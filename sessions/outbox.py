"""Commands that wait until the model's leg is open."""

from __future__ import annotations

from collections import deque

from sessions.commands import AddItem, AddToolOutput, Configure, ModelCommand, Seed, SendAudio
from sessions.values import Wire

HELD_AUDIO_MS = 10_000  # of caller sound; past it the oldest is dropped
HELD_FRAMES = 2_000  # of caller sound, which may come in very short frames
HELD_COMMANDS = 1_000  # other than sound
HELD_BYTES = 32 * 1024 * 1024  # of commands other than sound


class PendingOutbox:
    """Keeps what waits for a model's leg that is not open: in order, with bounds on sound and on all else."""

    def __init__(self) -> None:
        self.told: set[str] = set()  # items and calls that the waiting commands bring to the model
        self._queue: deque[ModelCommand] = deque()
        self._frames = 0
        self._audio_us = 0
        self._dropped_us = 0
        self._commands = 0
        self._command_bytes = 0

    @property
    def dropped_ms(self) -> int:
        """How much caller sound was dropped because there was no room."""
        return self._dropped_us // 1000

    def sound(self, command: SendAudio) -> None:
        """Keep caller sound; past the bound the oldest is dropped, but the newest frame is kept, however long it is."""
        self._queue.append(command)
        self._frames += 1
        self._audio_us += _length_us(command)
        while self._frames > 1 and (self._audio_us > HELD_AUDIO_MS * 1000 or self._frames > HELD_FRAMES):
            self._drop_oldest_sound()

    def add(self, command: ModelCommand, tells: str | None, *, ours: bool = False) -> bool:
        """Keep any other command, which brings the item or call `tells` to the model. False if there is no room for it.

        There is always room for one that is `ours`, and for settings and the past, which are few.
        """
        if type(command) is Configure and self._queue and type(self._queue[-1]) is Configure:
            self._queue[-1] = command  # nothing came between, so the earlier one would have no effect
            return True
        if not ours and type(command) is not Seed and type(command) is not Configure:
            size = _size(command)
            if self._commands >= HELD_COMMANDS or self._command_bytes + size > HELD_BYTES:
                return False
            self._commands += 1
            self._command_bytes += size
        self._queue.append(command)
        if tells is not None:
            self.told.add(tells)
        return True

    def take(self) -> list[ModelCommand]:
        """Take out everything that was kept, in order."""
        taken = list(self._queue)
        self._queue.clear()
        self.told.clear()
        self._frames = self._audio_us = self._commands = self._command_bytes = 0
        return taken

    def _drop_oldest_sound(self) -> None:
        for index, command in enumerate(self._queue):
            if type(command) is SendAudio:
                del self._queue[index]
                length_us = _length_us(command)
                self._frames -= 1
                self._audio_us -= length_us
                self._dropped_us += length_us
                return


def _size(command: ModelCommand) -> int:
    """About how many bytes a command takes."""
    wire = getattr(command, "wire", None)
    if isinstance(wire, Wire):
        return len(wire.text)
    if type(command) is AddToolOutput:
        return len(command.output)
    return len(repr(command.entry)) if type(command) is AddItem else 0


def _length_us(command: SendAudio) -> int:
    return command.frame.samples * 1_000_000 // command.frame.format.rate_hz
