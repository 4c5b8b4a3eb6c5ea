"""Tests for mixing both sides of a call into stereo."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.mixing import Placed, RunReader, mix_stereo
from audio.resampling import resample_in_place


def pcm16(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


def placed(start_sample: int, *values: int, samples: int | None = None) -> Placed:
    return Placed(RunReader([pcm16(*values)]), start_sample, len(values) if samples is None else samples)


def sides(blocks: Iterator[bytes]) -> tuple[list[int], list[int]]:
    joined = b"".join(blocks)
    values = struct.unpack(f"<{len(joined) // 2}h", joined)
    return list(values[0::2]), list(values[1::2])


def test_the_caller_is_left_the_agent_right_and_gaps_are_silent() -> None:
    left, right = sides(mix_stereo([placed(1, 5, 6), placed(4, 7)], [placed(0, 1, 2, 3)], 8000))
    assert left == [0, 5, 6, 0, 7]
    assert right == [1, 2, 3, 0, 0]


def test_only_the_heard_part_of_a_span_is_taken() -> None:
    left, right = sides(mix_stereo([], [placed(0, 1, 2, 3, 4, samples=2), placed(3, 9)], 8000))
    assert (left, right) == ([0, 0, 0, 0], [1, 2, 0, 9])


def test_a_reader_that_ends_early_leaves_silence() -> None:
    assert sides(mix_stereo([placed(1, 5, samples=3)], [], 8000)) == ([0, 5, 0, 0], [0, 0, 0, 0])


def test_an_overlap_is_added_and_clipped() -> None:
    left, _ = sides(mix_stereo([placed(0, 30_000, -30_000, 1), placed(0, 30_000, -30_000, 2)], [], 8000))
    assert left == [32_767, -32_768, 3]


def test_no_spans_give_no_sound() -> None:
    assert list(mix_stereo([], [], 8000)) == []
    assert list(mix_stereo([placed(0)], [], 8000)) == []


def test_a_negative_start_or_length_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot place"):
        list(mix_stereo([placed(-1, 1)], [], 8000))
    with pytest.raises(ValueError, match="cannot place"):
        list(mix_stereo([], [placed(1, 1, samples=-1)], 8000))


def test_half_a_sample_from_a_reader_is_refused() -> None:
    with pytest.raises(ValueError, match="not whole samples"):
        list(mix_stereo([Placed(RunReader([b"abc"]), 0, 4)], [], 8000))


spans = st.lists(
    st.tuples(st.integers(0, 900), st.lists(st.integers(-9000, 9000), max_size=400), st.integers(0, 500)), max_size=6
)


@settings(max_examples=60, deadline=None)
@given(caller=spans, agent=spans)
def test_any_placement_equals_plain_addition(
    caller: list[tuple[int, list[int], int]], agent: list[tuple[int, list[int], int]]
) -> None:
    end = max((start + samples for start, _, samples in caller + agent), default=0)

    def plain(side: list[tuple[int, list[int], int]]) -> list[int]:
        total = [0] * end
        for start, values, samples in side:
            for index, value in enumerate(values[:samples]):
                total[start + index] = max(-32768, min(32767, total[start + index] + value))
        return total

    mixed = mix_stereo(
        [placed(start, *values, samples=samples) for start, values, samples in sorted(caller, key=lambda s: s[0])],
        [placed(start, *values, samples=samples) for start, values, samples in sorted(agent, key=lambda s: s[0])],
        1000,
    )
    # The sum is clipped after each addition, so the order matters: spans are added in the order of their starts.
    assert sides(mixed) == (plain(sorted(caller, key=lambda s: s[0])), plain(sorted(agent, key=lambda s: s[0])))


@given(st.lists(st.binary(max_size=40).map(lambda run: run[: len(run) // 2 * 2])), st.lists(st.integers(1, 30)))
def test_a_reader_can_be_read_in_pieces_of_any_length(runs: list[bytes], portions: list[int]) -> None:
    reader = RunReader(runs)
    got = [reader.read(samples) for samples in portions]
    assert all(len(piece) <= 2 * samples for piece, samples in zip(got, portions, strict=True))
    assert b"".join(got) == b"".join(runs)[: 2 * sum(portions)]


def test_an_hour_of_sound_needs_only_the_memory_of_a_block() -> None:
    def hour(rate_hz: int) -> Iterator[bytes]:
        for _ in range(600):
            yield bytes(rate_hz * 2)

    caller = Placed(RunReader(resample_in_place(hour(8000), 8000, 24_000)), 0, 24_000 * 600)
    agent = Placed(RunReader(hour(24_000)), 0, 24_000 * 600)
    tracemalloc.start()
    total = 0
    for block in mix_stereo([caller], [agent], 24_000):
        total += len(block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 24_000 * 600 * 4
    assert peak < 2_000_000
