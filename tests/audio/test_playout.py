from __future__ import annotations

import array
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, AudioFrame, Coding
from audio.g711 import silence
from audio.marks import Mark
from audio.playout import FarEndRules, Framing, PlayOut
from audio.resampling import Converter

SILENT = silence(PCMU_8K, 160)
EXACT = FarEndRules(PCMU_8K, 0, Framing.ONE)
MARKED = FarEndRules(PCMU_8K, 400, Framing.ANY, mark_every_ms=200)


def mu_law(ms: int, byte: bytes = b"a") -> AudioFrame:
    return AudioFrame(byte * (ms * 8), PCMU_8K, 0)


def tone(ms: int, format: AudioFormat) -> AudioFrame:
    samples = array.array("h", (int(9_000 * math.sin(n / 9)) for n in range(format.rate_hz * ms // 1000)))
    return AudioFrame(samples.tobytes(), format, 0)


def all_of(play_out: PlayOut, now_ms: int) -> list[bytes]:
    """All that leaves now."""
    out: list[bytes] = []
    while payloads := play_out.take(now_ms):
        out += payloads
    return out


# ---- frames


def test_a_far_end_that_holds_nothing_gets_a_frame_in_each_frames_time_of_silence_if_need_be() -> None:
    play_out = PlayOut(EXACT)
    assert all_of(play_out, 1_000) == [SILENT]
    play_out.feed("a", mu_law(50))
    assert [all_of(play_out, now_ms) for now_ms in (1_001, 1_020, 1_040, 1_060)] == [
        [],
        [b"a" * 160],
        [b"a" * 160],
        [SILENT],  # the beginning of a frame waits for its rest
    ]
    play_out.feed("a", mu_law(10))
    assert all_of(play_out, 1_080) == [b"a" * 160]
    assert play_out.wake_ms() == 1_100


def test_the_last_frame_of_a_response_is_filled_up_with_silence() -> None:
    play_out = PlayOut(EXACT)
    play_out.feed("a", mu_law(25))
    play_out.finish()
    play_out.finish()
    play_out.feed("b", mu_law(20, b"b"))
    assert [all_of(play_out, now_ms) for now_ms in (0, 20, 40, 60)] == [
        [b"a" * 160],
        [b"a" * 40 + SILENT[40:]],
        [b"b" * 160],
        [SILENT],
    ]


@pytest.mark.parametrize(
    ("framing", "sizes", "last"),
    [
        (Framing.ONE, [160] * 10, [160]),
        (Framing.WHOLE, [1_600], [160]),
        (Framing.ANY, [1_600], [40]),
    ],
)
def test_messages_hold_one_frame_or_whole_frames_or_any_sound(
    framing: Framing, sizes: list[int], last: list[int]
) -> None:
    play_out = PlayOut(FarEndRules(PCMU_8K, 200, framing))
    play_out.feed("a", mu_law(205))
    assert [len(payload) for payload in all_of(play_out, 0)] == sizes
    assert play_out.waiting_ms == 5
    play_out.finish()
    assert play_out.wake_ms() == 100
    assert [len(payload) for payload in all_of(play_out, 100)] == last
    assert play_out.wake_ms() is None


def test_a_far_end_that_holds_sound_wakes_five_times_a_second() -> None:
    play_out = PlayOut(replace(MARKED, mark_every_ms=None))
    play_out.feed("a", mu_law(10_000))
    wakings, now_ms = 0, 0
    while play_out.waiting_ms:
        all_of(play_out, now_ms)
        wakings += 1
        wake_ms = play_out.wake_ms()
        now_ms = now_ms if wake_ms is None else math.ceil(wake_ms)
    assert wakings == 49  # for 10 s, the first of which fills 400 ms
    assert all_of(play_out, now_ms + 60_000) == []  # silence is not sent


@pytest.mark.parametrize(("format", "frame_ms"), [(AudioFormat(Coding.PCM16, 22050), 5), (PCMU_8K, 0), (PCMU_8K, -20)])
def test_a_frame_length_that_is_not_a_whole_number_of_samples_is_refused(format: AudioFormat, frame_ms: int) -> None:
    with pytest.raises(ValueError, match="whole number of samples"):
        FarEndRules(format, 0, Framing.ONE, frame_ms)


def test_lengths_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ValueError, match="less than two frames"):
        FarEndRules(PCMU_8K, 30, Framing.ONE)
    with pytest.raises(ValueError, match="more than one for each frame"):
        FarEndRules(PCMU_8K, 400, Framing.ONE, mark_every_ms=10)


# ---- conversion


@pytest.mark.parametrize("target", [PCMU_8K, PCMA_8K, PCM16_8K, PCM16_16K, PCM16_24K])
@pytest.mark.parametrize("source", [PCM16_8K, PCM16_24K])
def test_sound_is_converted_whole_and_what_is_inside_the_resampler_comes_at_the_end(
    source: AudioFormat, target: AudioFormat
) -> None:
    whole = tone(1_000, source)
    converter = Converter(source, target)
    expected = converter.convert(whole).payload + converter.flush()
    play_out = PlayOut(FarEndRules(target, 400, Framing.ANY))
    for at in range(0, len(whole.payload), 700):
        play_out.feed("a", AudioFrame(whole.payload[at : at + 700], source, 0))
    play_out.finish()
    out = b"".join(payload for now_ms in range(0, 2_000, 20) for payload in all_of(play_out, now_ms))
    assert out == expected
    assert 0 <= len(out) - target.bytes_for_ms(1_000) <= target.bytes_for_ms(3) + 2 * target.sample_bytes


def test_g711_passes_untouched() -> None:
    play_out = PlayOut(EXACT)
    play_out.feed("a", AudioFrame(bytes(range(160)), PCMU_8K, 0))
    assert all_of(play_out, 0) == [bytes(range(160))]


def test_a_model_whose_format_changes_is_converted_on() -> None:
    play_out = PlayOut(FarEndRules(PCM16_8K, 400, Framing.ANY))
    play_out.feed("a", tone(100, PCM16_24K))
    play_out.feed("a", tone(100, PCM16_16K))
    assert 200 <= play_out.waiting_ms <= 204


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="not whole samples"):
        PlayOut(EXACT).feed("a", AudioFrame(b"\x01", PCM16_24K, 0))


# ---- clear


def test_a_clear_drops_what_waits_and_leaves_nothing_behind_in_the_resampler() -> None:
    play_out = PlayOut(EXACT)
    play_out.feed("a", tone(100, PCM16_24K))
    assert all_of(play_out, 0) != [SILENT]
    play_out.clear()
    assert play_out.waiting_ms == 0
    play_out.finish()
    assert all_of(play_out, 20) == [SILENT]
    play_out.feed("b", AudioFrame(bytes(480 * 2), PCM16_24K, 0))
    assert all_of(play_out, 40) == [SILENT]  # no tail of the old answer


def test_a_clear_gives_what_had_left_to_a_far_end_that_counts_what_it_drops() -> None:
    play_out = PlayOut(FarEndRules(PCMU_8K, 200, Framing.WHOLE, counts_dropped=True))
    play_out.feed("a", mu_law(45))
    play_out.finish()  # with 15 ms of silence
    play_out.feed("b", mu_law(60))
    assert len(all_of(play_out, 0)) == 1
    assert play_out.pass_on("b", mu_law(40), 21) is not None
    play_out.feed("b", mu_law(1_000))  # has not left
    sent = play_out.clear()
    assert sent is not None
    assert [sent.played_ms(ms) for ms in (0, 60, 120)] == [
        (("a", 45), ("b", 100)),
        (("a", 45), ("b", 40)),
        (("a", 40), ("b", 0)),
    ]
    nothing = play_out.clear()
    assert nothing is not None
    assert nothing.played_ms(0) == ()
    assert PlayOut(MARKED).clear() is None


def test_after_a_clear_a_far_end_that_holds_sound_is_filled_at_once() -> None:
    play_out = PlayOut(MARKED)
    play_out.feed("a", mu_law(1_000))
    all_of(play_out, 0)
    play_out.clear()
    play_out.feed("b", mu_law(500, b"b"))
    assert b"".join(all_of(play_out, 30)) == b"b" * 3_200


# ---- marks


def sent_with_marks(play_out: PlayOut, now_ms: int) -> list[bytes | str]:
    out: list[bytes | str] = []
    while payloads := play_out.take(now_ms):
        out += payloads
        name = play_out.mark()
        if name is not None:
            out.append(name)
    return out


def test_marks_stand_behind_what_has_left_and_say_item_and_position() -> None:
    play_out = PlayOut(MARKED)
    play_out.feed("a", mu_law(300))
    play_out.feed("b", mu_law(700))
    first, one, second, two = sent_with_marks(play_out, 0)
    assert (len(first), len(second)) == (1_600, 1_600)
    assert [play_out.echoed(str(name)) for name in (one, two)] == [Mark("a", 200), Mark("b", 100)]
    (_, name) = sent_with_marks(play_out, 200)
    assert play_out.echoed(str(name)) == Mark("b", 300)


def test_the_end_of_a_response_is_marked_however_short_and_a_pause_is_not() -> None:
    play_out = PlayOut(MARKED)
    play_out.feed("a", mu_law(40))
    assert len(sent_with_marks(play_out, 0)) == 1
    play_out.feed("a", mu_law(40))
    play_out.finish()
    (_, name) = sent_with_marks(play_out, 20)
    assert play_out.echoed(str(name)) == Mark("a", 80)
    assert play_out.mark() is None


def test_marks_from_before_a_clear_are_not_known() -> None:
    play_out = PlayOut(MARKED)
    play_out.feed("a", mu_law(1_000))
    names = [name for name in sent_with_marks(play_out, 0) if isinstance(name, str)]
    play_out.clear()
    assert play_out.mark() is None
    assert [play_out.echoed(name) for name in names] == [None, None]


def test_a_far_end_without_marks_gets_none() -> None:
    play_out = PlayOut(EXACT)
    play_out.feed("a", mu_law(1_000))
    assert [play_out.take(0), play_out.mark()] == [[b"a" * 160], None]


# ---- what has left


def departed(play_out: PlayOut, now_ms: int) -> list[tuple[str, int, int, float]]:
    return [(one.item_id, one.position_ms, one.end_ms, one.at_ms) for one in play_out.departures(now_ms)]


def test_what_has_left_is_told_in_runs_without_a_gap() -> None:
    play_out = PlayOut(EXACT)
    all_of(play_out, 0)
    play_out.feed("a", mu_law(50))
    assert departed(play_out, 5) == [("a", 0, 0, 20)]  # it waits for its time
    assert departed(play_out, 6) == []
    for now_ms in (20, 41):
        all_of(play_out, now_ms)
    assert departed(play_out, 50) == [("a", 0, 40, 20)]
    play_out.feed("b", mu_law(30))
    for now_ms in (60, 80, 100):
        all_of(play_out, now_ms)
    assert departed(play_out, 101) == [("a", 40, 50, 60), ("b", 0, 30, 70)]
    assert all(one.kept for one in play_out.departures(0))


def test_what_waits_through_a_stall_is_late() -> None:
    play_out = PlayOut(replace(MARKED, mark_every_ms=None))
    play_out.feed("a", mu_law(1_000))
    all_of(play_out, 0)
    assert departed(play_out, 390) == [("a", 0, 400, 0)]
    assert departed(play_out, 650) == [("a", 400, 400, 650)]
    all_of(play_out, 700)
    assert departed(play_out, 700) == [("a", 400, 800, 700)]
    assert not any(one.kept for one in play_out.departures(0))


@given(
    ahead_ms=st.sampled_from((0, 200)),
    steps=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 700)), max_size=30),
)
def test_all_sound_leaves_once_and_in_order(ahead_ms: int, steps: list[tuple[int, int]]) -> None:
    play_out = PlayOut(FarEndRules(PCMU_8K, ahead_ms, Framing.ONE))
    now_ms, number, fed, out = 0, 0, b"", b""
    left: list[tuple[int, int]] = []
    for pass_ms, samples in [*steps, *[(20, 0)] * 1_500]:
        now_ms += pass_ms
        if samples:
            payload = bytes((number + n) % 200 for n in range(samples))
            number += samples
            fed += payload
            play_out.feed("a", AudioFrame(payload, PCMU_8K, 0))
        elif not pass_ms:
            continue
        out += b"".join(all_of(play_out, now_ms))
        left += [(one.start_sample, one.samples) for one in play_out.departures(now_ms)]
        if not play_out.wake_ms():
            break
    waiting = play_out.waiting_ms * 8 + len(fed) % 8
    assert waiting < 160
    assert out.replace(b"\xff", b"") == fed[: len(fed) - waiting]
    at = 0
    for start_sample, samples in left:
        assert start_sample == at
        at += samples
    assert at == len(fed) - waiting


def test_sound_waits_for_a_far_end_that_holds_more_than_it_should() -> None:
    play_out = PlayOut(MARKED)
    play_out.feed("a", mu_law(2_000))
    assert sum(map(len, all_of(play_out, 0))) == 400 * 8
    play_out.holds(700, 200)  # by the clock it should hold 200
    assert play_out.wake_ms() == 700
    assert all_of(play_out, 650) == []
    assert sum(map(len, all_of(play_out, 700))) == 200 * 8
    assert [departure.at_ms for departure in play_out.departures(700)] == [0, 900]
