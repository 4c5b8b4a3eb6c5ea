"""Speech of the caller while it is being made out, and the telling of what it says."""

from __future__ import annotations

from typing import Protocol

from gateway.models.local.backlog import SLOT_MS
from gateway.models.local.mind import Spoken
from gateway.models.local.speaking import POLL_MS
from gateway.realtime.brain import Ear


class Transcript(Protocol):
    """What speech says, while that is being found out."""

    @property
    def by_work(self) -> bool:
        """Whether it is found out by `work`, and not elsewhere."""
        ...

    @property
    def done(self) -> bool:
        """Whether it is known."""
        ...

    @property
    def text(self) -> str | None:
        """The words; None: they could not be made out."""
        ...

    def work(self) -> None:
        """Go on; a few ms at most."""
        ...


class Transcripts:
    """One call's that are not known yet: each is told to the server, and settles its turn, once it is."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._open: list[tuple[Spoken, Transcript]] = []

    def follow(self, spoken: Spoken, transcript: Transcript | None) -> None:
        """Tell what was spoken, now or once it is known; None: nobody spoke."""
        if transcript is None or transcript.done:
            self._settle(spoken, None if transcript is None else transcript.text)
        else:
            self._open.append((spoken, transcript))

    def due_ms(self, now_ms: int) -> int | None:
        """When to `work` next; None: all is known."""
        if not self._open:
            return None
        return now_ms + (SLOT_MS if any(transcript.by_work for _, transcript in self._open) else POLL_MS)

    def work(self) -> None:
        """Go on making out what is not known; a few ms at most for each."""
        for spoken, transcript in self._open:
            transcript.work()
            if transcript.done:
                self._settle(spoken, transcript.text)
        self._open = [(spoken, transcript) for spoken, transcript in self._open if not spoken.settled]

    def drop(self) -> None:
        """Nobody wants to know any more."""
        self._open.clear()

    def _settle(self, spoken: Spoken, text: str | None) -> None:
        spoken.text = text
        spoken.settled = True
        self._ear.transcribed(spoken.item_id, text or "")
