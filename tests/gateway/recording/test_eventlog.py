"""The event log: messages and sound in order, no sound if it is not wanted, readable after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio.formats import PCMU_8K, AudioFrame
from gateway.recording.eventlog import (
    EVENTS_FILE,
    LONG_TEXT_BYTES,
    EventLog,
    EventLogHeader,
    Logged,
    LoggedMessage,
    LoggedSound,
    Source,
    read_event_log,
)
from gateway.recording.sink import Part, Sink
from gateway.recording.tracks import BadSpool
from gateway.recording.writer import SpoolWriter

HEADER = EventLogHeader("harbour", "v1", "s1", {"caller": "pcmu/8000", "agent": "pcmu/8000"})
START_MS = 7000


def frame(start_sample: int, samples: int = 160) -> AudioFrame:
    return AudioFrame(bytes(samples), PCMU_8K, start_sample)


def log_in(folder: Path, *, with_sound: bool = True) -> EventLog:
    return EventLog(SpoolWriter(inline=True), Sink(folder), HEADER, with_sound=with_sound, started_ms=START_MS)


def events_of(folder: Path) -> list[Logged]:
    header, events = read_event_log(folder / EVENTS_FILE)
    assert header == HEADER
    return events


def test_messages_come_back_in_order_with_their_times(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.message(Source.GATEWAY, '{"type": "session.created"}', START_MS)
    log.message(Source.CALLER, "gr\u00fc\u00dfe".encode(), START_MS + 15)
    log.close(START_MS + 20)
    assert events_of(tmp_path) == [
        LoggedMessage(0, Source.GATEWAY, '{"type": "session.created"}'),
        LoggedMessage(15, Source.CALLER, "gr\u00fc\u00dfe"),
    ]
    assert log.complete


@pytest.mark.parametrize("words", ["w", "\\", '"', "\n", "\u00fc", "\U0001f600"])
def test_a_long_message_is_kept_whole_between_its_neighbours(tmp_path: Path, words: str) -> None:
    log = log_in(tmp_path)
    long = words * (3 * LONG_TEXT_BYTES)
    log.message(Source.CALLER, "before", START_MS)
    log.message(Source.CALLER, long.encode(), START_MS + 10)
    log.message(Source.MODEL, "after", START_MS + 20)
    log.close(START_MS + 20)
    assert events_of(tmp_path) == [
        LoggedMessage(0, Source.CALLER, "before"),
        LoggedMessage(10, Source.CALLER, long),
        LoggedMessage(20, Source.MODEL, "after"),
    ]


def test_half_a_character_in_a_long_message_becomes_a_replacement_character(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.message(Source.MODEL, b"w" * LONG_TEXT_BYTES + b"\xc3", START_MS)
    log.close(START_MS)
    assert events_of(tmp_path) == [LoggedMessage(0, Source.MODEL, "w" * LONG_TEXT_BYTES + "\ufffd")]


def test_consecutive_frames_share_a_line_until_a_message(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for number in range(3):
        log.sound(Source.CALLER, "caller", frame(number * 160), START_MS + number * 20)
    log.message(Source.MODEL, "speech started", START_MS + 45)
    log.sound(Source.CALLER, "caller", frame(480), START_MS + 60)
    log.close(START_MS + 70)
    assert events_of(tmp_path) == [
        LoggedSound(0, Source.CALLER, "caller", 0, 480, 40),
        LoggedMessage(45, Source.MODEL, "speech started"),
        LoggedSound(60, Source.CALLER, "caller", 480, 160, 60),
    ]


def test_when_both_sides_sound_at_once_each_has_its_own_line(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for number in range(3):
        log.sound(Source.CALLER, "caller", frame(number * 160), START_MS + number * 20)
        log.sound(Source.MODEL, "item_a", frame(number * 160), START_MS + number * 20 + 5)
    log.sound(Source.MODEL, "item_b", frame(0), START_MS + 70)
    log.sound(Source.MODEL, "item_b", frame(999), START_MS + 80)
    log.close(START_MS + 90)
    assert events_of(tmp_path) == [
        LoggedSound(0, Source.CALLER, "caller", 0, 480, 40),
        LoggedSound(5, Source.MODEL, "item_a", 0, 480, 45),
        LoggedSound(70, Source.MODEL, "item_b", 0, 160, 70),
        LoggedSound(80, Source.MODEL, "item_b", 999, 160, 80),
    ]


def test_a_line_of_sound_is_closed_after_a_second_and_written_with_the_next_block(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for number in range(150):
        log.sound(Source.CALLER, "caller", frame(number * 160), START_MS + number * 20)
    written = events_of(tmp_path)
    assert isinstance(written[0], LoggedSound)
    assert written[0].samples == 50 * 160
    log.close(START_MS + 3000)
    assert [event.at_ms for event in events_of(tmp_path)] == [0, 1000, 2000]


def test_a_log_without_sound_has_no_line_of_sound(tmp_path: Path) -> None:
    log = log_in(tmp_path, with_sound=False)
    log.sound(Source.CALLER, "caller", frame(0), START_MS)
    log.message(Source.MODEL, "hello", START_MS)
    log.close(START_MS + 5)
    assert events_of(tmp_path) == [LoggedMessage(0, Source.MODEL, "hello")]


def test_the_waiting_lines_of_a_silent_call_are_written_by_tick(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.message(Source.MODEL, "hello", START_MS)
    assert not (tmp_path / EVENTS_FILE).exists()
    log.tick(START_MS + 2000)
    assert len(events_of(tmp_path)) == 1


def test_an_incomplete_last_line_is_skipped_and_the_error_names_a_damaged_file(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.message(Source.MODEL, "one", START_MS)
    log.message(Source.MODEL, "two", START_MS + 1)
    log.close(START_MS + 5)
    path = tmp_path / EVENTS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert events_of(tmp_path) == [LoggedMessage(0, Source.MODEL, "one")]
    for broken in (
        b"",
        whole[:20],
        whole.replace(b'"one"', b'"one', 1),
        b'{"schema":9}\n',
        whole.replace(b'"model"', b'"god"'),
    ):
        path.write_bytes(broken)
        with pytest.raises(BadSpool, match=r"events\.jsonl"):
            read_event_log(path)


class Refusing(SpoolWriter):
    """Accepts only `blocks` blocks."""

    def __init__(self, blocks: int) -> None:
        super().__init__(inline=True)
        self.blocks = blocks

    def append(self, sink: Sink, parts: list[Part]) -> bool:  # type: ignore[override]
        self.blocks -= 1
        return self.blocks >= 0 and super().append(sink, parts)


def test_a_disk_that_is_too_slow_makes_the_log_incomplete(tmp_path: Path) -> None:
    log = EventLog(Refusing(1), Sink(tmp_path), HEADER, with_sound=True, started_ms=START_MS)
    log.message(Source.MODEL, "one", START_MS + 2000)
    log.message(Source.MODEL, "two", START_MS + 4000)
    assert not log.complete
    assert len(events_of(tmp_path)) == 1


def test_a_log_whose_first_block_was_refused_is_given_up(tmp_path: Path) -> None:
    disk = Refusing(0)
    log = EventLog(disk, Sink(tmp_path), HEADER, with_sound=True, started_ms=START_MS)
    log.message(Source.MODEL, "one", START_MS + 2000)
    disk.blocks = 9
    log.message(Source.MODEL, "two", START_MS + 4000)
    log.close(START_MS + 6000)
    assert not log.complete
    assert not (tmp_path / EVENTS_FILE).exists()


def test_a_message_with_half_a_surrogate_pair_is_left_out(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.message(Source.MODEL, "\ud83d", START_MS)
    log.message(Source.MODEL, "fine", START_MS)
    log.close(START_MS)
    assert events_of(tmp_path) == [LoggedMessage(0, Source.MODEL, "fine")]
    assert not log.complete


def test_a_dead_disk_makes_the_log_incomplete(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = log_in(tmp_path / "file" / "call")
    for number in range(5):
        log.message(Source.MODEL, "word", START_MS + number * 1000)
    log.close(START_MS + 9000)
    assert not log.complete
