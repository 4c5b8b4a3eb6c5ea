"""The line in of one telephone call: gives the sound of a far end its place in time, and fills holes with silence.

A far end passes on what reaches it: in bunches, with holes, or for a while not at all (hold, mute, discontinuous
transmission, the 180 ms of a key on Asterisk). A model measures time by the sound that it gets, so without silence a
caller whose sound just stops never comes to an end, and is never answered.

Sound goes on at once, however it arrives. Sample positions follow the clock within these bounds:

- After `HOLE_MS` without sound, silence is filled in to the present, and again every `FILL_EVERY_MS`. It ends where the
  frame would begin that comes in this moment, because a frame comes when its time is over.
- Sound that was lost on its way leaves the positions behind the clock. Where they are more than `MAX_BEHIND_MS` behind,
  they jump to the present.
- Sound that had only been delayed comes after the silence that was filled in for it. It is kept, because it may be a
  word, so the positions are ahead of the clock for a while. They return by leaving out 20 ms here and there, inaudible
  ones if there are any, and by later holes, which get less silence. More than `MAX_AHEAD_MS` ahead, sound is dropped.
- Each time this happens, the wait for the next hole grows: a far end that bunches 100 ms has no holes of 100 ms.
"""

from __future__ import annotations

import audioop
from dataclasses import dataclass

from audio.formats import AudioFormat, AudioFrame
from audio.g711 import silence, to_pcm16
from audio.level_history import GATE

# Without sound for so long, silence is filled in: two frames of 20 ms are missing.
HOLE_MS = 60
# The wait for a hole grows to at most this. A model's own wait for the end of a turn is longer.
MAX_HOLE_MS = 300
# A far end may send long frames: a hole begins when the next one is overdue by this.
OVERDUE_MS = 40
FILL_EVERY_MS = 20
# At most so much silence at once, after a long stall of this process.
MAX_FILL_MS = 1_000
# The next frame is taken to be as long as the last one, or this if that was longer.
MAX_FRAME_MS = 200
# With a timer that is later than this, the process was busy: sound may be waiting in the socket, and is read first.
LATE_TIMER_MS = 40
MAX_BEHIND_MS = 100
MAX_AHEAD_MS = 1_000
# No sound is left out while the positions are at most so far ahead: jitter alone moves them by that.
SLACK_MS = 60
# How much is left out at once; how often where it is inaudible, and how often where it is not.
LEFT_OUT_MS = 20
LEFT_OUT_QUIET_EVERY_MS = 100
LEFT_OUT_LOUD_EVERY_MS = 1_000


@dataclass(frozen=True, slots=True)
class LineCounts:
    """Sums of a line in, in milliseconds of sound."""

    late_ms: int = 0  # came after its time had passed, and was kept
    filled_ms: int = 0  # silence in the place of sound that did not come in time
    clipped_ms: int = 0  # dropped: more than MAX_AHEAD_MS late, or left out so that the positions return to the clock


class LineIn:
    """Places the sound of one far end on a timeline that follows the clock; sample 0 is at `begun_ms`.

    All times are on one monotonic clock. Whoever owns this calls `on_time` at `deadline_ms`.
    """

    __slots__ = (
        "_ahead_before",
        "_begun_ms",
        "_clipped",
        "_filled",
        "_frame_samples",
        "_hole_ms",
        "_late",
        "_least_samples",
        "_left_out_ms",
        "_longest_samples",
        "_most_behind",
        "_next_sample",
        "_postponed",
        "_slack",
        "deadline_ms",
        "format",
    )

    def __init__(self, format: AudioFormat, begun_ms: int, *, frame_ms: int = 20) -> None:
        """`frame_ms`: how long the far end's frames are. Where it sends longer ones, the first of them come late."""
        self.format = format
        self._begun_ms = begun_ms
        # In samples, because each frame needs them.
        self._least_samples = self._samples(LEFT_OUT_MS)
        self._longest_samples = self._samples(MAX_FRAME_MS)
        self._slack = self._samples(SLACK_MS)
        self._most_behind = self._samples(MAX_BEHIND_MS)
        self._frame_samples = self._samples(min(frame_ms, MAX_FRAME_MS))  # of the last frame
        self._next_sample = 0  # the position of the next sound
        # Without sound for so long, there is a hole.
        self._hole_ms = max(HOLE_MS, min(MAX_HOLE_MS, frame_ms + OVERDUE_MS))
        self.deadline_ms = begun_ms + self._hole_ms  # when `on_time` is to be called if no sound comes before
        self._postponed = False  # whether `on_time` has waited for sound in the socket
        self._left_out_ms = begun_ms  # when sound was last left out, or did not need to be
        self._ahead_before = 0  # how far ahead of the clock the sound has come so far
        self._late = self._filled = self._clipped = 0  # in samples

    @property
    def counts(self) -> LineCounts:
        """The sums so far."""
        ms_of = self.format.ms_of
        return LineCounts(ms_of(self._late), ms_of(self._filled), ms_of(self._clipped))

    def sound(self, payload: bytes, now_ms: int) -> AudioFrame | None:
        """Take sound that has just arrived. Returns what of it goes on, at once; None if nothing does.

        Raises ValueError for half a sample.
        """
        format = self.format
        samples, rest = divmod(len(payload), format.sample_bytes)
        if rest:
            raise ValueError(f"PCM16 takes 2 bytes a sample, and {len(payload)} bytes are not whole samples")
        if not samples:
            return None
        self._postponed = False
        self._frame_samples = min(samples, self._longest_samples)
        self.deadline_ms = now_ms + self._hole_ms
        start_sample, present = self._next_sample, (now_ms - self._begun_ms) * format.rate_hz // 1000
        ahead = start_sample + samples - present
        if ahead < -self._most_behind:
            start_sample, ahead = present - samples, 0
        if ahead <= self._slack:
            self._left_out_ms = now_ms
        else:
            cut = self._to_cut(payload, samples, ahead, now_ms)
            self._clipped += cut
            ahead -= cut
            samples -= cut
            payload = payload[cut * format.sample_bytes :]
        if ahead > self._least_samples or self._ahead_before > self._least_samples:
            self._note_late(ahead)
        self._next_sample = start_sample + samples
        return AudioFrame(payload, format, start_sample) if samples else None

    def on_time(self, now_ms: int) -> AudioFrame | None:
        """Return the silence that is due, for the model only: the caller did not send it. An early call is harmless."""
        overdue_ms = now_ms - self.deadline_ms
        if overdue_ms < 0:
            return None
        self.deadline_ms = now_ms + FILL_EVERY_MS
        if overdue_ms > LATE_TIMER_MS and not self._postponed:
            self._postponed = True
            return None
        self._postponed = False
        end = self._present(now_ms) - self._frame_samples
        samples = min(end - self._next_sample, self._samples(MAX_FILL_MS))
        if samples <= 0:
            return None
        self._next_sample = end
        self._filled += samples
        return AudioFrame(silence(self.format, samples), self.format, end - samples)

    def _to_cut(self, payload: bytes, samples: int, ahead: int, now_ms: int) -> int:
        """How many samples to drop at the beginning of a payload that ends `ahead` samples after the present."""
        over = ahead - self._samples(MAX_AHEAD_MS)
        if over > 0:
            return min(over, samples)
        since_ms = now_ms - self._left_out_ms
        cut = min(samples, self._least_samples)
        if since_ms >= LEFT_OUT_LOUD_EVERY_MS or (since_ms >= LEFT_OUT_QUIET_EVERY_MS and self._quiet(payload, cut)):
            self._left_out_ms = now_ms
            return cut
        return 0

    def _quiet(self, payload: bytes, samples: int) -> bool:
        begin = AudioFrame(payload[: samples * self.format.sample_bytes], self.format, 0)
        return audioop.rms(to_pcm16(begin).payload, 2) <= GATE

    def _note_late(self, ahead: int) -> None:
        """Count sound that came faster than it can have been spoken: its time had passed.

        Up to 20 ms are not counted, nor are 60 ms of jitter while the positions are ahead.
        """
        before = max(min(self._ahead_before, ahead + self._samples(HOLE_MS)), self._least_samples)
        if ahead > before:
            self._late += ahead - before
            before = ahead
            self._hole_ms = max(self._hole_ms, min(MAX_HOLE_MS, self.format.ms_of(ahead) + HOLE_MS))
        self._ahead_before = before

    def _present(self, now_ms: int) -> int:
        return self._samples(now_ms - self._begun_ms)

    def _samples(self, ms: int) -> int:
        return ms * self.format.rate_hz // 1000
