"""Decodes the two messages with sound, `input_audio_buffer.append` and `response.output_audio.delta`, by position.

The base64 is cut out at the first `"audio":"` (or `"delta":"`), and only the short rest is parsed. This is exact: a
message with a backslash, or with the key's name a second time, is left to the parser. Without escapes every quote
delimits a string, so the key found is the message's own, and its value ends at the next quote. For a message of any
other shape the two functions return None, and the message is then parsed whole.

They do not check the base64: `decode_audio` does, and a message whose sound it refuses is malformed in any case.
`SoundPattern` is faster and as exact, for messages that differ from an earlier one only in their event id and sound.
Valid base64 has no quote.
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
MAX_REST_BYTES = 4096  # of a message without its sound; messages with a longer rest are parsed whole
MAX_PATTERN_BYTES = 128 * 1024  # 2 s of PCM16 at 24 kHz; longer messages need no fast path

# The message around its base64, as most clients write it.
PLAIN_APPEND = b'{"type":"input_audio_buffer.append","audio":"'
PLAIN_END = b'"}'
DELTA_TYPE = b'"response.output_audio.delta"'
ID_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

_ID = b'"event_id"'
_decode = pybase64.b64decode


class Delta(NamedTuple):
    """One `response.output_audio.delta`. `audio` is the message's base64, not validated yet."""

    response_id: str
    item_id: str
    output_index: int
    content_index: int
    audio: bytes


class SoundPattern:
    """The constant bytes of messages that differ only in their sound and their event id.

    `payload` returns a message's decoded sound; None for a message of another pattern or with invalid base64.
    """

    __slots__ = ("payload",)

    def __init__(self, payload: Callable[[bytes], bytes | None]) -> None:
        self.payload = payload

    @classmethod
    def learn(cls, text: bytes, key: bytes, audio: bytes) -> SoundPattern | None:
        """Make a pattern of a message whose base64 `audio` a scan found under `key`; None where that is impossible."""
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
    """Reads HEAD sound TAIL. Constants are computed once, outside the inner function, which runs for every frame."""
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
    """Reads HEAD id MIDDLE sound TAIL. See `_reader`."""
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


def _reader_before_id(head: bytes, middle: bytes, tail: bytes) -> Callable[[bytes], bytes | None]:
    """Reads HEAD sound MIDDLE id TAIL."""
    begin, middle_bytes, tail_bytes = len(head), len(middle), len(tail)

    def read(text: bytes) -> bytes | None:
        if not text.startswith(head) or not text.endswith(tail) or len(text) > MAX_PATTERN_BYTES:
            return None
        id_end = len(text) - tail_bytes
        id_begin = text.rfind(b'"', begin, id_end) + 1
        end = id_begin - middle_bytes
        if end < begin or text[end:id_begin] != middle or text[id_begin:id_end].translate(None, ID_BYTES):
            return None
        try:
            payload: bytes = _decode(text[begin:end], validate=True)
        except ValueError:
            return None
        return payload

    return read


PLAIN = SoundPattern(_reader(PLAIN_APPEND, PLAIN_END))


def scan_append(text: bytes) -> bytes | None:
    """The base64 in an `input_audio_buffer.append`; None for a message that is not certainly one, or has other keys."""
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
        return None  # the parser reports a key that appears twice
    if "event_id" in rest and type(rest["event_id"]) is not str:
        return None
    return audio


def scan_delta(text: bytes) -> Delta | None:
    """The fields of a `response.output_audio.delta`; None for a message that is not certainly one."""
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
    """Decode base64. Raises WireError, which names `param`; if `format` is given, also for half a sample."""
    try:
        payload: bytes = pybase64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(f"Invalid '{param}': not valid base64.", param=param) from error
    if format is not None and len(payload) % format.sample_bytes:
        raise WireError(f"Invalid '{param}': {len(payload)} bytes are not whole 16-bit samples.", param=param)
    return payload


def _cut(text: bytes, key: bytes) -> tuple[bytes, dict[str, Any]] | None:
    """The string at `key`, and the message parsed with that string emptied; None where this is not certainly exact."""
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
    # If the key is in a nested object, the string found is not the message's own.
    if type(parsed) is not dict or parsed.get(key.decode()) != "":
        return None
    return audio, parsed


def _value_of(text: bytes, key: bytes) -> int:
    """Where the string at `key` begins; -1 where there is no such key with a string."""
    for marker in (b'"' + key + b'":"', b'"' + key + b'": "'):
        at = text.find(marker)
        if at >= 0:
            return at + len(marker)
    return -1
