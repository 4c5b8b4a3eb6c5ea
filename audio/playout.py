"""The play-out of one call: a model's sound goes in as it comes, and leaves at the speed at which it is played.

Models speak faster than real time. So an answer waits here, and the far end holds little of it: an interruption takes
effect at once, and it is known to a frame what was heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from audio.departures import Departure, Echo, PlayedOut
from audio.formats import AudioFormat, AudioFrame
from audio.g711 import silence
from audio.marks import Mark, Marks
from audio.pacing import AheadPace, ExactPace, Pace
from audio.resampling import Converter
from audio.sent_sound import SentSound
from audio.sound_queue import SoundQueue, Stretch


class Framing(Enum):
    """How much sound a message to the far end may hold."""

    ONE = "one"  # exactly one frame
    WHOLE = "whole"  # any number of whole frames
    ANY = "any"  # any number of samples


@dataclass(frozen=True, slots=True)
class FarEndRules:
    """What a far end takes.

    `ahead_ms` is how much sound it may hold; 0 for one that holds none and needs a frame in each frame's time, of
    silence if need be. `mark_every_ms` is how much sound lies between two marks; None for one without marks.
    `counts_dropped` says that it answers a clear with how much sound it has dropped.
    """

    format: AudioFormat
    ahead_ms: int
    framing: Framing
    frame_ms: int = 20
    mark_every_ms: int | None = None
    counts_dropped: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for lengths that cannot be kept."""
        samples, rest = divmod(self.format.rate_hz * self.frame_ms, 1000)
        if samples <= 0 or rest:
            raise ValueError(f"{self.frame_ms} ms of {self.format} is not a whole number of samples")
        if self.ahead_ms and self.ahead_ms < 2 * self.frame_ms:
            raise ValueError(
                f"{self.ahead_ms} ms ahead is less than two frames; use 0, or at least {2 * self.frame_ms}"
            )
        if self.mark_every_ms is not None and self.mark_every_ms < self.frame_ms:
            raise ValueError(f"a mark every {self.mark_every_ms} ms is more than one for each frame")


class PlayOut:
    """Paces, converts and frames the agent's sound for one far end, and knows which sound has left.

    The order of use: `feed` and `finish` when the model sends, then `take` and `mark` until there is no more; again
    whenever `wake_ms` says so. Times are those of one monotonic clock, in milliseconds.
    """

    __slots__ = (
        "_converter",
        "_departures",
        "_fed",
        "_finished",
        "_frame_bytes",
        "_least_bytes",
        "_left",
        "_marks",
        "_ms_a_byte",
        "_pace",
        "_queue",
        "_sent",
        "_silence",
        "_sound_until_ms",
        "_unmarked_samples",
        "_whole_frames",
        "rules",
    )

    def __init__(self, rules: FarEndRules) -> None:
        self.rules = rules
        self._frame_bytes = rules.format.bytes_for_ms(rules.frame_ms)
        self._ms_a_byte = 1000 / rules.format.bytes_for_ms(1000)
        self._whole_frames = rules.framing is not Framing.ANY or not rules.ahead_ms
        self._least_bytes = self._frame_bytes if self._whole_frames else 1
        self._silence = silence(rules.format, self._frame_bytes // rules.format.sample_bytes)
        self._pace: Pace = (
            AheadPace(rules.frame_ms, rules.ahead_ms, rules.mark_every_ms)
            if rules.ahead_ms
            else ExactPace(rules.frame_ms)
        )
        self._queue = SoundQueue(rules.format)
        self._marks = Marks()
        self._sent = SentSound(rules.format) if rules.counts_dropped else None
        self._converter: Converter | None = None
        self._fed: str | None = None  # the item that sound came for last; None after `finish` and `clear`
        self._finished = True
        self._left: Stretch | None = None  # the sound that has left last, in this generation
        self._unmarked_samples = 0  # how much sound has left since the last mark
        self._departures: list[PlayedOut] = []
        self._sound_until_ms: float | None = None  # when the sound that has left will have been played

    # ---- the model's sound

    def feed(self, item_id: str, frame: AudioFrame) -> None:
        """Take sound of an item. Raises ValueError for half a sample, or a format that cannot be converted."""
        converter = self._converter
        if converter is None or (converter.source is not frame.format and converter.source != frame.format):
            self._drain()
            converter = self._converter = Converter(frame.format, self.rules.format)
        self._queue.put(item_id, converter.convert(frame).payload)
        self._fed = item_id
        self._finished = False

    def pass_on(self, item_id: str, frame: AudioFrame, now_ms: int) -> bytes | None:
        """Feed a frame that leaves whole at once, as where a model speaks no faster than it is heard.

        Returns its message's sound, counted as sent. None: it must be fed and taken, and nothing has changed.
        """
        converter, payload = self._converter, frame.payload
        if self._queue.waiting_bytes or converter is None or not converter.is_identity:
            return None
        size = len(payload)
        if (frame.format is not converter.source and frame.format != converter.source) or not self._passes(size):
            return None
        sound_ms = size * self._ms_a_byte
        if not self._pace.fits(sound_ms, now_ms):
            return None
        begin_ms = self._pace.sent(sound_ms, now_ms)
        samples = size // frame.format.sample_bytes
        self._note((Stretch(item_id, self._queue.pass_by(item_id, samples), samples),), begin_ms)
        self._fed = item_id
        self._finished = False
        return payload

    def _passes(self, size: int) -> bool:
        """Whether a far end that holds sound takes so many bytes in one message."""
        rules = self.rules
        if not rules.ahead_ms or not size or size % rules.format.sample_bytes:
            return False
        return size == self._frame_bytes or (
            rules.framing is not Framing.ONE and not (self._whole_frames and size % self._frame_bytes)
        )

    def finish(self) -> None:
        """A response has ended: its last frame is filled up with silence."""
        self._drain()
        self._fed = None
        self._finished = True
        rest = self._queue.waiting_bytes % self._frame_bytes
        if rest and self._whole_frames:
            self._pad(self._silence[rest:])

    def _pad(self, payload: bytes) -> None:
        if self._sent is not None:
            format = self.rules.format
            self._sent.padded(format.samples_in(self._queue.waiting_bytes), format.samples_in(len(payload)))
        self._queue.pad(payload)

    def clear(self) -> SentSound | None:
        """Drop everything that waits, and begin a new generation; the far end must be told to drop what it holds.

        Returns what had left in the generation before, where the far end counts what it drops.
        """
        sent = self._sent
        if sent is not None:
            self._sent = SentSound(self.rules.format)
        self._queue.drop()
        self._marks.clear()
        self._pace.clear()
        self._converter = self._fed = self._left = self._sound_until_ms = None
        self._finished = True
        self._unmarked_samples = 0
        return sent

    def _drain(self) -> None:
        """Bring the sound that is still inside the resampler to the end of its item."""
        if self._converter is not None and self._fed is not None:
            self._queue.put(self._fed, self._converter.flush())

    # ---- to the far end

    def take(self, now_ms: int) -> list[bytes]:
        """Return the messages' sound that leaves now, and count it as sent. Empty until the next time."""
        room_ms = self._pace.room_ms(now_ms)
        if not room_ms:
            return []
        rules, waiting_bytes = self.rules, self._queue.waiting_bytes
        size = 0
        if waiting_bytes >= self._least_bytes:
            size = min(rules.format.bytes_for_ms(int(room_ms)), waiting_bytes)
            if self._whole_frames:
                size -= size % self._frame_bytes
        if not size:
            self._pace.sent(0, now_ms)
            return [] if rules.ahead_ms else [self._silence]
        payload, stretches = self._queue.take(size)
        begin_ms = self._pace.sent(size * self._ms_a_byte, now_ms)
        if stretches:
            self._note(stretches, begin_ms)
        if size == self._frame_bytes or rules.framing is not Framing.ONE:
            return [payload]
        return [payload[at : at + self._frame_bytes] for at in range(0, size, self._frame_bytes)]

    def mark(self) -> str | None:
        """A name for a mark behind everything that has left, if one is due now."""
        every_ms, left = self.rules.mark_every_ms, self._left
        if every_ms is None or left is None or not self._unmarked_samples:
            return None
        format = self.rules.format
        ended = self._finished and not self._queue.waiting_bytes
        if format.ms_of(self._unmarked_samples) < every_ms and not ended:
            return None
        self._unmarked_samples = 0
        return self._marks.name(Mark(left.item_id, format.ms_of(left.start_sample + left.samples)))

    def echoed(self, name: str) -> Mark | None:
        """What a mark stands for that came back; None for one that is unknown or from before a clear."""
        return self._marks.echoed(name)

    def note_echo(self, mark: Mark, now_ms: int) -> None:
        """Let `departures` tell of a mark that has come back now."""
        self._departures.append(Echo(mark.item_id, mark.position_ms, now_ms))

    @property
    def all_echoed(self) -> bool:
        """Whether nothing waits or is still to come, and every mark has come back."""
        return self._finished and not self._queue.waiting_bytes and not self._unmarked_samples and not len(self._marks)

    def holds(self, held_ms: int, now_ms: int) -> None:
        """The far end has counted how much sound it holds. Where that is much more than expected, less leaves."""
        self._pace.holds(held_ms, now_ms)

    def wake_ms(self) -> float | None:
        """When something leaves next, if nothing is fed before; None if nothing does."""
        return self._pace.wake_ms(self._queue.waiting_bytes >= self._least_bytes)

    @property
    def waiting_ms(self) -> int:
        """How much sound waits, in milliseconds."""
        format = self.rules.format
        return format.ms_of(format.samples_in(self._queue.waiting_bytes))

    # ---- what has left

    def departures(self, now_ms: int) -> list[PlayedOut]:
        """Return what has left and come back since the last time, in order, and sound that waits and is late."""
        found, self._departures = self._departures, []
        if not self._queue.waiting_bytes:
            return found
        until_ms, next_ms = self._sound_until_ms, self._pace.next_ms(now_ms)
        if until_ms is None or next_ms > until_ms:
            head = self._queue.head()
            if head is not None:
                self._sound_until_ms = next_ms
                found.append(Departure(head[0], head[1], 0, self.rules.format.rate_hz, next_ms, self._keeps))
        return found

    @property
    def _keeps(self) -> bool:
        return not self.rules.ahead_ms

    def _note(self, stretches: Sequence[Stretch], begin_ms: float) -> None:
        rate_hz = self.rules.format.rate_hz
        departures = self._departures
        for stretch in stretches:
            item_id, start_sample, samples = stretch
            last = departures[-1] if departures else None
            if (
                type(last) is Departure
                and last.item_id == item_id
                and last.start_sample + last.samples == start_sample
                and self._sound_until_ms is not None
                and abs(self._sound_until_ms - begin_ms) < 1
            ):
                last.samples += samples
            else:
                departures.append(Departure(item_id, start_sample, samples, rate_hz, begin_ms, self._keeps))
            self._sound_until_ms = begin_ms = begin_ms + samples * 1000 / rate_hz
            self._unmarked_samples += samples
        self._left = stretches[-1]
        if self._sent is not None:
            self._sent.left(stretches)
