"""The ledger of what has been sent."""

from __future__ import annotations

from pathlib import Path

from gateway.telemetry.link.ledger import Ledger, in_use, read_lines


def test_the_next_courier_knows_what_the_one_before_has_sent(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "boot.jsonl")
    first.note([("s", "turn/1", "otlp"), ("s", "turn/2", "otlp")])
    # It is killed here, so nothing is closed.
    second = Ledger(tmp_path / "boot.jsonl")
    assert second.has("s", "turn/1", "otlp")
    assert not second.has("s", "turn/1", "langfuse")
    assert not second.has("s", "turn/3", "otlp")
    first.close(remove=False)
    second.close(remove=True)
    assert not (tmp_path / "boot.jsonl").exists()


def test_of_a_session_that_is_over_everything_has_been_sent(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "boot.jsonl")
    ledger.note([("s", "turn/1", "otlp")])
    ledger.over("s")
    ledger.over("s")
    assert ledger.is_over("s")
    assert ledger.has("s", "turn/9", "langfuse")
    ledger.close(remove=False)
    assert list(read_lines(tmp_path / "boot.jsonl")) == [["s", "turn/1", "otlp"], ["s"]]


def test_a_line_that_was_cut_off_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "boot.jsonl").write_bytes(b'["s","turn/1","otlp"]\n["s","tu')
    ledger = Ledger(tmp_path / "boot.jsonl")
    assert ledger.has("s", "turn/1", "otlp")
    assert not ledger.has("s", "turn/2", "otlp")
    ledger.close(remove=False)


def test_the_file_is_written_anew_without_what_is_over(tmp_path: Path) -> None:
    path = tmp_path / "boot.jsonl"
    ledger = Ledger(path, rewrite_bytes=2_000)
    for number in range(200):
        ledger.note([(f"s{number}", f"turn/{turn}", "otlp") for turn in range(5)])
        ledger.over(f"s{number}")
    ledger.note([("live", "turn/1", "otlp")])
    assert path.stat().st_size < 10_000  # 25 kB have been written
    ledger.close(remove=False)
    again = Ledger(path)
    assert again.has("live", "turn/1", "otlp")
    assert again.is_over("s0")
    assert not again.has("live", "turn/2", "otlp")
    again.close(remove=False)


def test_a_reader_sees_whether_a_courier_still_writes(tmp_path: Path) -> None:
    path = tmp_path / "boot.jsonl"
    assert not in_use(path)
    ledger = Ledger(path)
    assert in_use(path)
    ledger.close(remove=False)
    assert not in_use(path)


def test_without_a_file_it_remembers_all_the_same() -> None:
    ledger = Ledger(None)
    ledger.note([("s", "call", "otlp")])
    assert ledger.has("s", "call", "otlp")
    ledger.close(remove=True)
