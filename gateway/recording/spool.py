"""Spools the raw sound of one running call, both tracks as received. It runs for each frame, so it must be cheap.

Payloads are gathered without copying and passed to the writer's thread every two seconds after the call's start, or
earlier if they fill a block. Each block says where its sound belongs, so a lost block does not affect the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from audio.formats import AudioFormat, AudioFrame
from audio.runs import FrameRun
from gateway.recording.phase import BLOCK_MS, next_due_ms
from gateway.recording.sink import DeferredPayload, Part, Sink
from gateway.recording.tracks import (
    AGENT,
    AGENT_FILE,
    CALLER,
    CALLER_FILE,
    INDEX_FILE,
    Run,
    TracksHeader,
    header_line,
    run_line,
)
from gateway.recording.writer import SpoolWriter

BLOCK_BYTES = 128 * 1024  # more than two seconds of any format, because each block takes time of the writer's thread
LINE_BYTES = 160  # about the length of a line of the index
FILE_OF = {CALLER: CALLER_FILE, AGENT: AGENT_FILE}
DRIFT_MAX_MS = 60  # with more drift between arrival and sample count, a new run begins
CALL_MAX_BYTES = 2 * 1024**3  # of each track on the disk


class CallSpool:
    """Spools one call's sound. If the disk is too slow, the recording is incomplete and the call goes on."""

    __slots__ = (
        "_agent",
        "_begun",
        "_caller",
        "_complete",
        "_due_ms",
        "_head",
        "_lines",
        "_sink",
        "_started_ms",
        "_stopped",
        "_writer",
    )

    def __init__(self, writer: SpoolWriter, sink: Sink, header: TracksHeader, *, started_ms: int) -> None:
        self._writer = writer
        self._sink = sink
        self._started_ms = started_ms
        self._due_ms = started_ms + BLOCK_MS
        self._head = header_line(header)
        self._begun = False  # whether the writer has accepted a block
        self._lines: list[_Line] = []  # lines of the index for the sound that waits
        self._caller = _Track(CALLER)
        self._agent = _Track(AGENT)
        self._stopped = False
        self._complete = True

    @property
    def complete(self) -> bool:
        """Whether no sound has been lost so far, as far as is known."""
        return self._complete and self._sink.failed is None

    def caller(self, frame: AudioFrame, at_ms: int) -> None:
        """Add a frame of the caller that arrived at `at_ms` on the monotonic clock."""
        track = self._caller
        if (
            frame.start_sample != track.next_sample
            or (frame.format is not track.format and frame.format != track.format)
            or not track.in_time(frame.start_sample, at_ms)
        ):
            self._begin(track, None, frame, at_ms)
        elif not track.waiting:
            self._continue_run(track, track.expected_ms(frame.start_sample))
        payload = frame.payload
        payload_bytes = len(payload)
        track.next_sample = frame.start_sample + payload_bytes // track.sample_bytes
        track.waiting.append(payload)
        track.waiting_bytes += payload_bytes
        if at_ms >= self._due_ms or track.waiting_bytes >= BLOCK_BYTES:
            self._hand_over(at_ms)

    def agent(self, frame: AudioFrame, item_id: str, at_ms: int) -> None:
        """Add a frame of an item of the agent that arrived at `at_ms` on the monotonic clock."""
        track = self._agent
        if (
            frame.start_sample != track.next_sample
            or item_id != track.item_id
            or (frame.format is not track.format and frame.format != track.format)
        ):
            self._begin(track, item_id, frame, at_ms)
        elif not track.waiting:
            self._continue_run(track, at_ms)
        payload = frame.payload
        payload_bytes = len(payload)
        track.next_sample = frame.start_sample + payload_bytes // track.sample_bytes
        track.waiting.append(payload)
        track.waiting_bytes += payload_bytes
        if at_ms >= self._due_ms or track.waiting_bytes >= BLOCK_BYTES:
            self._hand_over(at_ms)

    def caller_run(self, run: FrameRun) -> None:
        """Add consecutive frames of the caller, each with the time of its arrival."""
        track = self._caller
        last_sample = run.start_sample + run.samples - len(run.payloads[-1]) // run.format.sample_bytes
        in_time = track.in_time(run.start_sample, run.at_ms[0]) and track.in_time(last_sample, run.at_ms[-1])
        if in_time and track.continues_with(run):
            if not track.waiting:
                self._continue_run(track, track.expected_ms(run.start_sample))
            self._take_run(track, run)
            return
        for frame, at_ms in run.frames():  # there is a gap somewhere in the run
            self.caller(frame, at_ms)

    def agent_run(self, run: FrameRun, item_id: str) -> None:
        """Add consecutive frames of an item of the agent, each with the time of its arrival."""
        track = self._agent
        if item_id == track.item_id and track.continues_with(run):
            if not track.waiting:
                self._continue_run(track, run.at_ms[0])
            self._take_run(track, run)
            return
        for frame, at_ms in run.frames():
            self.agent(frame, item_id, at_ms)

    def _take_run(self, track: _Track, run: FrameRun) -> None:
        track.next_sample += run.samples
        track.waiting += run.payloads
        track.waiting_bytes += run.payload_bytes
        if run.at_ms[-1] >= self._due_ms or track.waiting_bytes >= BLOCK_BYTES:
            self._hand_over(run.at_ms[-1])

    def tick(self, at_ms: int) -> None:
        """Pass the waiting sound to the writer if it is due; for calls in which no frame arrives."""
        if at_ms >= self._due_ms:
            self._hand_over(at_ms)

    def close(self, at_ms: int) -> None:
        """Pass the rest to the writer; later sound is dropped."""
        self._hand_over(at_ms)
        self._stopped = True

    def _begin(self, track: _Track, item_id: str | None, frame: AudioFrame, at_ms: int) -> None:
        run = Run(
            track=track.name,
            item_id=item_id,
            offset_bytes=track.waiting_bytes,
            start_sample=frame.start_sample,
            at_ms=at_ms - self._started_ms,
            format=frame.format,
        )
        self._lines.append(_Line(run, new=True))
        track.begin(run, at_ms)

    def _continue_run(self, track: _Track, at_ms: int) -> None:
        """Note where a block begins inside a run, so that its sound has a place even if the block before it is lost."""
        assert track.format is not None
        run = Run(track.name, track.item_id, 0, track.next_sample, at_ms - self._started_ms, track.format)
        self._lines.append(_Line(run, new=False))

    def _hand_over(self, at_ms: int) -> None:
        self._due_ms = next_due_ms(self._started_ms, BLOCK_MS, at_ms)
        caller_bytes, agent_bytes = self._caller.waiting_bytes, self._agent.waiting_bytes
        caller, agent, lines = self._caller.take(), self._agent.take(), self._lines
        self._lines = []
        if self._stopped or not (caller or agent or not self._begun):
            return
        if self._over_limit(caller_bytes, agent_bytes):
            self._stopped = True
            self._complete = False
            return
        parts: list[Part] = [
            (name, payloads) for name, payloads in ((CALLER_FILE, caller), (AGENT_FILE, agent)) if payloads
        ]
        parts.append((INDEX_FILE, DeferredPayload(partial(_index, self._head, lines), LINE_BYTES * (len(lines) + 1))))
        if self._writer.append(self._sink, parts):
            self._begun = True
            self._caller.handed_bytes += caller_bytes
            self._agent.handed_bytes += agent_bytes
            return
        # The block was refused, so its runs do not exist; the next frame of each track begins a new run.
        self._complete = False
        self._caller.forget_run()
        self._agent.forget_run()

    def _over_limit(self, caller_bytes: int, agent_bytes: int) -> bool:
        return (
            self._caller.handed_bytes + caller_bytes > CALL_MAX_BYTES
            or self._agent.handed_bytes + agent_bytes > CALL_MAX_BYTES
        )


@dataclass(frozen=True, slots=True)
class _Line:
    """A run that begins in a block (`new`) or continues in it; `offset_bytes` counts from the block's begin."""

    run: Run
    new: bool


def _index(head: bytes, lines: Sequence[_Line], before: Mapping[str, int], whole: bool) -> bytes:
    """The lines that a block adds to the index, after `head` in a new file. Without lost blocks a run has one line."""
    written = [b"" if before[INDEX_FILE] else head]
    for line in lines:
        offset_bytes = before[FILE_OF[line.run.track]]
        if line.new or not whole or not offset_bytes or not before[INDEX_FILE]:
            written.append(run_line(replace(line.run, offset_bytes=line.run.offset_bytes + offset_bytes)))
    return b"".join(written)


class _Track:
    """The sound of one track that waits for the writer, and the run that it belongs to."""

    __slots__ = (
        "at_ms",
        "format",
        "handed_bytes",
        "item_id",
        "name",
        "next_sample",
        "rate_hz",
        "sample_bytes",
        "start_sample",
        "waiting",
        "waiting_bytes",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: list[bytes] = []
        self.waiting_bytes = 0
        self.handed_bytes = 0
        self.format: AudioFormat | None = None
        self.item_id: str | None = None
        self.next_sample = -1  # no frame has this position
        self.start_sample = 0
        self.at_ms = 0
        self.rate_hz = 1
        self.sample_bytes = 1

    def begin(self, run: Run, at_ms: int) -> None:
        """Begin a run; the positions and times of its frames are counted from here."""
        self.format = run.format
        self.item_id = run.item_id
        self.start_sample = run.start_sample
        self.at_ms = at_ms
        self.rate_hz = run.format.rate_hz
        self.sample_bytes = run.format.sample_bytes

    def in_time(self, start_sample: int, at_ms: int) -> bool:
        """Whether sound at this sample arrived when it was expected, within DRIFT_MAX_MS."""
        drift_ms = at_ms - self.at_ms - (start_sample - self.start_sample) * 1000 // self.rate_hz
        return -DRIFT_MAX_MS <= drift_ms <= DRIFT_MAX_MS

    def expected_ms(self, start_sample: int) -> int:
        """When sound at this sample is expected to arrive, counted from the run's begin."""
        return self.at_ms + (start_sample - self.start_sample) * 1000 // self.rate_hz

    def continues_with(self, run: FrameRun) -> bool:
        """Whether these frames directly follow the last one, in the same format."""
        return run.start_sample == self.next_sample and run.format == self.format

    def forget_run(self) -> None:
        """Let the next frame begin a new run."""
        self.next_sample = -1

    def take(self) -> list[bytes]:
        """Remove and return the waiting payloads."""
        taken, self.waiting, self.waiting_bytes = self.waiting, [], 0
        return taken
