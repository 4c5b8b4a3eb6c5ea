"""The sound of items: kept whole or not at all, within bounds, and truncated to what was heard."""

from __future__ import annotations

from audio.formats import PCM16_24K, PCMU_8K
from gateway.realtime.server.item_audio import MAX_ITEM_BYTES, MAX_KEPT_BYTES, ItemAudio


def sound_of(*item_ids: str) -> ItemAudio:
    """The audio of these items, which have no sound yet."""
    sound = ItemAudio()
    for item_id in item_ids:
        sound.open(item_id)
    return sound


def test_an_items_sound_is_kept_in_order() -> None:
    sound = sound_of("a", "b")
    sound.add("a", PCMU_8K, b"\x01" * 80)
    sound.add("b", PCMU_8K, b"\x02" * 8)
    sound.add("a", PCMU_8K, b"\x03" * 80)
    assert sound.kept("a") == b"\x01" * 80 + b"\x03" * 80
    assert (sound.length_ms("a"), sound.length_ms("b")) == (20, 1)


def test_an_item_without_sound_has_no_length() -> None:
    sound = sound_of("a")
    sound.cut("a", 0)
    assert (sound.kept("a"), sound.length_ms("a")) == (b"", 0)


def test_sound_of_an_item_that_is_too_long_is_counted_and_not_kept() -> None:
    sound = sound_of("a")
    sound.add("a", PCM16_24K, bytes(MAX_ITEM_BYTES))
    sound.add("a", PCM16_24K, bytes(48))
    assert sound.kept("a") == b""
    sound.add("a", PCM16_24K, bytes(48))
    assert sound.kept("a") == b"", "the end of it without its beginning"
    assert sound.length_ms("a") == MAX_ITEM_BYTES // 48 + 2


def test_the_item_with_the_oldest_sound_loses_it_past_the_bound() -> None:
    names = [f"item_{number}" for number in range(MAX_KEPT_BYTES // MAX_ITEM_BYTES + 1)]
    sound = sound_of(*names)
    sound.add(names[0], PCM16_24K, bytes(MAX_ITEM_BYTES // 2))
    for name in names[1:-1]:
        sound.add(name, PCM16_24K, bytes(MAX_ITEM_BYTES))
    sound.add(names[-1], PCM16_24K, bytes(468_000))
    assert all(map(sound.kept, names))
    sound.add(names[0], PCM16_24K, bytes(4800))
    assert [name for name in names if not sound.kept(name)] == names[1:2], "it is not the one that is being added"


def test_a_cut_ends_an_items_sound() -> None:
    sound = sound_of("a")
    sound.add("a", PCM16_24K, bytes(48 * 100))
    sound.cut("a", 40)
    sound.add("a", PCM16_24K, bytes(48 * 100))
    assert (len(sound.kept("a")), sound.length_ms("a")) == (48 * 40, 40)


def test_removed_sound_frees_its_space() -> None:
    names = [f"item_{number}" for number in range(MAX_KEPT_BYTES // MAX_ITEM_BYTES)]
    order = [*names]
    sound = ItemAudio()
    for name in names:
        sound.open(name)
        sound.add(name, PCM16_24K, bytes(MAX_ITEM_BYTES))
    order.remove(names[1])
    sound.forget(names[1])
    order.append("new")
    sound.open("new")
    sound.add("new", PCM16_24K, bytes(MAX_ITEM_BYTES))
    assert all(map(sound.kept, order))


def test_the_sound_of_a_removed_item_is_not_kept() -> None:
    sound = sound_of("a")
    sound.add("gone", PCM16_24K, bytes(48))
    sound.clear()
    sound.add("a", PCM16_24K, bytes(48))
    sound.open("a")
    assert sound.kept("a") == b""
