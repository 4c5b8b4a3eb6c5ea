"""Answers of hostile chat, transcription and speech endpoints, and how the call must react."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import math
import struct
import wave
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from peers.hostile_table import Says
from peers.hostile_wire import LATE_S, Writer, bomb, drip, opened, pour, whole

SSE = "text/event-stream"
APOLOGY = "I am sorry, I cannot answer just now."
OWN_VOICE = (400, 8_000)  # ms of a sentence in the agent's own voice
ONE_SECOND = (850, 1_300)


@dataclass(frozen=True)
class Kind:
    """One kind of answer."""

    answer: Callable[[Writer], Awaitable[None]]
    says: Says
    slow: bool = False


def tone(rate_hz: int, ms: int = 1000) -> bytes:
    """A tone, as PCM16."""
    steps = range(rate_hz * ms // 1000)
    return array("h", [int(8000 * math.sin(2 * math.pi * 300 * n / rate_hz)) for n in steps]).tobytes()


PCM = tone(24_000, 400)


def wav(rate_hz: int, channels: int = 1) -> bytes:
    """A second of it, as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(channels)
        made.setsampwidth(2)
        made.setframerate(rate_hz)
        mono = tone(rate_hz)
        made.writeframes(b"".join(mono[at : at + 2] * channels for at in range(0, len(mono), 2)))
    return file.getvalue()


def piece(delta: Any, **fields: Any) -> str:
    """One piece of a streamed answer."""
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return json.dumps(
        {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice], **fields}
    )


def chat(text: str) -> str:
    """An answer with this text."""
    return piece({"role": "assistant", "content": text})


def sse(*data: str, done: bool = True) -> bytes:
    """The pieces as a stream of server-sent events."""
    lines = [*data, "[DONE]"] if done else list(data)
    return opened(SSE) + b"".join(b"data: " + line.encode("utf-8", "surrogatepass") + b"\n\n" for line in lines)


def _write(payload: Callable[[], bytes]) -> Callable[[Writer], Awaitable[None]]:
    async def answer(writer: Writer) -> None:
        writer.write(payload())

    return answer


def _said(text: str) -> Says:
    return Says(status=("completed",), said=text)


SORRY = _said(APOLOGY)
ANY = Says(status=("completed",))


def _stream(*data: str) -> Kind:
    return Kind(_write(lambda: sse(*data)), SORRY)


def _words(says: str, *data: str) -> Kind:
    return Kind(_write(lambda: sse(*data)), _said(says))


def _raw(payload: Callable[[], bytes], says: Says = SORRY, *, slow: bool = False) -> Kind:
    return Kind(_write(payload), says, slow)


def _call(says: Says = ANY, **fields: Any) -> Kind:
    call = {"index": 0, "id": "x", "type": "function", "function": {"name": "book", "arguments": "{}"}, **fields}
    return Kind(_write(lambda: sse(piece({"tool_calls": [call]}))), says)


async def _silent(writer: Writer) -> None:
    await asyncio.sleep(LATE_S)


async def _silent_later(writer: Writer) -> None:
    writer.write(sse(chat("First of all."), done=False))
    await asyncio.sleep(LATE_S)


async def _endless_words(writer: Writer) -> None:
    writer.write(opened(SSE))
    await pour(writer, b"data: " + chat("word " * 100).encode() + b"\n\n")


async def _endless_line(writer: Writer) -> None:
    writer.write(opened(SSE) + b"data: ")
    await pour(writer, b"x" * 65536)


async def _endless_empty(writer: Writer) -> None:
    writer.write(opened(SSE))
    await pour(writer, b"data: " + piece({}).encode() + b"\n\n")


async def _endless_comments(writer: Writer) -> None:
    writer.write(opened(SSE))
    await pour(writer, b": still here\n\n" * 1000)


async def _drip(writer: Writer) -> None:
    await drip(writer, sse(chat("Slow.")), 0.02)


async def _endless_sound(writer: Writer) -> None:
    writer.write(opened("audio/pcm"))
    await pour(writer, PCM)


async def _drip_sound(writer: Writer) -> None:
    await drip(writer, whole(PCM[:200], "audio/pcm"), 0.02)


def _status(status: str, body: bytes = b"no", kind: str = "text/plain") -> Callable[[Says], Kind]:
    return lambda says: Kind(_write(lambda: whole(body, kind, status)), says)


# Answers that all three endpoints can give. The part decides how the call must react.
COMMON: dict[str, Callable[[Says], Kind]] = {
    "400": _status("400 Bad", b'{"error": null}', "application/json"),
    "401": _status("401 Unauthorized"),
    "404": _status("404 Not Found", b"[]", "application/json"),
    "429": _status("429 Too Many", b'{"error": {"code": [], "message": {}}}', "application/json"),
    "500": _status("500 Oops", b"<html>", "text/html"),
    "500 with 12 MB": _status("500 Oops", b"x" * 12_000_000),
    "no HTTP": lambda says: _raw(lambda: b"+OK ready\r\n", says),
    "nothing": lambda says: _raw(lambda: b"", says),
    "a cut in the head": lambda says: _raw(lambda: b"HTTP/1.1 200", says),
    "a cut in the body": lambda says: _raw(lambda: whole(b"x" * 100)[:-90], says),
    "an empty body": lambda says: _raw(lambda: whole(b""), says),
    "HTML": lambda says: _raw(lambda: whole(b"<html><body>Sign in</body></html>", "text/html"), says),
    "an error as JSON": lambda says: _raw(lambda: whole(b'{"error": {"message": "no"}}'), says),
    "JSON null": lambda says: _raw(lambda: whole(b"null"), says),
    "a JSON list": lambda says: _raw(lambda: whole(b"[]"), says),
    "a JSON number": lambda says: _raw(lambda: whole(b"7"), says),
    "no JSON": lambda says: _raw(lambda: whole(b"\xff\xfe{{"), says),
    "deep JSON": lambda says: _raw(lambda: whole(b"[" * 100_000), says),
    "a redirect to itself": lambda says: _raw(lambda: whole(b"", "", "307 There", "Location: chat"), says),
    "no gzip": lambda says: _raw(lambda: whole(b"x", "application/json", "200 OK", "Content-Encoding: gzip"), says),
    "a gzip bomb": lambda says: _raw(
        lambda: whole(bomb(), "application/json", "200 OK", "Content-Encoding: gzip"), says
    ),
}

CHATS: dict[str, Kind] = {
    **{kind: make(SORRY) for kind, make in COMMON.items()},
    **{f"data {data}": _stream(data) for data in ("null", "[]", "7", '"Hi"', "{}", "{{", "NaN", "[" * 50_000)},
    "data of half an emoji": _words("Hi there.", piece({"content": "Hi there."}), json.dumps({"id": "\ud83d"})),
    **{
        f"choices {json.dumps(value)}": _stream(piece({}, choices=value))
        for value in (None, [], 7, "x", {}, {"0": 1}, [None], [7], ["x"], [[]], [{}])
    },
    **{
        f"delta {json.dumps(value)}": _stream(piece(value))
        for value in (None, [], 7, "Hi", [{"content": "Hi"}], {"content": 7}, {"content": {}}, {"content": [None, 7]},
                      {"content": True}, {"content": ""}, {"content": " \n "}, {"content": "?!"}, {"role": 7})
    },
    "content in parts": _words("Hi there.", piece({"content": [{"type": "text", "text": "Hi there."}]})),
    "content with half an emoji": _words("Hi there.", piece({"content": "\ud83d Hi there."})),
    "content with thinking": Kind(
        _write(lambda: sse(chat("<think>secret"), chat(" plan</think> Hello."))),
        Says(status=("completed",), said="Hello.", said_not="secret"),
    ),
    "thinking alone": Kind(
        _write(lambda: sse(piece({"content": None, "reasoning_content": "secret plan"}))),
        Says(status=("completed",), said=APOLOGY, said_not="secret"),
    ),
    "words, then null": _words("Hi there.", chat("Hi there."), "null"),
    "words, then an error": _words("Hi there.", chat("Hi there."), '{"error": {"message": "no"}}'),
    "an error as an event": _raw(lambda: opened(SSE) + b'event: error\ndata: {"error": null}\n\n'),
    "an error as data": _stream('{"error": {"message": "no", "code": 7}}'),
    "an error as a text": _stream('{"error": "no"}'),
    "the end alone": _raw(lambda: sse()),
    "a stream without its end": _raw(lambda: sse(chat("Hi there."), done=False), _said("Hi there.")),
    "a whole answer instead of a stream": _raw(
        lambda: whole(b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi there."}}]}'), ANY
    ),
    **{
        f"tool calls {json.dumps(value)}": Kind(_write(lambda value=value: sse(piece({"tool_calls": value}))), ANY)
        for value in (7, "x", {}, [None], [7], [{}], [[]])
    },
    "a tool call with index null": _call(index=None),
    "a tool call with a text as index": _call(index="0"),
    "a tool call with index -1": _call(index=-1),
    "a tool call with an index past any number": _call(index=10**300),
    "a tool call with a list as index": _call(index=[]),
    "a tool call with function null": _call(function=None),
    "a tool call with a text as function": _call(function="book"),
    "a tool call with name null": _call(function={"name": None, "arguments": "{}"}),
    "a tool call with a number as name": _call(function={"name": 7, "arguments": "{}"}),
    "a tool call with a name of 4 MB": _call(function={"name": "x" * 4_000_000, "arguments": "{}"}),
    "a tool call with an object as arguments": _call(function={"name": "book", "arguments": {"a": 1}}),
    "a tool call with a list as arguments": _call(function={"name": "book", "arguments": [1]}),
    "a tool call with 4 MB of arguments": _call(function={"name": "book", "arguments": "[" * 4_000_000}),
    "a tool call with half an emoji": _call(function={"name": "\ud83d", "arguments": '{"\ud83d": 1}'}),
    "12 MB in one event": _raw(lambda: sse(chat("word " * 2_400_000)), ANY),
    "400000 parts in one event": _raw(lambda: sse(piece({"content": "Hi."}, extra=[{"a": 1}] * 400_000)), ANY),
    "words without end": Kind(_endless_words, ANY, slow=True),
    "a line without end": Kind(_endless_line, SORRY, slow=True),
    "empty pieces without end": Kind(_endless_empty, SORRY, slow=True),
    "comments without end": Kind(_endless_comments, SORRY, slow=True),
    "a byte at a time": Kind(_drip, _said("Slow."), slow=True),
    "silence": Kind(_silent, SORRY, slow=True),
    "words, then silence": Kind(_silent_later, _said("First of all."), slow=True),
}  # fmt: skip

OWN = Says(status=("completed",), said="This is", heard_ms=OWN_VOICE)
AS_IT_IS = Says(status=("completed",), said="This is", heard_ms=ONE_SECOND)
ID3 = b"ID3\x04\x00\x00\x00\x00\x00\x0fTSSE\x00\x00\x00\x05\x00\x00\x03Lavf"
MP3 = b"\xff\xfb\x90\x64" + bytes(413)


def _headless(riff: bytes) -> bytes:
    return riff[:40] + bytes(4) + riff[44:]


SPEECHES: dict[str, Kind] = {
    **{kind: make(OWN) for kind, make in COMMON.items()},
    "MP3": _raw(lambda: whole(MP3 * 40, "audio/mpeg"), OWN),
    "MP3 with a title": _raw(lambda: whole(ID3 + MP3 * 40, "audio/mpeg"), OWN),
    "MP3 that is called PCM": _raw(lambda: whole(MP3 * 40, "audio/pcm"), OWN),
    "Ogg": _raw(lambda: whole(b"OggS\x00\x02" + bytes(22) + b"OpusHead" + bytes(5000), "audio/ogg"), OWN),
    "FLAC": _raw(lambda: whole(b"fLaC\x00\x00\x00\x22" + bytes(5000), "audio/flac"), OWN),
    "WAV of 44.1 kHz": _raw(lambda: whole(wav(44_100), "audio/wav"), AS_IT_IS),
    "WAV of 44.1 kHz in stereo": _raw(lambda: whole(wav(44_100, 2), "audio/wav"), AS_IT_IS),
    "WAV of 24 kHz": _raw(lambda: whole(wav(24_000), "audio/wav"), AS_IT_IS),
    "WAV of 8 kHz that is called PCM": _raw(lambda: whole(wav(8_000), "audio/pcm"), AS_IT_IS),
    "WAV with size 0": _raw(lambda: whole(_headless(wav(24_000)), "audio/wav"), AS_IT_IS),
    "WAV with an endless size": _raw(lambda: whole(wav(24_000)[:40] + b"\xff" * 4 + wav(24_000)[44:]), AS_IT_IS),
    "WAV of rate 0": _raw(lambda: whole(wav(24_000)[:24] + struct.pack("<II", 0, 0) + wav(24_000)[32:]), OWN),
    "WAV that is a head alone": _raw(lambda: whole(wav(24_000)[:44], "audio/wav"), OWN),
    "WAV cut in its head": _raw(lambda: whole(wav(24_000)[:30], "audio/wav"), OWN),
    "half a sample": _raw(lambda: whole(tone(24_000) + b"\x01", "audio/pcm"), AS_IT_IS),
    "one byte": _raw(lambda: whole(b"\x01", "audio/pcm"), OWN),
    "events": _raw(lambda: sse('{"type": "speech.audio.delta", "audio": "AAAA"}'), OWN),
    "gzip": _raw(lambda: whole(gzip.compress(tone(24_000)), "audio/pcm", "200 OK", "Content-Encoding: gzip"), AS_IT_IS),
    "sound without end": Kind(_endless_sound, Says(status=("completed",), heard_ms=(1_000, 10**7)), slow=True),
    "a byte at a time": Kind(_drip_sound, Says(status=("completed",)), slow=True),
    "silence": Kind(_silent, OWN, slow=True),
}

NO_WORDS = Says(status=("completed",))
TRANSCRIPTIONS: dict[str, Kind] = {
    **{kind: make(NO_WORDS) for kind, make in COMMON.items()},
    **{
        f"text {json.dumps(value)}": _raw(lambda value=value: whole(json.dumps({"text": value}).encode()), NO_WORDS)
        for value in (None, 7, [], {}, ["x"], True, "", " ", "\ud83d hello", "\x00")
    },
    "no text": _raw(lambda: whole(b"{}"), NO_WORDS),
    "a bare text": _raw(lambda: whole(b'"hello"'), NO_WORDS),
    "plain words": _raw(lambda: whole(b"hello", "text/plain"), NO_WORDS),
    "12 MB of words": _raw(lambda: whole(json.dumps({"text": "word " * 2_400_000}).encode()), NO_WORDS),
    "400000 parts": _raw(lambda: whole(json.dumps({"text": "hi", "words": [{"a": 1}] * 400_000}).encode()), NO_WORDS),
    "events": _raw(lambda: sse('{"type": "transcript.text.delta", "delta": "hi"}'), NO_WORDS),
    "silence": Kind(_silent, NO_WORDS, slow=True),
}
