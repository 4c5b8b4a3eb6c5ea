"""gateway/models/local/speech/sentences.py, voice.py and text_to_speech.py"""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.local.local_world import RecordedResponse, parts_or_skip

from audio.formats import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from gateway.models.local.dialogue.answerer import ReadyAnswer
from gateway.models.local.dialogue.rules import Speech
from gateway.models.local.speech.sentences import LONGEST_CHARS, sentences_of, split_off
from gateway.models.local.speech.text_to_speech import AHEAD_MS, ReadySound, Sound, SpokenAnswer


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("At 7:30 p.m. on Friday. Fine.", ["At 7:30 p.m. on Friday.", "Fine."]),
        ("Dr. Smith is here. Yes.", ["Dr. Smith is here.", "Yes."]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("One\nTwo", ["One", "Two"]),
        ("  ", []),
        ("no end", ["no end"]),
    ],
)
def test_an_answer_is_split_into_sentences(text: str, sentences: list[str]) -> None:
    assert sentences_of(text) == sentences


def test_a_long_sentence_is_split_at_a_comma_or_a_space() -> None:
    for text in ("some words, " * 100, "word " * 200, "x" * 1000):
        pieces = sentences_of(text)
        assert all(0 < len(piece) <= LONGEST_CHARS for piece in pieces)
        assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


def test_a_growing_text_yields_complete_sentences_only() -> None:
    assert split_off("Hello there. How a") == (["Hello there."], "How a")
    assert split_off("Hello there.") == ([], "Hello there.")
    assert split_off("He costs 7.") == ([], "He costs 7.")


MARKS = ("." * 20_000, "!)" * 10_000, "." + ")" * 20_000, ". " * 10_000, "." + " " * 20_000 + "a")


@pytest.mark.parametrize("mark", MARKS, ids=range(len(MARKS)))
def test_a_text_of_punctuation_only_takes_no_longer_than_another(mark: str) -> None:
    began_s = time.thread_time()
    split_off(mark)
    assert time.thread_time() - began_s < 0.1


@pytest.mark.parametrize("format", [PCM16_24K, PCMU_8K, PCMA_8K], ids=str)
def test_the_voice_speaks_in_every_format(format: AudioFormat) -> None:
    voice = parts_or_skip().voice
    sound = voice.speak("Hello, how can I help?", Speech(), format)
    assert len(sound) % format.sample_bytes == 0
    assert 1000 < format.ms_of(format.samples_in(len(sound))) < 3000
    if format == PCM16_24K:
        assert np.abs(np.frombuffer(sound, dtype="<i2")).max() > 3000


def test_pace_and_voice_follow_the_settings() -> None:
    voice = parts_or_skip().voice
    slow = voice.speak("How can I help you today?", Speech(words_per_minute=100), PCM16_24K)
    fast = voice.speak("How can I help you today?", Speech(words_per_minute=300), PCM16_24K)
    assert len(slow) > 1.5 * len(fast)
    assert voice.speak("Hello", Speech(voice="nobody"), PCM16_24K)
    assert voice.has("en-us")
    assert not voice.has("nobody")


class Beeper:
    """Text to speech in which every sentence lasts `ms`."""

    def __init__(self, ms: int) -> None:
        self.ms = ms
        self.sentences: list[str] = []

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        self.sentences.append(sentence)
        return ReadySound(bytes(format.bytes_for_ms(self.ms)))


def test_speech_is_synthesised_at_most_one_second_ahead() -> None:
    text_to_speech, response = Beeper(700), RecordedResponse("r")
    answer = SpokenAnswer(response, ReadyAnswer("One. Two. Three. Four.", None), text_to_speech, 0)
    assert answer.advance(0) is None
    assert text_to_speech.sentences == ["One.", "Two."]
    assert answer.due_ms(0) == 1400 - AHEAD_MS
    assert answer.advance(399) is None
    assert len(text_to_speech.sentences) == 2
    assert answer.advance(400) is None
    assert len(text_to_speech.sentences) == 3
    assert answer.advance(1100) == []
    assert response.text == "One. Two. Three. Four."
    assert len(response.sound) == PCM16_24K.bytes_for_ms(2800)


def test_a_dropped_answer_synthesises_no_more() -> None:
    text_to_speech, response = Beeper(2000), RecordedResponse("r")
    answer = SpokenAnswer(response, ReadyAnswer("One. Two.", None), text_to_speech, 0)
    answer.advance(0)
    answer.drop()
    answer.advance(5000)
    assert text_to_speech.sentences == ["One."]


def test_a_text_answer_is_not_synthesised() -> None:
    text_to_speech, response = Beeper(2000), RecordedResponse("r", text_only=True)
    assert SpokenAnswer(response, ReadyAnswer("One. Two.", None), text_to_speech, 0).advance(0) == []
    assert response.text == "One. Two."
    assert not text_to_speech.sentences


class Dripping:
    """Sound that arrives in pieces."""

    def __init__(self) -> None:
        self.pieces = [b"", b"\0" * 4800, b"\0" * 4800]
        self.dropped = False

    @property
    def done(self) -> bool:
        return not self.pieces

    def take(self) -> bytes:
        return self.pieces.pop(0)

    def drop(self) -> None:
        self.dropped = True


class DrippingTextToSpeech:
    def __init__(self, sound: Dripping) -> None:
        self.sound = sound

    def begin(self, sentence: str, format: AudioFormat) -> Sound:
        return self.sound


def test_sound_that_is_still_arriving_is_polled() -> None:
    sound, response = Dripping(), RecordedResponse("r")
    answer = SpokenAnswer(response, ReadyAnswer("One.", None), DrippingTextToSpeech(sound), 0)
    assert answer.advance(0) is None
    assert response.text == ""
    assert answer.due_ms(0) == 20
    assert answer.advance(20) is None
    assert (response.text, len(response.sound)) == ("One.", 4800)
    assert answer.advance(40) == []
    assert (response.text, len(response.sound)) == ("One.", 9600)


def test_dropping_an_answer_drops_the_sound_in_progress() -> None:
    sound = Dripping()
    answer = SpokenAnswer(RecordedResponse("r"), ReadyAnswer("One.", None), DrippingTextToSpeech(sound), 0)
    answer.advance(0)
    answer.drop()
    assert sound.dropped
