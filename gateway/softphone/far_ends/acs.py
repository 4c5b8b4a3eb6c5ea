"""One call as Azure Communication Services carries it: its events, the head of its socket, its messages, its ear. Pure.

It takes only what the service's own samples send, plays it at the speed of its format, and drops what it holds at
StopAudio without an answer. It tells nobody what was played. All times are in milliseconds.
Source: learn.microsoft.com, "Audio streaming quickstart", "Incoming call concepts" and "Webhook event delivery".
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from audio.formats import PCM16_24K, AudioFormat
from gateway.softphone.far_ends.ear import Ear

FRAME_MS = 20
MAX_AHEAD_MS = 400  # more than this is held against the sender: an interruption would come late
MESSAGE_NAMES = ["AudioData", "Kind", "StopAudio"]


class AcsFarEnd:
    """One caller, one call. `broken` lists what the other side has done against the protocol."""

    def __init__(
        self,
        caller: str,
        called: str,
        *,
        correlation_id: str = "11111111-2222-3333-4444-555555555555",
        connection_id: str = "411f0000-aaaa-bbbb-cccc-dddddddddddd",
        context: str = "eyJhbGciOiJub25lIn0.incoming",
        format: AudioFormat = PCM16_24K,
    ) -> None:
        self.correlation_id = correlation_id
        self.connection_id = connection_id
        self.context = context
        self.format = format
        self.ear = Ear(format)
        self.broken: list[str] = []
        self.stops = 0
        self.bidirectional = True  # as the answering side has asked; without it the sound that it sends is dropped
        # The service neither says anything at a time of its own, nor closes the socket for what it is sent.
        self.wake_ms: float | None = None
        self.close_code: int | None = None
        self._caller = caller
        self._called = called

    def answered(self, format: AudioFormat, *, bidirectional: bool) -> None:
        """The other side has answered the call, and has chosen its sound."""
        self.format = format
        self.bidirectional = bidirectional
        self.ear = Ear(format)

    # ---- over HTTP

    def validation(self, code: str) -> bytes:
        """Event Grid's question whether its events are wanted."""
        return _grid("Microsoft.EventGrid.SubscriptionValidationEvent", {"validationCode": code})

    def ring(self) -> bytes:
        """The event of the incoming call; it may be sent more than once."""
        return _grid(
            "Microsoft.Communication.IncomingCall",
            {
                "to": {"kind": "phoneNumber", "rawId": f"4:{self._called}", "phoneNumber": {"value": self._called}},
                "from": {"kind": "phoneNumber", "rawId": f"4:{self._caller}", "phoneNumber": {"value": self._caller}},
                "serverCallId": "aHR0cHM6Ly9hcGk",
                "callerDisplayName": "",
                "customContext": {"sipHeaders": {}, "voipHeaders": {}},
                "incomingCallContext": self.context,
                "correlationId": self.correlation_id,
            },
        )

    def event(self, kind: str, **more: Any) -> bytes:
        """An event of the call, such as `CallConnected`."""
        ids = {"callConnectionId": self.connection_id, "serverCallId": "s", "correlationId": self.correlation_id}
        name = f"Microsoft.Communication.{kind}"
        event = {"id": "e", "source": "calling/callConnections", "specversion": "1.0", "type": name}
        return orjson.dumps([{**event, "datacontenttype": "application/json", "data": {**ids, **more}}])

    def socket_headers(self, token: str) -> Mapping[str, str]:
        """The head of the request that opens the media socket."""
        return {
            "authorization": f"Bearer {token}",
            "x-ms-call-connection-id": self.connection_id,
            "x-ms-call-correlation-id": self.correlation_id,
        }

    # ---- on the media socket

    def metadata(self) -> bytes:
        """The first message of each socket."""
        body = {
            "subscriptionId": "f0000000-0000-0000-0000-000000000000",
            "encoding": "PCM",
            "sampleRate": self.format.rate_hz,
            "channels": 1,
            "length": self.format.bytes_for_ms(FRAME_MS),
        }
        return orjson.dumps({"kind": "AudioMetadata", "audioMetadata": body})

    def sound(self, payload: bytes, wall_s: float = 0.0) -> bytes:
        """One frame of the caller's sound; one without any sound in it is marked as silent."""
        stamp = datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = {
            "timestamp": stamp,
            "participantRawID": f"4:{self._caller}",
            "data": b64encode(payload).decode("ascii"),
            "silent": not any(payload),
        }
        return orjson.dumps({"kind": "AudioData", "audioData": body})

    def key(self, digit: str) -> bytes:
        """A key of the caller's."""
        return orjson.dumps({"kind": "DtmfData", "dtmfData": {"data": digit}})

    def text(self, message: bytes, now_ms: float) -> list[bytes]:
        """A text message of the other side has arrived. Nothing answers it."""
        try:
            fields = orjson.loads(message)
        except orjson.JSONDecodeError:
            self._breaks("a message that is not JSON")
            return []
        match fields:
            case {"Kind": "AudioData", "AudioData": {"Data": str(encoded)}, "StopAudio": None}:
                self._play(encoded, now_ms)
            case {"Kind": "StopAudio", "AudioData": None, "StopAudio": {}}:
                self.stops += 1
                self.ear.clear(now_ms)
            case _:
                self._breaks("a message of another shape")
                return []
        if sorted(fields) != MESSAGE_NAMES:
            self._breaks("a message with other names")
        return []

    def binary(self, message: bytes, now_ms: float) -> list[bytes]:
        """A binary message has arrived, which the service does not know."""
        self._breaks("a binary message")
        return []

    def on_time(self, now_ms: float) -> list[bytes]:
        """Nothing is ever due."""
        return []

    def _play(self, encoded: str, now_ms: float) -> None:
        try:
            payload = b64decode(encoded, validate=True)
        except binascii.Error:
            self._breaks("sound that is not base64")
            return
        if not payload or len(payload) % self.format.sample_bytes:
            self._breaks("sound that is not whole samples")
        elif self.bidirectional:
            self.ear.sound(payload, now_ms)
            if self.ear.held_ms(now_ms) > MAX_AHEAD_MS:
                self._breaks("more sound ahead than may be")

    def _breaks(self, what: str) -> None:
        if what not in self.broken:
            self.broken.append(what)


def _grid(kind: str, body: dict[str, Any]) -> bytes:
    """One of Event Grid's events, in its own schema."""
    event = {"id": "e", "topic": "/subscriptions/s", "subject": "call", "eventType": kind, "data": body}
    return orjson.dumps([{**event, "dataVersion": "1.0", "metadataVersion": "1", "eventTime": "2026-12-01T00:00:00Z"}])
