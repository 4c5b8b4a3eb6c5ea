"""The far end of a media socket as Twilio plays it, or SignalWire: what it sends, checks, buffers and echoes. Pure.

It takes any amount of sound and plays it at exactly the speed of its format. A mark is echoed when everything before
it has been played, or at a clear, which drops the sound. What it is sent wrongly is ignored, and noted once for each
kind, as the carrier's own debugger does.
Source: twilio.com/docs/voice/media-streams/websocket-messages; its errors 31924 to 31951.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import orjson
import pybase64

from audio.formats import PCMU_8K, AudioFormat, Coding
from gateway.softphone.far_ends.ear import Ear

MAX_HELD_MS = 600_000
KEYS = frozenset("0123456789*#")


class Warned(StrEnum):
    """What a carrier warns of, once a stream, by the number of its error."""

    PROTOCOL = "31924"  # sound or marks before the stream has begun
    DISCARDED = "31931"  # more sound than the buffer holds
    BINARY = "31950"
    MALFORMED = "31951"


class TwilioStream:
    """One stream. Messages that it sends are returned, in order; times are in milliseconds of one clock."""

    def __init__(
        self,
        *,
        account_sid: str,
        call_sid: str,
        stream_sid: str = "MZ00000000000000000000000000000001",
        parameters: Mapping[str, str] | None = None,
        format: AudioFormat = PCMU_8K,
        wrapped: bool = False,
        bunch: int = 1,
    ) -> None:
        """`wrapped`: messages are inside others, as in SignalWire's documents. `bunch`: so many frames go at once."""
        self.stream_sid = stream_sid
        self.ear = Ear(format, MAX_HELD_MS)
        self.warned: set[Warned] = set()
        self.ended = False
        self._ids = {"accountSid": account_sid, "callSid": call_sid}
        self._parameters = dict(parameters or {})
        self._format = format
        self._wrapped = wrapped
        self._bunch = bunch
        self._bunched: list[bytes] = []
        self._begun = False
        self._messages = 0
        self._frames = 0
        self._sent_bytes = 0

    # ---- what it sends

    def begin(self) -> list[bytes]:
        """The first messages."""
        self._begun = True
        linear = self._format.coding is Coding.PCM16
        start = {
            **self._ids,
            "streamSid": self.stream_sid,
            "tracks": ["inbound"],
            "customParameters": self._parameters,
            "mediaFormat": {
                "encoding": "audio/x-L16" if linear else "audio/x-mulaw",
                "sampleRate": self._format.rate_hz,
                "channels": 1,
            },
        }
        connected = {"event": "connected", "protocol": "Call", "version": "0.2.0" if self._wrapped else "1.0.0"}
        return [orjson.dumps(connected), self._message("start", start)]

    def speak(self, payload: bytes) -> list[bytes]:
        """The caller's next frame; nothing while frames are gathered into a bunch."""
        self._frames += 1
        media = {
            "track": "inbound",
            "chunk": str(self._frames),
            "timestamp": str(self._sent_bytes // self._format.bytes_for_ms(1)),
            "payload": pybase64.b64encode(payload).decode("ascii"),
        }
        self._sent_bytes += len(payload)
        self._bunched.append(self._message("media", media))
        return self._rest() if len(self._bunched) >= self._bunch else []

    def press(self, digit: str) -> list[bytes]:
        """The caller presses a key. Raises ValueError for what is no key of a telephone."""
        if digit not in KEYS:
            raise ValueError(f"{digit!r} is no key of a telephone")
        duration = {"duration": 100} if self._wrapped else {}
        return [*self._rest(), self._message("dtmf", {"track": "inbound_track", "digit": digit, **duration})]

    def stop(self) -> list[bytes]:
        """The caller hangs up: the last message, after which nothing is played any more."""
        self.ended = True
        return [*self._rest(), self._message("stop", None if self._wrapped else self._ids)]

    def _rest(self) -> list[bytes]:
        bunched, self._bunched = self._bunched, []
        return bunched

    # ---- what it is sent

    def text(self, message: bytes, now_ms: float) -> list[bytes]:
        """A text message has arrived; the answers to it are echoes of marks."""
        echoes = self.on_time(now_ms)  # marks that were reached before
        if self.ended:
            return echoes
        if not self._begun:
            self.warned.add(Warned.PROTOCOL)
            return echoes
        try:
            found = orjson.loads(message)
        except orjson.JSONDecodeError:
            found = None
        match found:
            case {"event": "media", "streamSid": self.stream_sid, "media": {"payload": str(payload), **more}, **rest}:
                if len(rest) or more or not self._play(payload, now_ms):
                    self.warned.add(Warned.MALFORMED)
            case {"event": "mark", "streamSid": self.stream_sid, "mark": {"name": str(name), **more}, **rest} if (
                not rest and not more
            ):
                self.ear.mark(name, now_ms)
                echoes += self.on_time(now_ms)
            case {"event": "clear", "streamSid": self.stream_sid, **rest} if not rest:
                echoes += [self._echo(name) for name in self.ear.clear(now_ms)]
            case _:
                self.warned.add(Warned.MALFORMED)
        return echoes

    def binary(self, message: bytes, now_ms: float) -> list[bytes]:
        """A binary message has arrived, which the protocol does not know."""
        self.warned.add(Warned.BINARY)
        return []

    def on_time(self, now_ms: float) -> list[bytes]:
        """The echoes of marks that have been reached. An early call is harmless."""
        return [] if self.ended else [self._echo(name) for name in self.ear.reached(now_ms)]

    @property
    def wake_ms(self) -> float | None:
        """When `on_time` has something to send; None: not before more has come."""
        return None if self.ended else self.ear.wake_ms

    @property
    def close_code(self) -> int | None:
        """The carrier never closes the socket for what it is sent."""
        return None

    def _play(self, payload: str, now_ms: float) -> bool:
        try:
            sound = pybase64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            return False
        if len(sound) % self._format.sample_bytes:
            return False
        if not self.ear.sound(sound, now_ms):
            self.warned.add(Warned.DISCARDED)
        return True

    def _echo(self, name: str) -> bytes:
        return self._message("mark", {"name": name})

    def _message(self, event: str, inside: Mapping[str, Any] | None) -> bytes:
        self._messages += 1
        head = {"event": event, "sequenceNumber": str(self._messages), "streamSid": self.stream_sid}
        message = head if inside is None else {**head, event: inside}
        if not self._wrapped:
            return orjson.dumps(message)
        outside = {"direction": "inbound", "eventType": event, "streamSid": self.stream_sid}
        return orjson.dumps({"timestamp": self._messages, **outside, "rawEvent": message})
