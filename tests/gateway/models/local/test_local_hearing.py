"""gateway/models/local/detector.py, hearing.py and recogniser.py, on speech that espeak-ng makes"""

from __future__ import annotations

import audioop

import numpy as np
import pytest
from local_world import frames, front_desk, parts_or_skip, spoken

from audio.formats import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from audio.resampling import resample_in_place
from gateway.models.local.detector import Sensitivity, SpeechModel
from gateway.models.local.dialogue import DialogueError, compile_dialogue
from gateway.models.local.hearing import Hearing, SpeechBegan, SpeechOver, is_narrow, widened
from gateway.models.local.recogniser import LONGEST_BYTES, DecoderPool, Recogniser, Vocabulary
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


def ears(recogniser: Recogniser | None, format: AudioFormat) -> Hearing:
    hearing = Hearing(SpeechModel(parts_or_skip().speech_model), recogniser)
    hearing.configure(format, SERVER_VAD)
    return hearing


def in_format(pcm16_24k: bytes, format: AudioFormat) -> bytes:
    if format == PCM16_24K:
        return pcm16_24k
    pcm16 = b"".join(resample_in_place([pcm16_24k], 24000, 8000))
    return audioop.lin2ulaw(pcm16, 2) if format == PCMU_8K else audioop.lin2alaw(pcm16, 2)


@pytest.mark.parametrize("format", [PCM16_24K, PCMU_8K, PCMA_8K], ids=str)
def test_a_sentence_is_found_and_recognised(format: AudioFormat, pool: DecoderPool, vocabulary: Vocabulary) -> None:
    recogniser = Recogniser(pool, vocabulary)
    hearing = ears(recogniser, format)
    sound = in_format(spoken("what are your opening hours"), format)
    events = [event for frame in frames(sound, format) for event in hearing.heard(frame, "open")]
    began, over = events
    assert isinstance(began, SpeechBegan)
    assert isinstance(over, SpeechOver)
    assert 0 <= began.at_ms < 250
    assert 1200 < over.speech_ms < 2500
    heard = recogniser.finish()
    assert heard is not None
    assert heard.text == "what are your opening hours"
    assert sum(part.frames for part in heard.parts) * 10 == pytest.approx(over.speech_ms, abs=250)


def test_telephone_sound_brought_up_to_24_khz_is_known_for_what_it_is(
    pool: DecoderPool, vocabulary: Vocabulary
) -> None:
    wide = spoken("what are your opening hours")
    narrow = b"".join(resample_in_place([b"".join(resample_in_place([wide], 24000, 8000))], 8000, 24000))
    assert is_narrow(b"".join(resample_in_place([narrow], 24000, 16000))[16000:32000])
    assert not is_narrow(b"".join(resample_in_place([wide], 24000, 16000))[16000:32000])
    recogniser = Recogniser(pool, vocabulary)
    hearing = ears(recogniser, PCM16_24K)
    for frame in frames(narrow):
        hearing.heard(frame, "open")
    heard = recogniser.finish()
    assert heard is not None
    assert heard.text == "what are your opening hours"


def test_silence_and_noise_are_not_speech() -> None:
    hearing = ears(None, PCM16_24K)
    noise = np.random.default_rng(3).normal(0, 800, 48_000).astype("<i2").tobytes()
    assert not [event for frame in frames(bytes(96_000) + noise) for event in hearing.heard(frame, "open")]


def test_padding_does_not_reach_into_the_speech_before() -> None:
    hearing = ears(None, PCM16_24K)
    hearing.configure(PCM16_24K, {**SERVER_VAD, "prefix_padding_ms": 5000, "silence_duration_ms": 200})
    sound = spoken("hello") + spoken("hello")
    events = [event for frame in frames(sound) for event in hearing.heard(frame, "open")]
    assert [type(event) for event in events] == [SpeechBegan, SpeechOver, SpeechBegan, SpeechOver]
    assert events[2].at_ms >= events[1].at_ms


def test_speech_is_kept_where_no_recogniser_listens() -> None:
    hearing = ears(None, PCM16_24K)
    for frame in frames(spoken("hello there")):
        hearing.heard(frame, "open")
    assert 16_000 < len(hearing.spoken) < 64_000


def test_speech_can_be_cut_or_forgotten() -> None:
    hearing = ears(None, PCM16_24K)
    sound = spoken("I would like to book a table")[: PCM16_24K.bytes_for_ms(1200)]
    for frame in frames(sound):
        hearing.heard(frame, "open")
    cut = hearing.cut()
    assert cut is not None
    assert 500 < cut.speech_ms < 1200
    assert hearing.cut() is None
    hearing.forget()
    assert not hearing.spoken


@pytest.mark.parametrize(
    ("wish", "meant"),
    [
        ({"type": "semantic_vad", "eagerness": "low"}, Sensitivity(silence_ms=1000)),
        ({"type": "semantic_vad"}, Sensitivity(silence_ms=600)),
        ({"type": "server_vad", "threshold": 0, "silence_duration_ms": 0}, Sensitivity(0.0, 0, 300)),
        (None, Sensitivity(silence_ms=10_000)),
    ],
)
def test_turn_detection_sets_the_sensitivity(wish: JsonObject | None, meant: Sensitivity) -> None:
    assert Sensitivity.of(wish) == meant


def test_a_second_caller_waits_for_a_decoder_and_loses_nothing(pool: DecoderPool, vocabulary: Vocabulary) -> None:
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


def test_a_dropped_sentence_gives_its_decoder_back(pool: DecoderPool, vocabulary: Vocabulary) -> None:
    recogniser = Recogniser(pool, vocabulary)
    recogniser.start("open")
    recogniser.feed(bytes(6400))
    assert pool.take() is None
    recogniser.drop()
    decoder = pool.take()
    assert decoder is not None
    pool.give_back(decoder)
    assert recogniser.finish() is None


def test_an_endless_sentence_is_bounded(pool: DecoderPool, vocabulary: Vocabulary) -> None:
    recogniser = Recogniser(pool, vocabulary)
    decoder = pool.take()
    recogniser.start("open")
    recogniser.feed(bytes(LONGEST_BYTES + 6400))
    assert not recogniser.heard_all
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
