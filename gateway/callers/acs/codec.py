"""The media messages of Azure Communication Services: JSON text both ways, sound as base64 of 16-bit PCM.

The service writes its names in camelCase and takes them in PascalCase; they are read in any case. It plays what it has
been sent in order, drops that at StopAudio, and answers neither. So the clock tells what was heard.
Source: learn.microsoft.com, "Audio streaming overview" and "Audio streaming quickstart" of Call Automation; the
streaming models of the .NET SDK, for marks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from pybase64 import b64encode

from audio.formats import PCM16_16K, PCM16_24K, AudioFormat
from audio.playout import FarEndRules, Framing
from gateway.callers.phone.base64_sound import decode_sound
from gateway.callers.phone.codec import CallRefused, Echoed, FarEndEvent, Heard, MediaStarted, Pressed
from sessions.caller_facts import CallerFacts
from sessions.errors import WireError
from sessions.keys import KEYS as PHONE_KEYS

AHEAD_MS = 200
MARK_EVERY_MS = 200
FRAME_MS = 20
LONGEST_FRAME_MS = 200
FORMATS = {16_000: PCM16_16K, 24_000: PCM16_24K}
KEYS = {
    **{key: key for key in PHONE_KEYS},
    **{key.lower(): key for key in "ABCD"},
    **dict(zip(("zero", "one", "two", "three", "four"), "01234", strict=True)),
    **dict(zip(("five", "six", "seven", "eight", "nine"), "56789", strict=True)),
    "asterisk": "*",
    "star": "*",
    "pound": "#",
}

# The shape in which the service writes sound; all others take the way through the JSON parser.
_SOUND_HEAD = b'{"kind":"AudioData","audioData":{'
_SOUND_FIELD = b'"data":"'
_SOUND_TAILS = frozenset((b'","silent":false}}', b'","silent":true}}'))
_OUT_HEAD = b'{"Kind":"AudioData","AudioData":{"Data":"'
_OUT_TAIL = b'"},"StopAudio":null}'
_STOP = (b'{"Kind":"StopAudio","AudioData":null,"StopAudio":{}}',)
_MARK_TAIL = b'"}},"StopAudio":null}'
_MARK_HEAD = b'{"Kind":"AudioData","AudioData":{"Data":"","Mark":{"Id":"'


class AcsCodec:
    """Reads and writes the messages of one media socket of the service."""

    sound_is_binary = False
    all_binary = False
    early_ms = 0
    heartbeat_ms: int | None = None  # the service sends sound all the time, of silence too

    def __init__(self, facts: CallerFacts, *, marks: bool = False) -> None:
        """`facts` come from the events of the call. `marks`: ask for marks, which is a preview of the service's."""
        self._facts = facts
        self._marks = marks
        self._silence = b""  # one frame of silence, once the format is known

    # ---- from the service

    def read_text(self, message: bytes) -> FarEndEvent | None:
        """Read a message. Raises WireError for one that is not of the protocol, CallRefused for another format."""
        if message.startswith(_SOUND_HEAD):
            at = message.find(_SOUND_FIELD, len(_SOUND_HEAD))
            end = message.find(b'"', at + len(_SOUND_FIELD))
            # The end closes two objects, and the beginning opens two: so the field is the second one's own.
            if at > 0 and message[end:] in _SOUND_TAILS:
                payload = message[at + len(_SOUND_FIELD) : end]
                if payload:
                    return Heard(decode_sound(payload))
        return self._read_any(message)

    def read_binary(self, message: bytes) -> FarEndEvent | None:
        """The service sends text only."""
        raise WireError("A binary message has come where text belongs.", code="invalid_event")

    def _read_any(self, message: bytes) -> FarEndEvent | None:
        fields = _read_object(message)
        kind = fields.get("kind")
        if not isinstance(kind, str):
            raise WireError("The message has no kind.", code="invalid_event")
        read = _READERS.get(kind.lower())
        if read is None:
            return None  # a kind that the service may add
        body = fields.get(kind.lower())
        if not isinstance(body, dict):
            raise WireError("The message lacks the object of its kind.", code="invalid_event")
        return read(self, _lowered(body))

    def _started(self, metadata: dict[str, Any]) -> MediaStarted:
        encoding, channels = metadata.get("encoding"), metadata.get("channels", 1)
        if not isinstance(encoding, str) or encoding.lower() not in ("pcm", "pcm16"):
            raise CallRefused("the sound is not 16-bit PCM")
        if isinstance(channels, bool) or (channels != 1 and str(channels).lower() not in ("mono", "1")):
            raise CallRefused("the sound has more than one channel")
        rate_hz = metadata.get("samplerate")
        format = FORMATS.get(rate_hz) if type(rate_hz) is int else None
        if format is None:
            raise CallRefused("the sound has neither 16000 nor 24000 samples a second")
        frame_ms = _frame_ms(metadata.get("length"), format)
        self._silence = bytes(format.bytes_for_ms(frame_ms))
        rules = FarEndRules(format, AHEAD_MS, Framing.ANY, mark_every_ms=MARK_EVERY_MS if self._marks else None)
        return MediaStarted(rules, self._facts, frame_ms)

    def _heard(self, sound: dict[str, Any]) -> Heard:
        payload = sound.get("data")
        if isinstance(payload, str) and payload:
            return Heard(decode_sound(payload))
        if payload in (None, "") and sound.get("silent") is True:
            return Heard(self._silence)  # a silent frame counts for time, with its samples or without them
        raise WireError("A sound message lacks its sound.", code="invalid_sound")

    def _pressed(self, tone: dict[str, Any]) -> Pressed:
        data = tone.get("data")
        key = KEYS.get(data) or KEYS.get(data.lower()) if isinstance(data, str) else None
        if key is None:
            raise WireError("A key message names no key.", code="invalid_value")
        return Pressed(key)

    def _echoed(self, mark: dict[str, Any]) -> Echoed:
        name = mark.get("id")
        if not isinstance(name, str):
            raise WireError("A mark message lacks its id.", code="invalid_value")
        return Echoed(name)

    # ---- to the service

    def opening(self) -> Sequence[bytes]:
        """The service speaks first."""
        return ()

    def sound(self, payload: bytes) -> bytes:
        """The message that plays 16-bit samples, in the rate of the call."""
        return b"".join((_OUT_HEAD, b64encode(payload), _OUT_TAIL))

    def clear(self) -> Sequence[bytes]:
        """The service answers nothing to it."""
        return _STOP

    def mark(self, name: str) -> bytes:
        """A message without samples that carries the mark."""
        return b"".join((_MARK_HEAD, name.encode("ascii"), _MARK_TAIL))

    def heartbeat(self) -> Sequence[bytes]:
        """None is needed."""
        return ()

    def goodbye(self, reason: str) -> Sequence[bytes]:
        """The protocol has no message for it: a call is ended by an action over HTTP."""
        return ()


_READERS: dict[str, Callable[[AcsCodec, dict[str, Any]], FarEndEvent]] = {
    "audiometadata": AcsCodec._started,
    "audiodata": AcsCodec._heard,
    "dtmfdata": AcsCodec._pressed,
    "markdata": AcsCodec._echoed,
}


def _read_object(message: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise WireError("The message is not JSON.", code="invalid_event") from error
    if not isinstance(found, dict):
        raise WireError("The message is not a JSON object.", code="invalid_event")
    return _lowered(found)


def _lowered(fields: dict[str, Any]) -> dict[str, Any]:
    """The same fields, with names in small letters. Of names that differ in case only, the last counts."""
    return {name.lower(): value for name, value in fields.items()}


def _frame_ms(length_bytes: object, format: AudioFormat) -> int:
    """How long the service's frames are; 20 ms where it does not say so, or says what cannot be."""
    if type(length_bytes) is int and length_bytes > 0:
        frame_ms, rest = divmod(length_bytes * 1000, format.bytes_for_ms(1000))
        if not rest and frame_ms <= LONGEST_FRAME_MS:
            return frame_ms
    return FRAME_MS
