"""The position of sound in a recording: as spoken, as heard, without overlap."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PCM16_24K, PCMU_8K, AudioFormat
from gateway.recording.placing import common_rate_hz, place_agent, place_caller, unrecorded_spans
from gateway.recording.tracks import AGENT, CALLER, Run, Stretch
from sessions.record import PlayedSpan

RATE = 8000


def caller(*runs: tuple[int, int, int]) -> list[Stretch]:
    """Runs of (start sample, samples, arrival in ms), in G.711, one after another in the file."""
    offset, made = 0, []
    for start_sample, samples, at_ms in runs:
        made.append(Stretch(Run(CALLER, None, offset, start_sample, at_ms, PCMU_8K), samples))
        offset += samples
    return made


def agent(item_id: str, offset_bytes: int, start_sample: int, samples: int, format: AudioFormat = PCMU_8K) -> Stretch:
    return Stretch(Run(AGENT, item_id, offset_bytes, start_sample, 0, format), samples * format.sample_bytes)


def test_a_run_is_placed_where_it_arrived() -> None:
    (placed,) = place_caller(caller((0, 800, 250)), RATE)
    assert (placed.start_sample, placed.samples, placed.ranges) == (2000, 800, ((0, 800),))


def test_a_pause_between_runs_is_kept() -> None:
    first, second = place_caller(caller((0, 800, 0), (800, 800, 500)), RATE)
    assert (first.start_sample, first.end_sample, second.start_sample) == (0, 800, 4000)


def test_a_burst_after_a_stall_is_placed_where_it_was_spoken() -> None:
    # A second of sound, a stall of 400 ms, then the delayed sound in one burst, and then sound in real time.
    stalled = caller((0, 8000, 0), (8000, 640, 1400), (8640, 640, 1400), (9280, 1920, 1400), (11200, 8000, 1400))
    placed = place_caller(stalled, RATE)
    assert [(place.start_sample, place.samples) for place in placed] == [(0, 19_200)]
    assert placed[0].ranges == ((0, 19_200),)


def test_sound_faster_than_real_time_is_placed_end_to_end() -> None:
    placed = place_caller(caller(*[(number * 800, 800, number) for number in range(50)]), RATE)
    assert [(place.start_sample, place.samples) for place in placed] == [(0, 40_000)]


def test_a_small_gap_between_consecutive_runs_is_closed_and_a_large_one_is_kept() -> None:
    drifting = caller((0, 8000, 0), (8000, 8000, 1061), (16_000, 8000, 2122))
    assert [(place.start_sample, place.samples) for place in place_caller(drifting, RATE)] == [
        (0, 16_000),
        (16_976, 8000),
    ]


def test_runs_of_two_formats_are_not_joined() -> None:
    wide = Stretch(Run(CALLER, None, 800, 800, 100, PCM16_24K), 4800)
    placed = place_caller([*caller((0, 800, 0)), wide], 24_000)
    assert [(place.start_sample, place.samples) for place in placed] == [(0, 2400), (2400, 2400)]


@given(st.lists(st.tuples(st.integers(1, 4000), st.integers(0, 3000)), max_size=30), st.sampled_from([8000, 24_000]))
def test_no_sound_is_lost_and_no_placements_overlap(lengths: list[tuple[int, int]], rate_hz: int) -> None:
    runs, start, at_ms = [], 0, 0
    for samples, pause_ms in lengths:
        at_ms += pause_ms
        runs.append((start, samples, at_ms))
        start += samples
    placed = place_caller(caller(*runs), rate_hz)
    assert sum(length for place in placed for _, length in place.ranges) == start
    end = 0
    for place in placed:
        assert place.start_sample >= end
        end = place.end_sample


def test_an_item_is_cut_to_what_was_heard_of_it() -> None:
    (placed,) = place_agent([agent("a", 100, 0, 8000)], [PlayedSpan("a", 300, 250)], RATE)
    assert (placed.start_sample, placed.samples, placed.ranges) == (2400, 2000, ((100, 2000),))


def test_unheard_items_are_left_out_and_missing_items_are_silent() -> None:
    stretches = [agent("a", 0, 0, 800), agent("b", 800, 0, 800)]
    played = [PlayedSpan("b", 500, 9000), PlayedSpan("c", 0, 100), PlayedSpan("a", 0, 0)]
    (placed,) = place_agent(stretches, played, RATE)
    assert (placed.start_sample, placed.samples, placed.ranges) == (4000, 800, ((800, 800),))


def test_the_runs_of_an_item_are_merged_and_cut_to_what_was_heard() -> None:
    stretches = [agent("a", 0, 0, 800), agent("b", 800, 0, 160), agent("a", 960, 800, 800)]
    (placed,) = place_agent(stretches, [PlayedSpan("a", 0, 150)], RATE)
    assert (placed.samples, placed.ranges) == (1200, ((0, 800), (960, 400)))
    (whole,) = place_agent(stretches, [PlayedSpan("a", 0, 90)], RATE)
    assert whole.ranges == ((0, 720),)


def test_a_gap_in_an_item_is_kept() -> None:
    stretches = [agent("a", 0, 0, 800), agent("a", 800, 1600, 800)]
    first, second = place_agent(stretches, [PlayedSpan("a", 1000, 250)], RATE)
    assert (first.start_sample, second.start_sample, second.samples) == (8000, 9600, 400)


def test_the_recording_has_the_highest_rate_of_its_sound() -> None:
    wide = agent("a", 0, 0, 240, PCM16_24K)
    assert common_rate_hz([*caller((0, 80, 0)), wide]) == 24_000
    assert common_rate_hz([]) == 8000
    (placed,) = place_agent([agent("b", 0, 0, 80)], [PlayedSpan("b", 10, 10)], 24_000)
    assert (placed.start_sample, placed.samples) == (240, 240)


def test_an_item_that_a_lost_server_did_not_store_counts_as_heard_until_the_last_known_sound() -> None:
    heard = caller((0, 8000, 0))  # one second of the caller
    runs = replace(agent("old", 0, 0, 800).run, at_ms=100), replace(agent("new", 800, 0, 8000).run, at_ms=400)
    spoken = [Stretch(runs[0], 800), Stretch(runs[1], 8000), Stretch(replace(runs[1], at_ms=900), 800)]
    assert unrecorded_spans(spoken, heard, {"old"}) == [PlayedSpan("new", 400, 600)]
    assert unrecorded_spans(spoken, heard, {"old", "new"}) == []
    assert unrecorded_spans([], heard, set()) == []
    assert unrecorded_spans(spoken[1:2], [], set()) == [PlayedSpan("new", 400, 1000)]  # without sound of the caller
