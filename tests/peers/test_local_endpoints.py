"""The embedded model with a small OpenAI-compatible server on loopback, through the real SDK"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from typing import Any

import numpy as np
import pytest
from support.local.local_world import LocalCall, front_desk_brains, spoken

from audio.formats import PCM16_24K
from sessions.ports import JsonObject

pytest.importorskip("openai", reason="needs openai: pip install 'patchbay[openai]'")
pytest.importorskip("uvicorn")

from peers.endpoint_house import (
    TONE,
    Body,
    FakeOpenAI,
    Until,
    calling,
    deltas,
    events,
    hostile,
    run,
    until_in,
)

from gateway.models.local.chat import APOLOGY

pytestmark = [pytest.mark.openai_sdk, pytest.mark.sockets, pytest.mark.timed]

CHAT, SPEECH, TRANSCRIPTION = frozenset({"chat"}), frozenset({"speech"}), frozenset({"transcription"})
LOOKUP: JsonObject = {
    "type": "function",
    "name": "lookup",
    "description": "Looks up.",
    "parameters": {"type": "object"},
}
FAILED = "local model endpoint failed"


def is_own_voice(sound: bytes) -> bool:
    """Whether espeak-ng has spoken all of "We are at twelve Quay Street, right by the old harbour." """
    return len(sound) > PCM16_24K.bytes_for_ms(2500) and len(set(sound)) > 200


def is_tone(sound: bytes) -> bool:
    """Whether the sound is a tone of 382 Hz for each of two sentences, and not noise."""
    samples = np.frombuffer(sound, dtype="<i2").astype(np.float64)
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / 24_000)
    near = spectrum[np.abs(frequencies - 382) < 20].sum()
    return abs(len(samples) / 24_000 - 2.0) < 0.1 and bool(near > 0.98 * spectrum.sum())


def test_a_chat_endpoint_answers_sentence_by_sentence_and_calls_tools() -> None:
    fake = FakeOpenAI(
        chats=[
            deltas(
                {"role": "assistant", "content": "Let me see. I am loo"},
                {"content": "king."},
                {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "lookup", "arguments": '{"a"'}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
            ),
            deltas({"content": "Found it."}),
        ]
    )

    async def test(call: LocalCall, until: Until) -> None:
        call.brain.configured({"instructions": "Be kind.", "tools": [LOOKUP]})
        answer = call.type("Look it up")
        await until(lambda: answer.finished)
        assert answer.text == "Let me see. I am looking."
        assert answer.sound
        assert [(name, json.loads(arguments)) for _, name, arguments in answer.calls] == [("lookup", {"a": 1})]
        answer = call.tool_gives(found=True)
        await until(lambda: answer.finished)
        assert answer.text == "Found it."

    run(fake, CHAT, test)
    first, second = fake.requests
    assert first["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Look it up"},
    ]
    assert first["tools"][0]["function"]["name"] == "lookup"
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert second["messages"][3]["tool_call_id"] == second["messages"][2]["tool_calls"][0]["id"]


def test_a_chat_endpoint_that_fails_costs_an_apology() -> None:
    async def test(call: LocalCall, until: Until) -> None:
        answer = call.type("Hello")
        await until(lambda: answer.finished)
        assert answer.text == APOLOGY

    run(FakeOpenAI([Body([b"{}"], "application/json", 500)]), CHAT, test)


def test_an_interrupted_answer_is_not_read_further() -> None:
    fake = FakeOpenAI([deltas(*[{"content": "One. Two. Three. "}] * 50)])

    async def test(call: LocalCall, until: Until) -> None:
        answer = call.type("Count")
        await until(lambda: bool(answer.sound))
        answer.ended = True
        call.brain.stopped(answer.id)
        call.advance(1000)
        assert call.brain.deadline_ms is None

    run(fake, CHAT, test)


def test_a_transcription_endpoint_transcribes_speech_outside_the_grammar() -> None:
    fake = FakeOpenAI(transcript=Body([b'{"text": " Oh, and where are you exactly? "}'], "application/json"))

    async def test(call: LocalCall, until: Until) -> None:
        call.hear(spoken("the quick brown fox jumps over the lazy dog"))
        await until(lambda: bool(call.turns.said) and call.turns.responses[0].finished)
        assert call.turns.said == ["Oh, and where are you exactly?"]
        assert "Quay Street" in call.turns.responses[0].text

    run(fake, TRANSCRIPTION, test)
    assert fake.heard_bytes > 40_000


def test_speech_is_not_understood_where_the_transcription_endpoint_fails() -> None:
    async def test(call: LocalCall, until: Until) -> None:
        call.hear(spoken("hello"))
        await until(lambda: bool(call.turns.said) and call.turns.responses[0].finished)
        assert call.turns.said == [""]

    run(FakeOpenAI(transcript=Body([b"{}"], "application/json", 503)), TRANSCRIPTION, test)


def test_a_speech_endpoint_speaks() -> None:
    fake = FakeOpenAI()

    async def test(call: LocalCall, until: Until) -> None:
        answer = call.type("Where are you?")
        await until(lambda: answer.finished)
        assert len(answer.sound) == 2 * 48_000  # 1 s for each sentence

    run(fake, SPEECH, test)
    assert fake.requests[0]["input"] == "We are at twelve Quay Street, right by the old harbour."


def test_the_fallback_speaks_where_the_speech_endpoint_fails() -> None:
    async def test(call: LocalCall, until: Until) -> None:
        answer = call.type("Where are you?")
        await until(lambda: answer.finished)
        assert is_own_voice(answer.sound)

    run(FakeOpenAI(speech=Body([b"{}"], "application/json", 500)), SPEECH, test)


# ---- deviations of compatible services


async def said(call: LocalCall, until: Until) -> Any:
    """The answer to a typed question."""
    call.brain.configured({"instructions": "Be kind.", "tools": [LOOKUP]})
    answer = call.type("Where are you?")
    await until(lambda: answer.finished)
    return answer


def part(arguments: Any, **fields: Any) -> dict[str, Any]:
    """One entry of `tool_calls`."""
    return {**fields, "function": {"name": "lookup", "arguments": arguments}}


TWO = ['{"a": 1}', '{"a": 2}']


@pytest.mark.parametrize(
    ("body", "text", "calls"),
    [
        (deltas({"content": [{"type": "text", "text": "Hi."}]}), "Hi.", []),
        (deltas({"content": "<think>x</think> Hello."}), "Hello.", []),
        (deltas({"content": "<thi"}, {"content": "nk>x</thi"}, {"content": "nk> Hello."}), "Hello.", []),
        (deltas({"content": None, "reasoning_content": "x"}, {"content": "Hello."}), "Hello.", []),
        (deltas({"content": "\ud83d"}, {"content": "\ude00 Hello \ud83d."}), "\U0001f600 Hello \ufffd.", []),
        (deltas(None, {}, {"content": "Hi."}, {"tool_calls": [None]}), "Hi.", []),
        (Body(events({"choices": None}, {"choices": [{"delta": {"content": "Hi."}}]})), "Hi.", []),
        (Body([b'{"choices":[{"message":{"content":"Hi."}}]}'], "application/json"), "Hi.", []),
        (deltas({"content": "..."}), APOLOGY, []),
        (deltas({"content": "<think>x"}), APOLOGY, []),
        (deltas({"tool_calls": [part({"a": 1}, index=0)]}), "", TWO[:1]),
        (deltas(*({"tool_calls": [part(one, index=0, id=one)]} for one in TWO)), "", TWO),
        (deltas({"tool_calls": [part(TWO[0]), part(TWO[1], index=None)]}), "", TWO),
    ],
)
def test_deviations_of_compatible_services_are_read(body: Body, text: str, calls: list[str]) -> None:
    async def test(call: LocalCall, until: Until) -> None:
        answer = await said(call, until)
        assert (answer.text, [arguments for _, _, arguments in answer.calls]) == (text, calls)

    run(FakeOpenAI([body]), CHAT, test)


ODD_DELTAS: list[Any] = [7, "words", [], {"content": 7}, {"content": {"text": 7}}, {"content": [7]}, {"tool_calls": 7}]
ODD_CHUNKS: list[Any] = [None, 7, "words", [], {}, {"choices": 7}, {"choices": [7]}, {"error": {"code": 7}}]
ODD = [
    *map(deltas, ODD_DELTAS),
    deltas({"tool_calls": [{"function": {"name": [], "arguments": 7}}]}),
    *(Body(events(chunk)) for chunk in ODD_CHUNKS),
    Body([b"data: {\n\n"]),
    Body([b"event: error\ndata: {}\n\n"]),
    Body([b"\xff\xfe\x00"]),
    Body([], None),
    Body([b"null"], "application/json"),
    Body([b"<html>busy</html>"], "text/html"),
    Body([b"[" * 200_000], "application/json"),
    Body([b'{"error": ["no"]}'], "application/json", 400),
    Body([b"x" * 60_000], "text/html", 502, times=1000),
    Body([], None, 302, location="foo:bar"),
    Body([], None, 204),
]


@pytest.mark.parametrize("body", ODD)
def test_any_other_answer_becomes_the_apology(body: Body) -> None:
    async def test(call: LocalCall, until: Until) -> None:
        answer = await said(call, until)
        assert (answer.text, answer.calls) == (APOLOGY, [])
        assert len(answer.sound) > PCM16_24K.bytes_for_ms(2000)
        again = await said(call, until)  # the call continues
        assert again.text == APOLOGY

    run(FakeOpenAI([body]), CHAT, test)


def test_a_stream_that_breaks_off_is_followed_by_the_apology() -> None:
    delta = {"content": "Let me see. I am", "tool_calls": [part("{}", index=0)]}

    async def test(call: LocalCall, until: Until) -> None:
        answer = await said(call, until)
        assert (answer.text, answer.calls) == (f"Let me see. I am {APOLOGY}", [])

    run(FakeOpenAI([Body(deltas(delta).pieces[:1], cut=True)]), CHAT, test)


@pytest.mark.parametrize(
    "body",
    [
        Body([b"null"], "application/json"),
        Body([b'{"text": 7}'], "application/json"),
        Body([b'{"text": ["words"]}'], "application/json"),
        Body([b"words"], "text/plain"),
        Body([b"<html>busy</html>"], "text/html"),
        Body([], None),
        Body([b'{"text": "wo'], "application/json", cut=True),
        Body([b"x" * 60_000], "application/json", times=1000),
    ],
)
def test_any_other_transcript_is_not_understood(body: Body) -> None:
    async def test(call: LocalCall, until: Until) -> None:
        call.hear(spoken("hello"))
        await until(lambda: bool(call.turns.said) and call.turns.responses[0].finished)
        assert call.turns.said == [""]
        assert call.turns.responses[0].text

    run(FakeOpenAI(transcript=body), TRANSCRIPTION, test)


def wav(rate_hz: int, bits: int, channels: int = 1, tag: int = 1) -> bytes:
    """1 s of a tone of 382 Hz, in a file with an unknown length."""
    wave = np.repeat(0.3 * np.sin(np.arange(rate_hz) * 2 * np.pi * 382 / rate_hz), channels)
    samples: Any = {8: (wave * 127 + 128).astype("u1"), 16: (wave * 32767).astype("<i2"), 32: wave.astype("<f4")}[bits]
    frame_bytes = channels * bits // 8
    head = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, bits)
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + head + b"data\xff\xff\xff\xff" + bytes(samples.tobytes())


@pytest.mark.parametrize(
    "body",
    [
        Body([wav(44_100, 16)], "audio/wav"),
        Body([wav(22_050, 8)], "audio/wav"),
        Body([wav(48_000, 16, 2)], "audio/x-wav"),
        Body([wav(44_100, 32, 2, tag=3)], "audio/mpeg"),
        Body([wav(24_000, 16)[at : at + 99] for at in range(0, 49_000, 99)], "audio/pcm"),
        Body([TONE, b"\x7f"], "audio/pcm"),
        Body([TONE], "application/octet-stream"),
        Body([TONE], None),
    ],
)
def test_a_speech_endpoint_s_sound_is_decoded_as_its_header_says(body: Body) -> None:
    async def test(call: LocalCall, until: Until) -> None:
        answer = call.type("Where are you?")
        await until(lambda: answer.finished)
        assert is_tone(answer.sound)

    run(FakeOpenAI(speech=body), SPEECH, test)


NOISE = np.random.default_rng(3).bytes(4096)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (Body([b"ID3\x04", NOISE], "audio/mpeg"), "the endpoint sent MP3"),
        (Body([NOISE] * 4, "audio/mpeg"), "the content type names an encoding other than PCM"),
        (Body([b"OggS", NOISE], "audio/pcm"), "the endpoint sent Ogg"),
        (Body([b'{"error": "no key"}'], "application/json"), "the endpoint sent text"),
        (Body([b"<html>busy</html>"], "text/html"), "the endpoint sent text"),
        (Body([], "audio/pcm"), "the endpoint sent nothing"),
        (Body([b"\0"], "audio/pcm"), "the endpoint sent bytes that are not PCM"),
        (Body([NOISE] * 4, "audio/pcm"), "the endpoint sent bytes that are not PCM"),
        (Body([bytes(96_000)], "audio/pcm"), "the endpoint sent no sound"),
        (Body([wav(44_100, 16)[:44]], "audio/wav"), "the endpoint sent no sound"),
        (Body([wav(100, 16)], "audio/wav"), "the endpoint sent a WAV file at 100 Hz"),
        (Body([], None, 204), "the endpoint sent nothing"),
    ],
)
def test_the_fallback_speaks_where_the_endpoint_sends_no_sound(
    body: Body, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(call: LocalCall, until: Until) -> None:
        answer = call.type("Where are you?")
        await until(lambda: answer.finished)
        assert is_own_voice(answer.sound)

    run(FakeOpenAI(speech=body), SPEECH, test)
    lines = [vars(record) for record in caplog.records if record.message == FAILED]
    assert [(line["why"], line["content_type"]) for line in lines] == [(why, body.content_type or "")] * 2


# ---- a proxy

PROXY = "http://127.0.0.1:9"  # no server listens on this port


@pytest.fixture
def _proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "http_proxy", "https_proxy", "all_proxy"):
        for spelt in (name, name.upper()):
            if name == "no_proxy":
                monkeypatch.delenv(spelt, raising=False)
            else:
                monkeypatch.setenv(spelt, "http://user:secret@127.0.0.1:9")


@pytest.mark.usefixtures("_proxied")
def test_a_request_to_this_machine_uses_no_proxy() -> None:
    async def test(call: LocalCall, until: Until) -> None:
        call.hear(spoken("hello"))
        await until(lambda: bool(call.turns.said) and call.turns.responses[0].finished)
        assert call.turns.said == ["where are you"]
        assert call.turns.responses[0].text == "Here."
        assert len(call.turns.responses[0].sound) == len(TONE)

    run(FakeOpenAI([deltas({"content": "Here."})]), CHAT | SPEECH | TRANSCRIPTION, test)


@pytest.mark.usefixtures("_proxied")
def test_the_proxy_of_a_failed_request_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with calling(1, CHAT, base_url="http://192.0.2.7/v1") as call, asyncio.timeout(20):
            answer = call.type("Where are you?")
            await until_in(call, lambda: answer.finished)
            assert answer.text == APOLOGY

    asyncio.run(main())
    (line,) = [vars(record) for record in caplog.records if record.message == FAILED]
    assert (line["why"], line["host"], line["through_proxy"]) == ("APIConnectionError", "192.0.2.7", PROXY)
    assert "secret" not in str(line)


# ---- another call in the same process

HEAVY = {
    "deep": ("chat", Body([b"data: " + b"[" * 100_000 + b"\n\n"], times=100)),
    "many choices": ("chat", Body([b'data: {"choices": [' + b"null," * 40_000 + b"null]}\n\n"], times=100)),
    "many events": ("chat", Body([b"data: {}\n\n" * 5000], times=200)),
    "many lines": ("chat", Body([b"data: \n" * 5000], times=200)),
    "many calls": ("chat", Body([b'data: {"choices": [{"delta": {"tool_calls": [{}]}}]}\n\n' * 1000], times=200)),
    "dots": ("chat", Body([b'data: {"choices": [{"delta": {"content": "' + b"." * 200_000 + b'a"}}]}\n\n'], times=50)),
    "tags": ("chat", Body([b'data: {"choices": [{"delta": {"content": "' + b"<think " * 9000 + b'"}}]}\n\n'])),
    "an error": ("chat", Body([b"x" * 60_000], "application/json", 500, times=1000)),
    "sound": ("speech", Body([TONE], "audio/pcm", times=1000)),
    "a file": ("speech", Body([wav(44_100, 32, 2, tag=3)], "audio/wav", times=100)),
    "a transcript": ("transcription", Body([b'{"text": "' + b"a" * 60_000], "application/json", times=1000)),
}
MOST_BLOCKED_MS = 60


@pytest.mark.parametrize("name", HEAVY)
def test_a_call_beside_one_with_a_hostile_endpoint_hears_no_gap(name: str) -> None:
    kind, body = HEAVY[name]
    blocked_ms: list[float] = []  # CPU time of this thread between two steps of the call; other threads do not count

    async def beside(calm: LocalCall) -> None:
        """A call that is answered by the rules, in real time."""
        answer = calm.type("Where are you?")
        while not answer.finished or calm.turns.now_ms < 2500:
            calm.advance(20)
            began_s = time.thread_time()
            await asyncio.sleep(0.02)
            blocked_ms.append((time.thread_time() - began_s) * 1000)
        assert is_own_voice(answer.sound)

    async def main() -> None:
        with hostile(body) as port:
            async with asyncio.timeout(30), calling(port, frozenset({kind})) as bad:
                if kind == "transcription":  # its speech must be finished before the measurement begins
                    bad.hear(spoken("hello"))
                calm = LocalCall(front_desk_brains())
                running = asyncio.create_task(beside(calm))
                await asyncio.sleep(0.1)
                if kind != "transcription":
                    bad.type("Where are you?")
                while not running.done():
                    bad.advance(20)
                    await asyncio.sleep(0.02)
                await running
                calm.brain.close()

    asyncio.run(main())
    assert max(blocked_ms) < MOST_BLOCKED_MS
