"""gateway/models/local/speech/detector.py, caller_speech.py and recogniser.py, on speech that espeak-ng makes"""

from __future__ import annotations

import audioop

import numpy as np
import pytest
from support.local.local_world import frames, front_desk, parts_or_skip, spoken

from audio.formats import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from audio.resampling import resample_in_place
from gateway.models.local.dialogue.dialogue import DialogueError, compile_dialogue
from gateway.models.local.speech.caller_speech import CallerSpeech, SpeechEnded, SpeechStarted, is_narrow, widened
from gateway.models.local.speech.detector import Sensitivity, SpeechModel
from gateway.models.local.speech.recogniser import LONGEST_BYTES, DecoderPool, Recogniser, Vocabulary
from sessions.errors import VoiceError
from sessions.ports import JsonObject

SERVER_VAD: JsonObject = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(front_desk())


@pytest.fixture(scope="module")
def pool() -> DecoderPool:
    try:
        return DecoderPool(1)
    except VoiceError as missing:
        pytest.skip(str(missing))


def new_caller_speech(recogniser: Recogniser | None, format: AudioFormat) -> CallerSpeech:
    caller_speech = CallerSpeech(SpeechModel(parts_or_skip().speech_model), recogniser)
    caller_speech.configure(format, SERVER_VAD)
    return caller_speech


def in_format(pcm16_24k: bytes, format: AudioFormat) -> bytes:
    if format == PCM16_24K:
        return pcm16_24k
    pcm16 = b"".join(resample_in_place([pcm16_24k], 24000, 8000))
    return audioop.lin2ulaw(pcm16, 2) if format == PCMU_8K else audioop.lin2alaw(pcm16, 2)


@pytest.mark.parametrize("format", [PCM16_24K, PCMU_8K, PCMA_8K], ids=str)
def test_a_sentence_is_found_and_recognised(format: AudioFormat, pool: DecoderPool, vocabulary: Vocabulary) -> None:
    recogniser = Recogniser(pool, vocabulary)
    caller_speech = new_caller_speech(recogniser, format)
    sound = in_format(spoken("what are your opening hours"), format)
    events = [event for frame in frames(sound, format) for event in caller_speech.feed(frame, "open")]
    began, over = events
    assert isinstance(began, SpeechStarted)
    assert isinstance(over, SpeechEnded)
    assert 0 <= began.at_ms < 250
    assert 1200 < over.speech_ms < 2500
    heard = recogniser.finish()
    assert heard is not None
    assert heard.text == "what are your opening hours"
    assert sum(part.frames for part in heard.parts) * 10 == pytest.approx(over.speech_ms, abs=250)


def test_telephone_sound_resampled_to_24_khz_is_detected_as_narrow(pool: DecoderPool, vocabulary: Vocabulary) -> None:
    wide = spoken("what are your opening hours")
    narrow = b"".join(resample_in_place([b"".join(resample_in_place([wide], 24000, 8000))], 8000, 24000))
    assert is_narrow(b"".join(resample_in_place([narrow], 24000, 16000))[16000:32000])
    assert not is_narrow(b"".join(resample_in_place([wide], 24000, 16000))[16000:32000])
    recogniser = Recogniser(pool, vocabulary)
    caller_speech = new_caller_speech(recogniser, PCM16_24K)
    for frame in frames(narrow):
        caller_speech.feed(frame, "open")
    heard = recogniser.finish()
    assert heard is not None
    assert heard.text == "what are your opening hours"


def test_silence_and_noise_are_not_speech() -> None:
    caller_speech = new_caller_speech(None, PCM16_24K)
    noise = np.random.default_rng(3).normal(0, 800, 48_000).astype("<i2").tobytes()
    assert not [event for frame in frames(bytes(96_000) + noise) for event in caller_speech.feed(frame, "open")]


def test_padding_does_not_overlap_the_speech_before() -> None:
    caller_speech = new_caller_speech(None, PCM16_24K)
    caller_speech.configure(PCM16_24K, {**SERVER_VAD, "prefix_padding_ms": 5000, "silence_duration_ms": 200})
    sound = spoken("hello") + spoken("hello")
    events = [event for frame in frames(sound) for event in caller_speech.feed(frame, "open")]
    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded, SpeechStarted, SpeechEnded]
    assert events[2].at_ms >= events[1].at_ms


def test_speech_is_collected_where_there_is_no_recogniser() -> None:
    caller_speech = new_caller_speech(None, PCM16_24K)
    for frame in frames(spoken("hello there")):
        caller_speech.feed(frame, "open")
    assert 16_000 < len(caller_speech.spoken) < 64_000


def test_speech_can_be_ended_or_discarded() -> None:
    caller_speech = new_caller_speech(None, PCM16_24K)
    sound = spoken("I would like to book a table")[: PCM16_24K.bytes_for_ms(1200)]
    for frame in frames(sound):
        caller_speech.feed(frame, "open")
    cut = caller_speech.end_speech()
    assert cut is not None
    assert 500 < cut.speech_ms < 1200
    assert caller_speech.end_speech() is None
    caller_speech.forget()
    assert not caller_speech.spoken


@pytest.mark.parametrize(
    ("update", "meant"),
    [
        ({"type": "semantic_vad", "eagerness": "low"}, Sensitivity(silence_ms=1000)),
        ({"type": "semantic_vad"}, Sensitivity(silence_ms=600)),
        ({"type": "server_vad", "threshold": 0, "silence_duration_ms": 0}, Sensitivity(0.0, 0, 300)),
        (None, Sensitivity(silence_ms=10_000)),
    ],
)
def test_turn_detection_sets_the_sensitivity(update: JsonObject | None, meant: Sensitivity) -> None:
    assert Sensitivity.of(update) == meant


def test_a_second_caller_waits_for_a_decoder_and_loses_no_sound(pool: DecoderPool, vocabulary: Vocabulary) -> None:
    pcm16 = b"".join(resample_in_place([spoken("tell me a joke")], 24000, 16000))
    first, second = Recogniser(pool, vocabulary), Recogniser(pool, vocabulary)
    for recogniser in (first, second):
        recogniser.start("open")
        recogniser.feed(pcm16)
    while first.busy:
        first.work()
    assert second.busy
    heard = first.finish()
    while second.busy:
        second.work()
    again = second.finish()
    assert heard is not None
    assert again is not None
    assert (again.text, again.frames) == (heard.text, heard.frames) == ("tell me a joke", heard.frames)


def test_a_dropped_sentence_returns_its_decoder(pool: DecoderPool, vocabulary: Vocabulary) -> None:
    recogniser = Recogniser(pool, vocabulary)
    recogniser.start("open")
    recogniser.feed(bytes(6400))
    assert pool.take() is None
    recogniser.drop()
    decoder = pool.take()
    assert decoder is not None
    pool.give_back(decoder)
    assert recogniser.finish() is None


def test_the_length_of_a_sentence_is_bounded(pool: DecoderPool, vocabulary: Vocabulary) -> None:
    recogniser = Recogniser(pool, vocabulary)
    decoder = pool.take()
    recogniser.start("open")
    recogniser.feed(bytes(LONGEST_BYTES + 6400))
    assert not recogniser.complete
    recogniser.drop()
    assert decoder is not None
    pool.give_back(decoder)


def test_a_word_without_a_pronunciation_is_named(pool: DecoderPool) -> None:
    offline = {"rules": [{"name": "x", "phrases": ["i want xyzzyq"], "say": "Yes."}]}
    with pytest.raises(DialogueError, match="xyzzyq") as caught:
        pool.teach(Vocabulary(compile_dialogue(offline)))
    assert caught.value.field == "pronunciations.xyzzyq"
    with pytest.raises(DialogueError, match="are not CMUdict phones"):
        pool.teach(Vocabulary(compile_dialogue({**offline, "pronunciations": {"xyzzyq": "QQ"}})))
    pool.teach(Vocabulary(compile_dialogue({**offline, "pronunciations": {"xyzzyq": "Z IH Z IY K"}})))


def test_widened_sound_keeps_every_second_sample() -> None:
    samples = np.arange(6, dtype="<i2")
    assert np.frombuffer(widened(samples.tobytes()), dtype="<i2").tolist() == [0, 0, 2, 2, 4, 4]
