"""gateway/models/local/speech/transcripts.py"""

from __future__ import annotations

from support.local.local_world import TurnRecorder

from gateway.models.local.dialogue.answerer import Spoken
from gateway.models.local.speech.bulk_audio import SLOT_MS
from gateway.models.local.speech.text_to_speech import POLL_MS
from gateway.models.local.speech.transcripts import Transcripts


class Slow:
    """A transcript that is known after a number of steps."""

    def __init__(self, text: str | None, steps: int, *, decoded_here: bool) -> None:
        self.text = text
        self.decoded_here = decoded_here
        self._steps = steps

    @property
    def done(self) -> bool:
        return self._steps <= 0

    def work(self) -> None:
        self._steps -= 1


def test_a_known_transcript_is_reported_at_once() -> None:
    recorder = TurnRecorder()
    transcripts = Transcripts(recorder)
    known, silent = Spoken("item_1"), Spoken("item_2")
    transcripts.track(known, Slow("hello", 0, decoded_here=True))
    transcripts.track(silent, None)
    assert recorder.said == ["hello", ""]
    assert (known.text, known.settled) == ("hello", True)
    assert (silent.text, silent.settled) == (None, True)
    assert transcripts.due_ms(7) is None


def test_an_open_transcript_is_reported_once_it_is_known() -> None:
    recorder = TurnRecorder()
    transcripts = Transcripts(recorder)
    late = Spoken("item_1")
    transcripts.track(late, Slow("far", 2, decoded_here=False))
    assert transcripts.due_ms(7) == 7 + POLL_MS
    transcripts.track(Spoken("item_2"), Slow(None, 1, decoded_here=True))
    assert transcripts.due_ms(7) == 7 + SLOT_MS
    transcripts.work()
    assert recorder.said == [""]
    assert not late.settled
    transcripts.work()
    assert recorder.said == ["", "far"]
    assert transcripts.due_ms(7) is None


def test_a_dropped_transcript_is_never_reported() -> None:
    recorder = TurnRecorder()
    transcripts = Transcripts(recorder)
    transcripts.track(Spoken("item_1"), Slow("hello", 1, decoded_here=True))
    transcripts.drop()
    transcripts.work()
    assert not recorder.said
