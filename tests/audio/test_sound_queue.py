from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PCM16_8K, PCMU_8K
from audio.sound_queue import MAX_ITEMS, SoundQueue, Stretch


def test_a_stretch_says_which_samples_of_which_item_left() -> None:
    queue = SoundQueue(PCM16_8K)
    queue.put("a", b"aa" * 100)
    queue.put("b", b"bb" * 50)
    queue.put("a", b"cc" * 10)
    assert queue.take(240) == (b"aa" * 100 + b"bb" * 20, [Stretch("a", 0, 100), Stretch("b", 0, 20)])
    assert queue.head() == ("b", 20)
    assert queue.take(999) == (b"bb" * 30 + b"cc" * 10, [Stretch("b", 20, 30), Stretch("a", 100, 10)])
    assert (queue.head(), queue.waiting_bytes, queue.take(10)) == (None, 0, (b"", []))


def test_silence_belongs_to_no_item() -> None:
    queue = SoundQueue(PCMU_8K)
    queue.pad(b"\xff" * 10)
    assert queue.head() is None
    queue.put("a", b"")
    queue.put("a", b"a" * 10)
    assert queue.head() == ("a", 0)
    assert queue.take(15) == (b"\xff" * 10 + b"a" * 5, [Stretch("a", 0, 5)])


def test_after_a_drop_items_are_counted_from_0() -> None:
    queue = SoundQueue(PCMU_8K)
    queue.put("a", b"a" * 10)
    queue.drop()
    assert (queue.waiting_bytes, queue.head()) == (0, None)
    queue.put("a", b"b" * 10)
    assert queue.take(10) == (b"b" * 10, [Stretch("a", 0, 10)])


def test_only_the_last_items_are_remembered() -> None:
    queue = SoundQueue(PCMU_8K)
    for number in range(MAX_ITEMS + 1):
        queue.put(f"item {number}", b"a")
    queue.put("item 1", b"a")
    queue.put("item 0", b"a")
    assert queue.take(999)[1][-2:] == [Stretch("item 1", 1, 1), Stretch("item 0", 0, 1)]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.binary(min_size=1, max_size=50)), max_size=20),
    st.lists(st.integers(0, 60), max_size=40),
)
def test_what_comes_out_is_what_went_in(puts: list[tuple[str, bytes]], takes: list[int]) -> None:
    queue = SoundQueue(PCMU_8K)
    for item_id, payload in puts:
        queue.put(item_id, payload)
    sent = b"".join(payload for _, payload in puts)
    assert queue.waiting_bytes == len(sent)
    out: list[bytes] = []
    left: dict[str, int] = {}
    for wanted in [*takes, len(sent)]:
        payload, stretches = queue.take(wanted)
        assert sum(stretch.samples for stretch in stretches) == len(payload) <= wanted
        for item_id, start_sample, samples in stretches:
            assert start_sample == left.get(item_id, 0)
            left[item_id] = start_sample + samples
        out.append(payload)
    assert b"".join(out) == sent
    assert queue.waiting_bytes == 0
