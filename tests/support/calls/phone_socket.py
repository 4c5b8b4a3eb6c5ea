"""A media socket in memory, and a made-up telephone protocol for it: JSON for everything but sound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from audio.formats import PCMU_8K
from audio.playout import FarEndRules, Framing
from gateway.callers.phone.codec import (
    CallRefused,
    Dropped,
    Echoed,
    FarEndEvent,
    Full,
    Heard,
    Holds,
    MediaStarted,
    Pressed,
    Stopped,
)
from gateway.net.sockets import Receiver
from sessions.caller_facts import CallerFacts
from sessions.errors import WireError

PLAIN_RULES = FarEndRules(PCMU_8K, 200, Framing.WHOLE, mark_every_ms=200)


class MemorySocket:
    """A socket whose far end is the test. `sent` holds the messages, and `at_ms` when each left."""

    unsent_bytes = 0
    peer = "127.0.0.1"
    subprotocol = None

    def __init__(self, receiver: Receiver, now_ms: Callable[[], int] = lambda: 0) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.at_ms: list[int] = []
        self.closed_with: tuple[int, str] | None = None
        self.ended_here = False
        self.counted = 0
        self._now_ms = now_ms
        self._receiver = receiver
        receiver.opened(self)

    @property
    def closed(self) -> bool:
        return self.closed_with is not None

    def send_text(self, message: bytes) -> None:
        self._send("text", message)

    def send_binary(self, message: bytes) -> None:
        self._send("binary", message)

    def fast_send(self) -> Callable[[bytes], None]:
        return self.send_text

    def count_message(self) -> None:
        self.counted += 1

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self.closed_with is None:
            self.closed_with, self.ended_here = (code, reason), True
            asyncio.get_running_loop().call_soon(self._receiver.lost, code, reason)

    def _send(self, kind: str, message: bytes) -> None:
        if self.closed_with is None:
            self.sent.append((kind, message))
            self.at_ms.append(self._now_ms())

    # ---- what the far end does

    def says(self, message: object) -> None:
        """Send a text message: bytes as they are, anything else as JSON."""
        self._receiver.text(message if isinstance(message, bytes) else orjson.dumps(message))

    def speaks(self, payload: bytes) -> None:
        """Send a binary message."""
        self._receiver.binary(payload)

    def goes(self, code: int = 1006) -> None:
        """Close, or break."""
        self.closed_with = self.closed_with or (code, "")
        self._receiver.lost(code, "")

    # ---- what it got

    @property
    def sound(self) -> bytes:
        """All binary messages."""
        return b"".join(message for kind, message in self.sent if kind == "binary")

    @property
    def told(self) -> list[Any]:
        """All text messages, parsed."""
        return [orjson.loads(message) for kind, message in self.sent if kind == "text"]


class PlainCodec:
    """The made-up protocol: `start`, `key`, `echo`, `full`, `holds`, `dropped`, `stop`.

    `call` in the start must be `mine`.
    """

    sound_is_binary = True
    all_binary = False
    heartbeat_ms: int | None = None

    def __init__(self, *, early_ms: int = 0, heartbeat_ms: int | None = None, rules: FarEndRules = PLAIN_RULES) -> None:
        self.early_ms = early_ms
        self.heartbeat_ms = heartbeat_ms
        self._rules = rules

    def read_text(self, message: bytes) -> FarEndEvent | None:
        try:
            match orjson.loads(message):
                case {"start": {"call": "mine", **facts}}:
                    return MediaStarted(self._rules, CallerFacts.of(facts.get("from"), facts.get("to")))
                case {"start": _}:
                    raise CallRefused("the first message is for another call")
                case {"key": str(digit)}:
                    return Pressed(digit)
                case {"echo": str(name)}:
                    return Echoed(name)
                case {"full": bool(full)}:
                    return Full(full)
                case {"holds": int(held_ms)}:
                    return Holds(held_ms)
                case {"dropped": int(dropped_ms)}:
                    return Dropped(dropped_ms)
                case {"stop": _}:
                    return Stopped()
                case {"fine": _}:
                    return None
        except orjson.JSONDecodeError:
            pass
        raise WireError("The message is not of the protocol.", code="invalid_event")

    def read_binary(self, message: bytes) -> FarEndEvent | None:
        return Heard(message)

    def opening(self) -> Sequence[bytes]:
        return (b'{"hello":1}',)

    def sound(self, payload: bytes) -> bytes:
        return payload

    def clear(self) -> Sequence[bytes]:
        return (b'{"clear":1}',)

    def mark(self, name: str) -> bytes:
        return orjson.dumps({"mark": name})

    def heartbeat(self) -> Sequence[bytes]:
        return (b'{"beat":1}',)

    def goodbye(self, reason: str) -> Sequence[bytes]:
        return (orjson.dumps({"bye": reason}),)
