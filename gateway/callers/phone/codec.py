"""What a telephone protocol's own part must offer: it reads and writes the messages of one media socket, and is pure.

`PhoneReceiver` does everything else. A message that breaks the protocol raises WireError, whose text repeats nothing
of the message, because a message may hold a number or a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from audio.playout import FarEndRules
from audio.values import hot_value
from sessions.caller_facts import CallerFacts
from sessions.errors import VoiceError


class CallRefused(VoiceError):
    """The far end's first message does not fit: it is for another call, or asks for what is not spoken here."""


class FarEndSilent(VoiceError):
    """The far end has left heartbeats unanswered, so it counts as lost."""


@dataclass(frozen=True, slots=True)
class MediaStarted:
    """The far end has said what it sends, and the call may begin.

    `rules` hold the format, which is the same both ways. `frame_ms` is how long the far end's own frames are.
    """

    rules: FarEndRules
    facts: CallerFacts
    frame_ms: int = 20


@hot_value
class Heard:
    """Sound of the caller, in the format that `MediaStarted` has named."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pressed:
    """The caller has pressed a key: one of `0`-`9`, `*`, `#`, `A`-`D`."""

    digit: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Echoed:
    """The far end has played everything before the mark of this name, or has dropped it at a clear."""

    name: str


@dataclass(frozen=True, slots=True)
class Full:
    """The far end wants no more sound for now, or wants it again (`full` False)."""

    full: bool


@dataclass(frozen=True, slots=True)
class Holds:
    """The far end holds so much sound, in milliseconds, that it has not played."""

    held_ms: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """At a clear the far end has dropped so much sound, in milliseconds, that it had not played.

    It answers clears in their order. Only of far ends whose rules say `counts_dropped`.
    """

    dropped_ms: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The far end has ended the call; `reason` is the call's end reason."""

    reason: str = "caller_hung_up"


FarEndEvent: TypeAlias = MediaStarted | Heard | Pressed | Echoed | Full | Holds | Dropped | Stopped


class PhoneCodec(Protocol):
    """Reads and writes the messages of one socket. Text is UTF-8."""

    @property
    def sound_is_binary(self) -> bool:
        """Whether `sound` makes binary messages. All others are text, unless `all_binary` says so."""
        ...

    @property
    def all_binary(self) -> bool:
        """Whether all messages are binary."""
        ...

    @property
    def early_ms(self) -> int:
        """How much sound is kept that comes before the call has begun; more than that is dropped, the oldest first."""
        ...

    @property
    def heartbeat_ms(self) -> int | None:
        """How often `heartbeat` is sent; None: never."""
        ...

    def read_text(self, message: bytes) -> FarEndEvent | None:
        """Read a text message; None for one that changes nothing. Raises WireError, and CallRefused at the start."""
        ...

    def read_binary(self, message: bytes) -> FarEndEvent | None:
        """Read a binary message, like `read_text`."""
        ...

    def opening(self) -> Sequence[bytes]:
        """What is sent as soon as the socket is open."""
        ...

    def sound(self, payload: bytes) -> bytes:
        """The message that plays sound, in the format and the frames of `MediaStarted.rules`."""
        ...

    def clear(self) -> Sequence[bytes]:
        """What makes the far end drop the sound that it holds; nothing where it holds none."""
        ...

    def mark(self, name: str) -> bytes:
        """The message that asks for an echo of `name`, of at most 40 ASCII characters."""
        ...

    def heartbeat(self) -> Sequence[bytes]:
        """What is sent every `heartbeat_ms`. Raises FarEndSilent where too many were not answered."""
        ...

    def goodbye(self, reason: str) -> Sequence[bytes]:
        """What is sent before the socket is closed, for this end reason of the call."""
        ...
