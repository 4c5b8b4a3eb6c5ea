"""The two messages that carry sound, `input_audio_buffer.append` and `response.output_audio.delta`, read by position.

The base64 is cut out at the first `"audio":"` (or `"delta":"`), and only the short rest is parsed. This is exact: a
message that holds a backslash is left to the parser, and so is one where the key's name stands a second time. Without
escapes every quote delimits a string, so the key found is the message's own, and its text ends at the next quote. What
the two functions do not fit they answer with None, and the message is then parsed whole.

Neither looks into the base64: `decode_audio` does, and a message whose sound it refuses is malformed either way.
Quicker still, and as exact: `SoundPattern`, for a message that differs from one that was read before in its event's id
and its sound only. Validated base64 holds no quote.
Source: OpenAI Realtime API reference, the client event and the server event of these names.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import pybase64

from audio.formats import AudioFormat
from sessions.errors import WireError

APPEND_KEYS = frozenset({"type", "audio", "event_id"})
MAX_REST_BYTES = 4096  # all but the sound; a longer rest is no shape that we know
MAX_PATTERN_BYTES = 128 * 1024  # 2 s of PCM16 at 24 kHz; what is longer is in no hurry

# The whole message but its base64, as most write it.
PLAIN_APPEND = b'{"type":"input_audio_buffer.append","audio":"'
PLAIN_END = b'"}'
DELTA_TYPE = b'"response.output_audio.delta"'
ID_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

_ID = b'"event_id"'
_decode = pybase64.b64decode


class Delta(NamedTuple):
    """One `response.output_audio.delta`. `audio` is the base64 as it stands in the message, not yet validated."""

    response_id: str
    item_id: str
    output_index: int
    content_index: int
    audio: bytes


class SoundPattern:
    """The bytes of a message around the places that differ from one to the next: its sound, and its event's id.

    `payload` reads a message: the sound of one of this pattern; None for any other, and for sound that is not base64.
    """

    __slots__ = ("payload",)

    def __init__(self, payload: Callable[[bytes], bytes | None]) -> None:
        self.payload = payload

    @classmethod
    def learn(cls, text: bytes, key: bytes, audio: bytes) -> SoundPattern | None:
        """What the scan has just read under `key`, as a pattern; None where the message is not of a shape for it."""
        begin = _value_of(text, key)
        head, tail = text[:begin], text[begin + len(audio) :]
        if _ID not in text:
            return cls(_reader(head, tail))
        if text.count(_ID) != 1:
            return None
        where = head if _ID in head else tail
        id_begin = _value_of(where, b"event_id")
        id_end = where.find(b'"', id_begin)
        if id_begin < 0 or id_end < 0:
            return None
        if where is head:
            return cls(_reader_behind_id(head[:id_begin], head[id_end:], tail))
        return cls(_reader_before_id(head, tail[:id_begin], tail[id_end:]))


def _reader(head: bytes, tail: bytes) -> Callable[[bytes], bytes | None]:
    """Reads HEAD sound TAIL. Here and below what is fixed is bound once: this runs for every frame."""
    begin, end, least = len(head), -len(tail), len(head) + len(tail)

    def read(text: bytes) -> bytes | None:
        if not text.startswith(head) or not text.endswith(tail) or not least <= len(text) <= MAX_PATTERN_BYTES:
            return None
        try:
            payload: bytes = _decode(text[begin:end], validate=True)
        except ValueError:
            return None
        return payload

    return read


def _reader_behind_id(head: bytes, middle: bytes, tail: bytes) -> Callable[[bytes], bytes | None]:
    """Reads HEAD id MIDDLE sound TAIL."""
    id_begin, middle_bytes, tail_bytes = len(head), len(middle), len(tail)

    def read(text: bytes) -> bytes | None:
        if not text.startswith(head) or not text.endswith(tail) or len(text) > MAX_PATTERN_BYTES:
            return None
        id_end = text.find(b'"', id_begin)
        begin, end = id_end + middle_bytes, len(text) - tail_bytes
        if begin > end or text[id_end:begin] != middle or text[id_begin:id_end].translate(None, ID_BYTES):
            return None
        try:
            payload: bytes = _decode(text[begin:end], validate=True)
        except ValueError:
            return None
        return payload

    return read


def _reader_before_id(head: bytes, behind: bytes, tail: bytes) -> Callable[[bytes], bytes | None]:
    """Reads HEAD sound BEHIND id TAIL."""
    begin, behind_bytes, tail_bytes = len(head), len(behind), len(tail)

    def read(text: bytes) -> bytes | None:
        if not text.startswith(head) or not text.endswith(tail) or len(text) > MAX_PATTERN_BYTES:
            return None
        id_end = len(text) - tail_bytes
        id_begin = text.rfind(b'"', begin, id_end) + 1
        end = id_begin - behind_bytes
        if end < begin or text[end:id_begin] != behind or text[id_begin:id_end].translate(None, ID_BYTES):
            return None
        try:
            payload: bytes = _decode(text[begin:end], validate=True)
        except ValueError:
            return None
        return payload

    return read


PLAIN = SoundPattern(_reader(PLAIN_APPEND, PLAIN_END))


def scan_append(text: bytes) -> bytes | None:
    """The base64 in an `input_audio_buffer.append`; None when it is not surely one, with no key but those we know."""
    if text.startswith(PLAIN_APPEND) and text.endswith(b'"}'):
        audio = text[len(PLAIN_APPEND) : -2]
        if audio.isascii() and b'"' not in audio and b"\\" not in audio:
            return audio
    found = _cut(text, b"audio")
    if found is None:
        return None
    audio, rest = found
    if rest.get("type") != "input_audio_buffer.append" or not rest.keys() <= APPEND_KEYS:
        return None
    if text.count(b'"type"') != 1 or text.count(b'"event_id"') > 1:
        return None  # a key that stands twice is complained about elsewhere
    if "event_id" in rest and type(rest["event_id"]) is not str:
        return None
    return audio


def scan_delta(text: bytes) -> Delta | None:
    """What a `response.output_audio.delta` says; None when the message is not surely one."""
    found = _cut(text, b"delta") if DELTA_TYPE in text else None
    if found is None:
        return None
    audio, rest = found
    if rest.get("type") != "response.output_audio.delta":
        return None
    response_id, item_id = rest.get("response_id"), rest.get("item_id")
    output_index, content_index = rest.get("output_index"), rest.get("content_index")
    if type(response_id) is not str or type(item_id) is not str:
        return None
    if type(output_index) is not int or type(content_index) is not int:
        return None
    return Delta(response_id, item_id, output_index, content_index, audio)


def decode_audio(audio: bytes | str, format: AudioFormat | None = None, *, param: str = "audio") -> bytes:
    """Base64 to payload bytes. Raises WireError naming `param`, also for half a sample where the format is given."""
    try:
        payload: bytes = pybase64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(f"Invalid '{param}': not valid base64.", param=param) from error
    if format is not None and len(payload) % format.sample_bytes:
        raise WireError(f"Invalid '{param}': {len(payload)} bytes are not whole 16-bit samples.", param=param)
    return payload


def _cut(text: bytes, key: bytes) -> tuple[bytes, dict[str, Any]] | None:
    """The string at `key`, and the message parsed with that string emptied; None where this is not surely right."""
    begin = _value_of(text, key)
    if begin < 0:
        return None
    end = text.find(b'"', begin)
    if end < 0 or begin + len(text) - end > MAX_REST_BYTES or b"\\" in text:
        return None
    rest = text[:begin] + text[end:]
    audio = text[begin:end]
    if rest.count(b'"' + key + b'"') != 1 or not audio.isascii():
        return None
    try:
        parsed = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return None
    # Not at the top: the key stands in a nested object, and the text found is not the message's own.
    if type(parsed) is not dict or parsed.get(key.decode()) != "":
        return None
    return audio, parsed


def _value_of(text: bytes, key: bytes) -> int:
    """Where the text of the string at `key` begins; -1 where there is no such key with a string."""
    for marker in (b'"' + key + b'":"', b'"' + key + b'": "'):
        at = text.find(marker)
        if at >= 0:
            return at + len(marker)
    return -1
