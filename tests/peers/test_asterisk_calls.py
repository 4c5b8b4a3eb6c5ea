"""Calls by telephone through a real Asterisk to a real gateway, judged by the sound that the telephone has got."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from peers.asterisk.baresip import call_by_baresip
from peers.asterisk.house import ANSWER, DESK, ECHO, KEYS, House, open_house, speech
from peers.asterisk.report import inside_speech, is_loud
from peers.asterisk.rtp import FRAME_BYTES
from peers.asterisk.sip import NotAnswered
from peers.asterisk.telephone import Telephone, calling, read_sound, write_sound
from peers.demo_desk import needs_local

from audio.formats import PCMU_8K
from gateway.models.scripted.sound import word

pytestmark = [pytest.mark.asterisk, pytest.mark.sockets, pytest.mark.timed]

CALLER = "+4930111"
WAYS = ["as", "as16", "ws-ulaw", "ws-slin16", "wst-alaw", "dial-ulaw", "dial-slin16"]
# A telephone's jitter buffer covers this. A release is held to 25 on a machine that does nothing else.
PAUSE_S = 0.2  # longer than any gap inside speech
GAP_MS = float(os.environ.get("TEST_GAP_MS", "60"))


@pytest.fixture(autouse=True)
def _new_sessions(house: House) -> None:
    house.know_sessions()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house")) as house:
        yield house


def is_even(telephone: Telephone) -> None:
    """Inside speech, frames come evenly: a bare tone has gaps of 21 to 22 ms at the 99th percentile."""
    stretches = inside_speech(telephone.rtp.packets)
    gaps = sorted((after.at_s - before.at_s) * 1000 for one in stretches for before, after in pairwise(one))
    print(f"gaps inside speech: p99 {gaps[int(0.99 * len(gaps))]:.1f} ms, {len(gaps)} of them")
    assert gaps[int(0.99 * len(gaps))] <= GAP_MS, (gaps[-20:], sorted(telephone.rtp.late_ms)[-20:])


def sent(words: int) -> bytes:
    """The scripted voice's sound of so many words, in mu-law. It has no -0, which a conversion to PCM would lose."""
    return (word(150, PCMU_8K) * words).replace(b"\x7f", b"\xff")


def got(telephone: Telephone) -> bytes:
    """All sound that the telephone has got, in mu-law."""
    return b"".join(packet.payload for packet in telephone.rtp.packets).replace(b"\x7f", b"\xff")


@needs_local
@pytest.mark.parametrize("way", ["as", "ws-ulaw", "dial-slin16"])
def test_a_table_is_booked_by_voice(house: House, tmp_path: Path, way: str) -> None:
    before = len(house.bookings())
    name = {"as": "Robinson", "ws-ulaw": "Carter", "dial-slin16": "Baker"}[way]
    lines = (
        "I want to book a table",
        "two people",
        "tomorrow at seven p m",
        f"my name is {name}",
        "yes please",
        "goodbye",
    )
    with calling(house.asterisk.sip_port, f"{way}-{DESK}", caller=CALLER) as telephone:
        assert telephone.hears_speech_end(10)
        for line in lines[:-1]:
            telephone.say(speech(line, tmp_path))
            assert telephone.hears_speech_end(12), line
        telephone.say(speech(lines[-1], tmp_path))
        assert telephone.until(lambda: telephone.ended, 10)
        assert telephone.ended_by_exchange
    is_even(telephone)
    rows = house.bookings()
    assert len(rows) == before + 1
    assert name in rows[-1]
    session = house.last_session()
    assert session["end_reason"] == "agent_hung_up"
    assert (session["caller"]["number"], session["caller"]["called"]) == (CALLER, DESK)
    assert session["protocol"] == ("audiosocket" if way == "as" else "asterisk")
    assert CALLER not in house.server.log()


@pytest.mark.parametrize("way", WAYS)
def test_keys_are_gathered_and_the_agent_hangs_up_after_its_goodbye(house: House, way: str) -> None:
    with calling(house.asterisk.sip_port, f"{way}-{KEYS}", caller=CALLER) as telephone:
        assert telephone.hears_speech_end(10)
        pressed_s = time.monotonic()
        telephone.press("12#")
        assert telephone.until(lambda: telephone.ended, 10)
        assert telephone.ended_by_exchange
    goodbye = telephone.report(pressed_s)
    assert goodbye.loud * 20 > 600  # five words of 150 ms
    assert goodbye.loud_last_s is not None
    assert telephone.ended_at_s is not None
    assert telephone.ended_at_s - goodbye.loud_last_s < 1.5
    session = house.last_session()
    assert session["end_reason"] == "agent_hung_up"
    said = [entry["text"] for turn in house.server.turns(session["session_id"]) for entry in turn["entries"]]
    assert "12" in said
    assert house.until_no_channels()


@pytest.mark.parametrize("way", ["as", "ws-ulaw", "ws-slin", "dial-ulaw"])
def test_a_long_answer_is_heard_sample_by_sample(house: House, tmp_path: Path, way: str) -> None:
    with calling(house.asterisk.sip_port, f"{way}-{ECHO}") as telephone:
        assert telephone.hears_speech_end(10)
        telephone.say(speech("hello there", tmp_path))
        assert telephone.hears_speech_end(20)
    assert sent(len(ANSWER.split())) in got(telephone), telephone.report()
    is_even(telephone)


@pytest.mark.parametrize("way", ["as", "ws-ulaw", "wst-ulaw", "dial-ulaw"])
def test_speech_stops_at_once_when_the_caller_interrupts_and_the_record_says_what_was_heard(
    house: House, tmp_path: Path, way: str
) -> None:
    with calling(house.asterisk.sip_port, f"{way}-{ECHO}") as telephone:
        assert telephone.hears_speech_end(10)
        telephone.say(speech("hello there", tmp_path))
        asked_s = time.monotonic()
        assert telephone.until(lambda: telephone.report(asked_s).loud > 40, 6)
        telephone.say(speech("stop it please", tmp_path))
        said_s = time.monotonic()
        assert telephone.until(lambda: telephone.report(said_s).loud > 25, 6)  # the next answer is played
    session = house.last_session()
    (cut,) = [turn for turn in house.server.turns(session["session_id"]) if turn["interrupted"]]
    (answer,) = [entry for entry in cut["entries"] if entry["speaker"] == "agent"]
    heard_ms, last_s = heard_of_answer(telephone, asked_s)
    print(f"{way}: heard {answer['heard_ms']} ms ({answer['heard']}), got {heard_ms} ms")
    assert answer["heard"] == ("estimated" if way == "as" else "reported")
    # The end of a word's sound cannot be told from the 30 ms of silence behind it.
    assert -31 <= answer["heard_ms"] - heard_ms <= 20
    interrupted_s = session["started_at"] + cut["end_ms"] / 1000 - (time.time() - time.monotonic())
    assert (last_s - interrupted_s) * 1000 <= 40


def heard_of_answer(telephone: Telephone, since_s: float) -> tuple[int, float]:
    """How much of the scripted answer the telephone has got, in milliseconds, and when the last frame of it came.

    The next answer comes after a pause. It begins as each word does, so it must not be taken for the rest of this one.
    """
    packets = [packet for packet in telephone.rtp.packets if packet.at_s >= since_s]
    while not is_loud(packets[0]):
        del packets[0]
    pauses = (at for at, (one, after) in enumerate(pairwise(packets), start=1) if after.at_s - one.at_s > PAUSE_S)
    del packets[next(pauses, len(packets)) :]
    sound = b"".join(packet.payload for packet in packets).replace(b"\x7f", b"\xff")
    pairs = enumerate(zip(sound, sent(len(ANSWER.split())), strict=False))
    same = next((at for at, (heard, said) in pairs if heard != said), len(sound))
    return same // 8, packets[(same - 1) // FRAME_BYTES].at_s


@pytest.mark.parametrize("way", ["as", "ws-ulaw", "dial-ulaw"])
def test_the_caller_hangs_up_in_mid_answer(house: House, tmp_path: Path, way: str) -> None:
    with calling(house.asterisk.sip_port, f"{way}-{ECHO}") as telephone:
        assert telephone.hears_speech_end(10)
        telephone.say(speech("hello there", tmp_path))
        since_s = time.monotonic()
        assert telephone.until(lambda: telephone.report(since_s).loud > 25, 6)
    assert house.last_session()["end_reason"] == "caller_hung_up"
    assert house.until_no_channels()


@pytest.mark.parametrize("way", ["as", "ws-ulaw", "dial-ulaw"])
def test_a_caller_who_goes_mute_in_mid_sentence_is_answered_all_the_same(
    house: House, tmp_path: Path, way: str
) -> None:
    with calling(house.asterisk.sip_port, f"{way}-{ECHO}") as telephone:
        assert telephone.hears_speech_end(10)
        telephone.say(speech("hello there, is anybody", tmp_path)[: 8_000 * 2])
        muted_s = time.monotonic()
        telephone.mute(3)
        answer = telephone.report(muted_s)
    assert answer.loud_first_s is not None
    assert answer.loud_first_s - muted_s < 2.5
    assert house.last_session()["summary"]["line"]["filled_ms"] > 1_000


@pytest.mark.parametrize("way", ["as", "ws-ulaw", "dial-ulaw"])
def test_a_caller_without_sound_hears_the_greeting_and_stays(house: House, way: str) -> None:
    with calling(house.asterisk.sip_port, f"{way}-{ECHO}") as telephone:
        telephone.mute(5)
        assert not telephone.ended
        report = telephone.report()
        assert report.loud > 10, report
    assert house.last_session()["end_reason"] == "caller_hung_up"


def test_a_number_without_an_agent_is_busy(house: House) -> None:
    for way in ("as", "ws-ulaw", "dial-ulaw"):
        with pytest.raises(NotAnswered) as refused, calling(house.asterisk.sip_port, f"{way}-555"):
            pass
        assert refused.value.status == 486


@pytest.mark.parametrize("way", ["as", "ws-ulaw"])
def test_baresip_is_greeted(house: House, tmp_path: Path, way: str) -> None:
    quiet = tmp_path / "quiet.wav"
    write_sound(quiet, bytes(16_000 * 4))
    heard = read_sound(call_by_baresip(house.asterisk, tmp_path / "baresip", f"{way}-{ECHO}", quiet, 6))
    assert max(memoryview(heard).cast("h")) > 1_000
    assert house.last_session()["end_reason"] == "caller_hung_up"


@contextmanager
def both_ways(house: House) -> Iterator[tuple[Telephone, Telephone]]:
    """Two calls that have been greeted, over AudioSocket and over the WebSocket channel."""
    with calling(house.asterisk.sip_port, f"as-{ECHO}") as first:
        assert first.hears_speech_end(10)
        with calling(house.asterisk.sip_port, f"ws-ulaw-{ECHO}") as second:
            assert second.hears_speech_end(10)
            yield first, second


def test_at_sigterm_calls_go_on_and_new_ones_are_busy(tmp_path: Path) -> None:
    with open_house(tmp_path, PATCHBAY_DRAIN_S="4") as house:
        with both_ways(house) as (first, second):
            house.server.signal(signal.SIGTERM)
            signalled_s = time.monotonic()
            first.say(speech("hello there", tmp_path))
            with pytest.raises(NotAnswered), calling(house.asterisk.sip_port, f"as-{ECHO}"):
                pass
            assert first.until(lambda: first.report(signalled_s).loud > 25, 3)
            assert first.until(lambda: first.ended and second.ended, 8)
            assert first.ended_at_s is not None
            assert 3 < first.ended_at_s - signalled_s < 7
        assert house.server.wait() == 0
        assert "the gateway has left the call: SUCCESS" in house.asterisk.log()


def test_at_kill_9_the_dialplan_goes_on(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        with both_ways(house) as (first, second):
            house.server.signal(signal.SIGKILL)
            killed_s = time.monotonic()
            assert first.until(lambda: first.ended and second.ended, 5)
            assert first.ended_at_s is not None
            assert first.ended_at_s - killed_s < 3
        left = [line for line in house.asterisk.log().splitlines() if "app_verbose" in line]
        assert sum("the gateway has left the call" in line for line in left) == 2, left
