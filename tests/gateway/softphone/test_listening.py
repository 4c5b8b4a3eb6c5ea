"""What a caller tells of the agent from sound alone."""

from __future__ import annotations

import math
import struct

from audio.formats import PCM16_8K
from audio.g711 import silence
from gateway.softphone.far_ends.ear import Ear
from gateway.softphone.listening import GREETING_MS, QUIET_MS, Listener
from gateway.softphone.plan import SpokenTurn
from gateway.softphone.report import CallReport, TurnRow


def tone(ms: int, rate_hz: int = 8000) -> bytes:
    """A sine well above the gate."""
    return b"".join(struct.pack("<h", int(8000 * math.sin(n * 0.2))) for n in range(ms * rate_hz // 1000))


class Heard:
    """An ear and its listener, asked every 20 ms."""

    def __init__(self) -> None:
        self.ear = Ear(PCM16_8K)
        self.told: list[str] = []
        self.report = CallReport("desk")
        self.listener = Listener(self.ear, self.report, self.told.append)

    def says(self, ms: int, now_ms: int, *, quiet: bool = False) -> None:
        self.ear.sound(silence(PCM16_8K, ms * 8) if quiet else tone(ms), now_ms)

    def turn(self, begin_ms: int, spoken_ms: int, quiet_ms: int = 0) -> None:
        pcm = tone(spoken_ms, 24_000) + bytes(quiet_ms * 48)
        self.listener.turn_begins(TurnRow(1, "hello", begin_ms), SpokenTurn("hello", pcm, None, ""))

    def first(self, asked: str, until_ms: int, *more: int) -> int | None:
        """The first multiple of 20 ms at which the question is answered with yes."""
        ask = getattr(self.listener, asked)
        return next((at for at in range(0, until_ms, 20) if ask(*more, at)), None)


def test_a_greeting_is_over_when_it_has_been_quiet_for_long_enough() -> None:
    heard = Heard()
    heard.says(500, 100)
    found = heard.first("greeted", 5000)
    assert found is not None
    assert 600 + QUIET_MS <= found <= 640 + QUIET_MS


def test_a_pause_between_sentences_does_not_end_a_greeting() -> None:
    heard = Heard()
    heard.says(500, 100)
    heard.says(QUIET_MS - 100, 600, quiet=True)
    heard.says(500, 500 + QUIET_MS)
    found = heard.first("greeted", 9000)
    assert found is not None
    assert 1000 + 2 * QUIET_MS <= found <= 1040 + 2 * QUIET_MS


def test_silence_is_no_greeting_and_is_waited_for_only_so_long() -> None:
    heard = Heard()
    heard.says(10_000, 0, quiet=True)
    assert heard.first("greeted", 9000) == GREETING_MS + 20


def test_only_sound_after_the_audible_part_of_a_turn_answers_it() -> None:
    heard = Heard()
    heard.says(500, 0)
    heard.turn(2000, 400, quiet_ms=600)
    assert heard.told == ["caller  hello"]
    assert len(heard.report.turns) == 1
    heard.says(300, 2900)  # in the silence at the end of the recording
    found = heard.first("answered", 9000)
    assert found is not None
    assert 3200 + QUIET_MS <= found <= 3240 + QUIET_MS


def test_a_turn_without_an_answer_is_not_answered() -> None:
    heard = Heard()
    heard.says(500, 0)
    heard.turn(2000, 400)
    assert heard.first("answered", 20_000) is None
    assert heard.first("sounded_for", 20_000, 0) is None


def test_an_answer_has_sounded_since_its_first_audible_sample() -> None:
    heard = Heard()
    heard.turn(0, 400)
    heard.says(400, 800, quiet=True)
    heard.says(900, 1200)
    found = heard.first("sounded_for", 9000, 200)
    assert found is not None
    assert 1400 <= found <= 1420
