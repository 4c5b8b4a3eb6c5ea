"""The caller's turns whose transcripts are not known yet, and how they are reported once they are."""

from __future__ import annotations

from typing import Protocol

from gateway.models.local.dialogue.answerer import Spoken
from gateway.models.local.speech.bulk_audio import SLOT_MS
from gateway.models.local.speech.text_to_speech import POLL_MS
from gateway.realtime.server.brain import TurnEvents


class Transcript(Protocol):
    """The transcript of one turn, while the speech is being recognised."""

    @property
    def decoded_here(self) -> bool:
        """Whether `work` recognises the speech, rather than an endpoint."""
        ...

    @property
    def done(self) -> bool:
        """Whether recognition has ended."""
        ...

    @property
    def text(self) -> str | None:
        """The words; None: the speech was not understood."""
        ...

    def work(self) -> None:
        """Continue the recognition; takes a few ms at most."""
        ...


class Transcripts:
    """One call's open transcripts: reports each to the server once it is known, and marks its turn as settled."""

    def __init__(self, turn_events: TurnEvents) -> None:
        self._turn_events = turn_events
        self._open: list[tuple[Spoken, Transcript]] = []

    def track(self, spoken: Spoken, transcript: Transcript | None) -> None:
        """Report a turn's transcript, now or once it is known; None: the turn has no speech."""
        if transcript is None or transcript.done:
            self._settle(spoken, None if transcript is None else transcript.text)
        else:
            self._open.append((spoken, transcript))

    def due_ms(self, now_ms: int) -> int | None:
        """When to call `work` next; None: no transcript is open."""
        if not self._open:
            return None
        return now_ms + (SLOT_MS if any(transcript.decoded_here for _, transcript in self._open) else POLL_MS)

    def work(self) -> None:
        """Continue the open recognitions; takes a few ms at most for each."""
        for spoken, transcript in self._open:
            transcript.work()
            if transcript.done:
                self._settle(spoken, transcript.text)
        self._open = [(spoken, transcript) for spoken, transcript in self._open if not spoken.settled]

    def drop(self) -> None:
        """Drop the open transcripts, because the call has ended."""
        self._open.clear()

    def _settle(self, spoken: Spoken, text: str | None) -> None:
        spoken.text = text
        spoken.settled = True
        self._turn_events.transcribed(spoken.item_id, text or "")
