"""gateway/models/local/transcripts.py"""

from __future__ import annotations

from local_world import HeardBy

from gateway.models.local.backlog import SLOT_MS
from gateway.models.local.mind import Spoken
from gateway.models.local.speaking import POLL_MS
from gateway.models.local.transcripts import Transcripts


class Slow:
    """Known after so many steps."""

    def __init__(self, text: str | None, steps: int, *, by_work: bool) -> None:
        self.text = text
        self.by_work = by_work
        self._steps = steps

    @property
    def done(self) -> bool:
        return self._steps <= 0

    def work(self) -> None:
        self._steps -= 1


def test_what_is_known_is_told_at_once() -> None:
    ear = HeardBy()
    transcripts = Transcripts(ear)
    known, silent = Spoken("item_1"), Spoken("item_2")
    transcripts.follow(known, Slow("hello", 0, by_work=True))
    transcripts.follow(silent, None)
    assert ear.said == ["hello", ""]
    assert (known.text, known.settled) == ("hello", True)
    assert (silent.text, silent.settled) == (None, True)
    assert transcripts.due_ms(7) is None


def test_what_is_not_known_is_told_as_soon_as_it_is() -> None:
    ear = HeardBy()
    transcripts = Transcripts(ear)
    late = Spoken("item_1")
    transcripts.follow(late, Slow("far", 2, by_work=False))
    assert transcripts.due_ms(7) == 7 + POLL_MS
    transcripts.follow(Spoken("item_2"), Slow(None, 1, by_work=True))
    assert transcripts.due_ms(7) == 7 + SLOT_MS
    transcripts.work()
    assert ear.said == [""]
    assert not late.settled
    transcripts.work()
    assert ear.said == ["", "far"]
    assert transcripts.due_ms(7) is None


def test_what_was_dropped_is_never_told() -> None:
    ear = HeardBy()
    transcripts = Transcripts(ear)
    transcripts.follow(Spoken("item_1"), Slow("hello", 1, by_work=True))
    transcripts.drop()
    transcripts.work()
    assert not ear.said
