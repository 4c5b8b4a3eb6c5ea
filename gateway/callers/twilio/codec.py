"""Twilio Media Streams, and the same protocol as SignalWire speaks it: the messages of one media socket. Pure.

Every message is JSON text. Sound is base64: mu-law at 8000 Hz from Twilio; from SignalWire that, or PCM16 at 16 or
24 kHz, as its `start` says. SignalWire may wrap each message into an object that holds it as `rawEvent`.
The far end buffers sound and paces it. It answers a mark when it has been played, and at a clear.
Sources: twilio.com/docs/voice/media-streams/websocket-messages; signalwire.com/docs, cXML, Stream.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pybase64

from audio.formats import PCM16_16K, PCM16_24K, PCMU_8K, AudioFormat
from audio.playout import FarEndRules, Framing
from gateway.callers.phone.base64_sound import decode_sound
from gateway.callers.phone.codec import CallRefused, Echoed, FarEndEvent, Heard, MediaStarted, Pressed, Stopped
from sessions.caller_facts import CallerFacts
from sessions.errors import WireError
from sessions.keys import KEYS

AHEAD_MS = 400
MARK_EVERY_MS = 200  # a mark for each 20 ms of sound has been reported to delay the sound
MAX_ID_CHARACTERS = 128
MAX_MARK_CHARACTERS = 128
FORMATS: dict[tuple[str, int], AudioFormat] = {
    ("audio/x-mulaw", 8000): PCMU_8K,
    ("audio/x-l16", 16000): PCM16_16K,
    ("audio/x-l16", 24000): PCM16_24K,
}
INBOUND = "inbound"
# The names of our own parameters in TwiML, which come back in the start message.
CALLER, CALLED, DIRECTION = "from", "to", "direction"

# A media message as both carriers write it: up to the sequence number, which is short, and its end.
_MEDIA_HEAD = b'{"event":"media","sequenceNumber":"'
_MEDIA_PAYLOAD = b'","payload":"'
_MEDIA_END = b'"}}'
_MAX_NUMBERS_BYTES = 64  # what stands between the fixed parts: one number, or two with the name of the second


class TwilioCodec:
    """Reads and writes the messages of one media socket, whose `start` must be for one call."""

    sound_is_binary = False
    all_binary = False
    early_ms = 0
    heartbeat_ms: int | None = None  # the caller's sound comes all the time

    def __init__(self, account_sid: str, call_sid: str) -> None:
        """The ids that the start message must name."""
        self.passed_over = 0  # messages of kinds that are not known here
        self._account_sid = account_sid
        self._call_sid = call_sid
        self.stream_sid: str | None = None  # once the start has come
        self._sound_head = self._mark_head = self._clear = b""
        self._media_middle = b""  # of a media message of this stream, between its numbers

    # ---- from the far end

    def read_text(self, message: bytes) -> FarEndEvent | None:
        """Read one message. Raises WireError, and CallRefused for a start that does not fit."""
        sound = self._plain_sound(message)
        if sound is not None:
            return Heard(sound)
        found = _parsed(message)
        match found:
            case {"event": "media"}:
                return self._media(found)
            case {"event": "mark", "mark": {"name": str(name)}} if len(name) <= MAX_MARK_CHARACTERS:
                self._check_stream(found)
                return Echoed(name)
            case {"event": "dtmf", "dtmf": {"digit": str(digit)}} if digit.upper() in KEYS:
                self._check_stream(found)
                return Pressed(digit.upper())
            case {"event": "start", "start": dict(start)}:
                return self._started(found, start)
            case {"event": "stop"}:
                self._check_stream(found)
                return Stopped()
            case {"event": "connected"}:
                return None
            case {"event": "mark" | "dtmf" | "start" as kind}:
                raise WireError(f"A {kind} message lacks a field, or has one that does not fit.", code="invalid_event")
            case {"event": str()}:
                self.passed_over += 1
                return None
        raise WireError("A message lacks its event.", code="invalid_event")

    def read_binary(self, message: bytes) -> FarEndEvent | None:
        """Raises WireError: there are no binary messages."""
        raise WireError("Messages are text.", code="invalid_event")

    def _plain_sound(self, message: bytes) -> bytes | None:
        """The sound of a message that is written as usual, without parsing it whole; None for any other message."""
        middle = self._media_middle
        if not middle or not message.startswith(_MEDIA_HEAD) or not message.endswith(_MEDIA_END):
            return None
        at = message.find(middle, len(_MEDIA_HEAD), len(_MEDIA_HEAD) + _MAX_NUMBERS_BYTES + len(middle))
        if at < 0:
            return None
        at += len(middle)
        begin = message.find(_MEDIA_PAYLOAD, at, at + _MAX_NUMBERS_BYTES + len(_MEDIA_PAYLOAD))
        if begin < 0:
            return None
        try:
            return pybase64.b64decode(message[begin + len(_MEDIA_PAYLOAD) : -len(_MEDIA_END)], validate=True)
        except binascii.Error:
            return None  # parsing says what is wrong, or reads what JSON allows to write otherwise

    def _media(self, found: Mapping[str, Any]) -> Heard | None:
        self._check_stream(found)
        match found:
            case {"media": {"payload": str(payload), **media}} if isinstance(media.get("track", INBOUND), str):
                if media.get("track", INBOUND) != INBOUND:
                    return None
                return Heard(decode_sound(payload))
        raise WireError("A media message has no payload.", code="invalid_event")

    def _started(self, found: Mapping[str, Any], start: Mapping[str, Any]) -> MediaStarted:
        if self.stream_sid is not None:
            raise WireError("The start message has come twice.", code="wrong_order")
        stream_sid = start.get("streamSid", found.get("streamSid"))
        if not isinstance(stream_sid, str) or not 0 < len(stream_sid) <= MAX_ID_CHARACTERS:
            raise CallRefused("the start message has no stream id that can be used")
        if start.get("accountSid") != self._account_sid or start.get("callSid") != self._call_sid:
            raise CallRefused("the start message is for another call")
        format = _format(start.get("mediaFormat"))
        self._write_as(stream_sid)
        rules = FarEndRules(format, AHEAD_MS, Framing.ANY, mark_every_ms=MARK_EVERY_MS)
        return MediaStarted(rules, self._facts(start.get("customParameters")))

    def _facts(self, parameters: object) -> CallerFacts:
        given = dict(parameters) if isinstance(parameters, dict) else {}
        number, called, direction = (given.pop(name, None) for name in (CALLER, CALLED, DIRECTION))
        return CallerFacts.of(number, called, direction, given, self._call_sid)

    def _check_stream(self, found: Mapping[str, Any]) -> None:
        """Raises WireError for a message that names another stream."""
        stream_sid = found.get("streamSid", self.stream_sid)
        if self.stream_sid is not None and stream_sid != self.stream_sid:
            raise WireError("The message is for another stream.", code="invalid_event")

    def _write_as(self, stream_sid: str) -> None:
        """Prepare the fixed parts of the messages of this stream."""
        self.stream_sid = stream_sid
        named = b'"streamSid":' + orjson.dumps(stream_sid)
        self._sound_head = b'{"event":"media",' + named + b',"media":{"payload":"'
        self._mark_head = b'{"event":"mark",' + named + b',"mark":{"name":"'
        self._clear = b'{"event":"clear",' + named + b"}"
        self._media_middle = b'",' + named + b',"media":{"track":"inbound","chunk":"'

    # ---- to the far end

    def opening(self) -> Sequence[bytes]:
        """Nothing: the far end speaks first."""
        return ()

    def sound(self, payload: bytes) -> bytes:
        """A media message."""
        return b"".join((self._sound_head, pybase64.b64encode(payload), _MEDIA_END))

    def clear(self) -> Sequence[bytes]:
        """A clear message: the far end drops what it holds, and echoes all marks that it holds."""
        return (self._clear,)

    def mark(self, name: str) -> bytes:
        """A mark message."""
        return b"".join((self._mark_head, name.encode("ascii"), _MEDIA_END))

    def heartbeat(self) -> Sequence[bytes]:
        """Nothing."""
        return ()

    def goodbye(self, reason: str) -> Sequence[bytes]:
        """Nothing: at the socket's close the carrier goes on with the TwiML, which hangs up."""
        return ()


def _parsed(message: bytes) -> Mapping[str, Any]:
    """A message as an object, out of its wrapper if it has one."""
    try:
        found = orjson.loads(message)
    except orjson.JSONDecodeError:
        raise WireError("A message is not JSON.", code="invalid_json") from None
    if isinstance(found, dict):
        inner = found.get("rawEvent")
        if not isinstance(inner, dict):
            return found
        return {"streamSid": found["streamSid"], **inner} if "streamSid" in found else inner
    raise WireError("A message is not a JSON object.", code="invalid_event")


def _format(stated: object) -> AudioFormat:
    """The format that a start message states. Raises CallRefused for one that is not spoken here."""
    match stated:
        case {"encoding": str(encoding), "sampleRate": rate_hz, **rest} if _whole(rest.get("channels", 1)) == 1:
            format = FORMATS.get((encoding.lower(), _whole(rate_hz)))
            if format is not None:
                return format
    raise CallRefused("the start message names a sound format that is not spoken here")


def _whole(number: object) -> int:
    """A number that is written as one or as a text; -1 for anything else."""
    if isinstance(number, str):
        return int(number) if number.isascii() and number.isdecimal() and len(number) <= 6 else -1
    return number if type(number) is int else -1
