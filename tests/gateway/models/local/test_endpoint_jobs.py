"""gateway/models/local/endpoints.py, chat.py, endpoint_transcription.py and endpoint_speech.py.

Whatever an endpoint does costs only its own answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import virtual
from support.anything import ANYTHING
from support.calls.call_rig import later
from support.local.endpoint_fakes import END, FakeClient, delta, events

from audio.formats import PCM16_24K, PCMU_8K, AudioFormat
from gateway.guard import ForeignTasks
from gateway.models.local.chat import APOLOGY, FIRST_WORD_S, ChatAnswerer
from gateway.models.local.dialogue.answerer import RequestedCall, Typed
from gateway.models.local.endpoint_speech import SENTENCE_S, EndpointSpeech
from gateway.models.local.endpoint_transcription import EndpointTranscript, transcript_of
from gateway.models.local.endpoints import FIRST_S, GAP_S, Endpoint
from gateway.models.local.speech.text_to_speech import LazySound, Sound

ENDPOINT = Endpoint("http://192.0.2.7/v1", "m")
TONE = (8000 * np.sin(np.arange(24_000) * 0.1)).astype("<i2").tobytes()
LOOKUP = {"type": "function", "name": "lookup", "parameters": {"type": "object"}}


class FallbackVoice:
    """The fallback voice: three pieces that the tests recognise."""

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        return LazySound(iter([b"fall", b"ba", b"ck"]), 3)


async def until_done(part: Any, most_s: float = 200.0) -> float:
    """Wait until a job has ended, and return how long that took."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while not part.done:
        await later(0.02)
        assert loop.time() - began_s < most_s
    return loop.time() - began_s


async def answered(client: FakeClient) -> tuple[str, list[RequestedCall], float, ChatAnswerer]:
    """The sentences and calls of an answer, how long it took, and the answerer with its conversation."""
    foreign = ForeignTasks()
    answerer = ChatAnswerer(ENDPOINT, client, foreign.start)
    answerer.configured({"instructions": "Be kind.", "tools": [LOOKUP]})
    answer = answerer.answer([Typed("Hello")])
    sentences: list[str] = []
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while not answer.done:
        sentences += answer.take()
        await later(0.02)
        assert loop.time() - began_s < 200
    sentences += answer.take()
    assert answer.take() == []
    assert await foreign.close(1.0) == 0
    return " ".join(sentences), answer.calls(), loop.time() - began_s, answerer


async def heard(client: FakeClient) -> str | None:
    foreign = ForeignTasks()
    transcript = EndpointTranscript(ENDPOINT, client, foreign.start, bytes(3200))
    await until_done(transcript)
    assert await foreign.close(1.0) == 0
    return transcript.text


async def spoken(client: FakeClient, format: AudioFormat = PCM16_24K) -> tuple[bytes, float]:
    """The sound of a sentence, and how long that took."""
    foreign = ForeignTasks()
    sound = EndpointSpeech(ENDPOINT, client, foreign.start, FallbackVoice()).begin("Hello.", format)
    loop = asyncio.get_running_loop()
    began_s, payload = loop.time(), b""
    while True:  # take the sound like `SpokenAnswer`
        payload += sound.take()
        if sound.done:
            break
        await later(0.02)
        assert loop.time() - began_s < 200
    assert await foreign.close(1.0) == 0
    return payload, loop.time() - began_s


@pytest.mark.parametrize("make", ANYTHING)
@pytest.mark.parametrize("at_once", [True, False])
def test_any_exception_costs_only_the_answer(make: Callable[[], BaseException], at_once: bool) -> None:
    async def main() -> None:
        beside = asyncio.Task(later(1))
        pieces = [] if at_once else events(delta(content="Well. I th"))
        text, calls, _, answerer = await answered(FakeClient(pieces, make, at_once))
        assert (text, calls) == (APOLOGY if at_once else f"Well. I th {APOLOGY}", [])
        assert await heard(FakeClient([b'{"text": "hel'], make, at_once)) is None
        assert (await spoken(FakeClient([], make, at_once, "audio/pcm")))[0] == b"fallback"
        assert (await spoken(FakeClient([TONE[:4800]], make, content_type="audio/pcm")))[0] in (
            TONE[:4800],
            b"fallback",
        )
        again = answerer.answer([Typed("Still there?")])
        await until_done(again)
        await beside

    virtual.run(main())


def test_a_failure_is_logged_with_its_reason_and_without_words(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await answered(FakeClient([], lambda: TypeError("what the caller said")))
        await answered(FakeClient([b"<html>busy</html>"], content_type="text/html"))
        await spoken(FakeClient([b"ID3\x04" + bytes(9000)], content_type="audio/mpeg"))
        await heard(FakeClient([b"[]"], content_type="application/json"))

    virtual.run(main())
    lines = [vars(record) for record in caplog.records]
    assert [(line["part"], line["why"]) for line in lines] == [
        ("chat", "TypeError"),
        ("chat", "the answer has no word to speak"),
        ("speech", "the endpoint sent MP3"),
        ("transcription", "the answer is not a JSON object"),
    ]
    assert [line.get("content_type") for line in lines] == [None, "text/html", "audio/mpeg", "application/json"]
    assert "endpoint_fakes.py" in lines[0]["place"]
    assert "said" not in str(lines)
    assert {line["levelno"] for line in lines} == {logging.WARNING}


def test_an_answer_is_spoken_and_remembered() -> None:
    async def main() -> None:
        chunks = [delta(content=part) for part in ("<thi", "nk>x</think> One.", " Two", ". \ud83d", "\ude00")]
        client = FakeClient([*events(*chunks, delta("stop")), END])
        text, calls, _, answerer = await answered(client)
        assert (text, calls) == ("One. Two. \U0001f600", [])
        answerer.answer([Typed("And?")])
        await later(0)
        await later(0)
        assert client.requests[1]["messages"][2] == {"role": "assistant", "content": " One. Two. \U0001f600"}
        assert client.closed >= 1

    virtual.run(main())


@pytest.mark.parametrize(
    "pieces",
    [
        [b'{"choices": [{"message": {"content": "Hi there."}, "finish_reason": "stop"}]}'],
        [b'{"choices": [{"mess', b'age": {"content": "Hi there."}}]}'],
        [*events(delta(content="Hi there."))],  # neither a finish_reason nor [DONE]
        [*events(delta(content="Hi "), {"choices": []}, delta(content="there.", finish_reason="length")), END],
        [b": ping\n\n", *events(delta(content="Hi there.")), END, *events({"error": "behind the end"})],
        [b"".join([*events(delta(content="Hi there.")), END]).rstrip()],
    ],
)
def test_answers_in_other_shapes_are_read(pieces: list[bytes]) -> None:
    for content_type in ("text/event-stream", "application/json", "", None, 7):
        assert virtual.run(answered(FakeClient(pieces, content_type=content_type)))[0] == "Hi there."


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [END],
        [b""],
        [b"null"],
        [b"[]"],
        [b"7"],
        [b"\xff\xfe\0"],
        [b"<html>busy</html>"],
        [b'{"error": {"message": "no"}}'],
        [b'{"choices": []}'],
        [*events(None), END],
        [*events({"error": {"message": "no", "code": 429}}), END],
        [b'event: error\ndata: {"message": "no"}\n\n', END],
        [*events(delta(content="...")), END],
        [*events(delta(content="<think>x")), END],
        [*events(delta(refusal="No.", finish_reason="stop")), END],
        [*events(delta(reasoning_content="x", finish_reason="stop")), END],
        [*events(delta("content_filter")), END],
        [*events(delta("length", tool_calls=[{"function": {"name": "lookup", "arguments": "{"}}])), END],
        [b"data: " + b"x" * 300_000],
        [b"data: x\n\n", END],
    ],
)
def test_an_answer_without_a_word_becomes_the_apology(pieces: list[bytes]) -> None:
    assert virtual.run(answered(FakeClient(pieces)))[:2] == (APOLOGY, [])


def test_an_answer_with_tool_calls_needs_no_word() -> None:
    call = {"index": 0, "function": {"name": "lookup", "arguments": {"a": 1}}}
    chunks = [delta(content="..."), delta("tool_calls", tool_calls=[call, None, {**call, "id": "y"}])]
    text, calls, _, _ = virtual.run(answered(FakeClient([*events(*chunks), END])))
    assert text == ""
    assert [(call.tool, call.arguments) for call in calls] == [("lookup", '{"a": 1}')] * 2


def test_an_answer_that_breaks_off_makes_no_call_and_apologises() -> None:
    call = {"index": 0, "function": {"name": "lookup", "arguments": '{"a": 1}'}}
    pieces = events(delta(content="Let me see. I"), delta(tool_calls=[call]))
    text, calls, _, _ = virtual.run(answered(FakeClient(pieces, OSError)))
    assert (text, calls) == (f"Let me see. I {APOLOGY}", [])


def test_a_fault_after_the_end_of_an_answer_is_ignored() -> None:
    for client in (
        FakeClient(events(delta(content="Hi.", finish_reason="stop")), OSError),
        FakeClient(events(delta(content="Hi.", finish_reason="stop")), stays_open=True),
        FakeClient([*events(delta(content="Hi.")), END], stays_open=True),
    ):
        text, _, took_s, _ = virtual.run(answered(client))
        assert text == "Hi."
        assert took_s < 1.5


def test_a_late_answer_is_given_up() -> None:
    text, _, took_s, _ = virtual.run(answered(FakeClient(stays_open=True)))
    assert text == APOLOGY
    assert took_s == pytest.approx(FIRST_S, abs=0.1)
    text, _, took_s, _ = virtual.run(answered(FakeClient(events(delta(content="Hi.")), stays_open=True)))
    assert text == f"Hi. {APOLOGY}"
    assert took_s == pytest.approx(GAP_S, abs=0.1)
    thinking = FakeClient(events(*[delta(reasoning_content="x")] * 1000), gap_s=1.0)
    text, _, took_s, _ = virtual.run(answered(thinking))
    assert text == APOLOGY
    assert took_s == pytest.approx(FIRST_WORD_S, abs=0.1)
    payload, took_s = virtual.run(spoken(FakeClient(stays_open=True, content_type="audio/pcm")))
    assert payload == b"fallback"
    assert took_s == pytest.approx(FIRST_S, abs=0.1)
    _, took_s = virtual.run(spoken(FakeClient([TONE[:4800]] * 1000, gap_s=1.0, content_type="audio/pcm")))
    assert took_s == pytest.approx(SENTENCE_S, abs=0.1)
    assert virtual.run(heard(FakeClient(stays_open=True))) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50)
@given(st.lists(json_values, max_size=4), st.binary(max_size=50))
def test_any_json_and_any_bytes_lead_to_an_answer(chunks: list[Any], noise: bytes) -> None:
    for pieces in ([*events(*chunks), END], [noise], [b"data: " + noise + b"\n\n"]):
        text, calls, _, _ = virtual.run(answered(FakeClient(pieces)))
        assert text
        text.encode()
        assert calls == []
        virtual.run(heard(FakeClient(pieces)))
        assert virtual.run(spoken(FakeClient(pieces, content_type="audio/wav")))[0] == b"fallback"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"text": " Hello. "}', "Hello."),
        (b'{"text": ""}', None),
        (b'{"text": "a\\ud83d\\u0000"}', "a\ufffd"),
        (b'{"text": "a", "error": null, "usage": {}}', "a"),
    ],
)
def test_a_transcript_is_read(body: bytes, text: str | None) -> None:
    assert transcript_of(body) == text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"words"',
        b"words",
        b"<html>",
        b"\xff",
        b"{}",
        b'{"text": null}',
        b'{"text": 7}',
        b'{"text": ["words"]}',
        b'{"text": {"text": "words"}}',
        b'{"text": "words", "error": {}, "error": "no"}',
        b'{"text": "' + b"a" * 9000 + b'"}',
        b'{"text": "' + b"a" * 300_000 + b'"}',
        b"[" * 100_000,
    ],
)
def test_any_other_transcript_is_not_understood(body: bytes) -> None:
    assert virtual.run(heard(FakeClient([body]))) is None


def test_a_status_without_an_answer_is_a_fault() -> None:
    for status in (100, 302, 304):
        assert virtual.run(heard(FakeClient([b'{"text": "a"}'], status_code=status))) is None
    assert virtual.run(heard(FakeClient([b'{"text": "a"}'], status_code=201))) == "a"


def test_speech_is_converted_to_the_call_s_format() -> None:
    assert virtual.run(spoken(FakeClient([TONE], content_type="audio/pcm")))[0] == TONE
    payload, _ = virtual.run(spoken(FakeClient([TONE], content_type="audio/pcm"), PCMU_8K))
    assert 7990 <= len(payload) <= 8050


def test_a_sentence_is_spoken_by_one_voice_only() -> None:
    cut = FakeClient([TONE[:9600], b""], OSError, content_type="audio/pcm", gap_s=0.1)
    assert virtual.run(spoken(cut))[0] == TONE[:9600]
    assert (
        virtual.run(spoken(FakeClient([b"\0" * 9600, b""], OSError, content_type="audio/pcm", gap_s=0.1)))[0]
        == b"fallback"
    )


def test_a_dropped_answer_is_stopped() -> None:
    async def main() -> None:
        foreign = ForeignTasks()
        client = FakeClient(stays_open=True)
        answer = ChatAnswerer(ENDPOINT, client, foreign.start).answer([Typed("Hello")])
        sound = EndpointSpeech(ENDPOINT, client, foreign.start, FallbackVoice()).begin("Hello.", PCM16_24K)
        await later(1)
        answer.drop()
        sound.drop()
        await later(0)
        await later(0)
        assert len(foreign) == 0
        assert client.closed == 2
        early = ChatAnswerer(ENDPOINT, client, foreign.start).answer([Typed("Hello")])
        early.drop()  # before its first step
        await later(0)
        await later(0)
        assert len(foreign) == 0
        assert early.done

    virtual.run(main())


def test_the_fallback_s_sound_is_stopped_too() -> None:
    async def main() -> None:
        sound = EndpointSpeech(ENDPOINT, FakeClient([], OSError), ForeignTasks().start, FallbackVoice()).begin(
            "x", PCM16_24K
        )
        await later(1)
        assert sound.take() == b"fall"
        sound.drop()
        assert sound.done

    virtual.run(main())
