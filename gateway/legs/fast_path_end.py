"""A leg's end of the fast path: sound goes from one leg's socket to the other's, and the call hears of it later.

Between two events of a call most messages are alike: the same shape, sound of the same stream, and a socket that has
room for them. Such a message is recognised by its pattern, and its sound is decoded (which also validates it). Where
both legs speak the same protocol, the other leg's socket gets its bytes unchanged; otherwise the other leg gets the
frame and writes it in its own way. The call, its playback ledger and the recording get this sound in runs: before they
take an event that depends on it, and after `MAX_WAIT_MS` at the latest. Each frame of a run keeps the time at which it
arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audio.formats import PCM16_24K, AudioFormat, AudioFrame
from audio.runs import FrameRun, SoundStream
from gateway.clock import NS_A_MS
from gateway.realtime.scan import SoundPattern
from sessions.fast_path import Speech

# How many frames may wait to be noted: more would take more memory and save little time.
MAX_FRAMES = 15
MAX_WAIT_MS = 300

REALTIME = "realtime"  # the protocol whose messages clients and models exchange


def _no_payload(message: bytes) -> None:
    return None


NO_PATTERN = SoundPattern(_no_payload)


@dataclass(slots=True)
class SoundSource:
    """Where a fast path's sound comes from: the pattern of its messages, and the stream whose samples it counts.

    The pattern is `NO_PATTERN` where the leg reads all its messages itself, and hands the frames to `carry_frame`.
    """

    pattern: SoundPattern
    stream: SoundStream


class FastPathEnd:
    """One leg's end of a call's fast paths, which a leg offers as its attribute `fast_path`.

    The leg passes each message to `carry` before it reads the message itself, or each frame that it has read to
    `carry_frame` before it delivers it. The leg's own subclass answers `source`, `sender`, `frame_sender` and
    `note_sent`; their argument `speech` names the agent's speech, and None stands for the caller's sound. An end is
    closed until the call opens it.

    `protocol` names the protocol of the leg's messages. Between two ends with the same one they go on as they are; the
    empty name is the same as no other.
    """

    protocol = ""

    __slots__ = (
        "_at_ns",
        "_due_ns",
        "_full",
        "_now_ns",
        "_payload_of",
        "_payloads",
        "_sample_bytes",
        "_send",
        "_send_frame",
        "_start_sample",
        "_stream",
        "flush",
        "inward",
    )

    def __init__(self) -> None:
        self._now_ns: Callable[[], int] = _no_time
        self.flush: Callable[[], None] = _nothing
        self._full: Callable[[], None] = _nothing
        self._send: Callable[[bytes], None] | None = None
        self._send_frame: Callable[[AudioFrame], None] | None = None
        self._payload_of: Callable[[bytes], bytes | None] = _no_payload
        self._sample_bytes = 1
        self._stream = SoundStream(PCM16_24K)
        self._start_sample = 0  # of the first frame that waits
        self._payloads: list[bytes] = []
        self._at_ns: list[int] = []
        self._due_ns = 0
        # Gives what brings frames of a format into the one that this leg takes, or None where that is the same.
        self.inward: Callable[[AudioFormat], Callable[[AudioFrame], AudioFrame] | None] = _no_inward

    # ---- for the call, answered by the leg's own class

    def source(self, speech: Speech | None) -> SoundSource | None:
        """How this leg's next messages bring this sound; None where the leg must read each message itself."""
        return None

    def sender(self, speech: Speech | None) -> Callable[[bytes], None] | None:
        """Return what writes the other leg's messages with this sound to this leg's socket, until the next event.

        None where that is not possible: the messages must be changed, or the socket is congested or closed.
        """
        return None

    def note_sent(self, run: FrameRun) -> None:
        """Count a run that `sender` wrote to this leg's socket, so that the codec's sample count stays right."""

    def frame_sender(self, speech: Speech | None, format: AudioFormat) -> Callable[[AudioFrame], None] | None:
        """Return what sends a frame of this format to this leg, and counts it, until the next event.

        None where that is not possible, as with `sender`.
        """
        return None

    # ---- for the call

    def attach(self, now_ns: Callable[[], int], flush: Callable[[], None], full: Callable[[], None]) -> None:
        """Connect this end to a call. `flush` notes all waiting sound of both directions.

        `full` is called when `MAX_FRAMES` wait, or a frame has waited for `MAX_WAIT_MS`: it flushes, and decides again
        whether the fast paths stay open.
        """
        self._now_ns, self.flush, self._full = now_ns, flush, full

    def detach(self) -> None:
        """Close for good and drop all references to the call, so that nothing here keeps it alive."""
        self.close()
        self.flush = self._full = _nothing
        self.inward = _no_inward

    def open(self, source: SoundSource, send: Callable[[bytes], None]) -> None:
        """From now on `carry` writes messages of this source with `send`. No sound may be waiting."""
        self._open(source)
        self._send, self._send_frame = send, None

    def open_frames(self, source: SoundSource, send: Callable[[AudioFrame], None]) -> None:
        """From now on `carry` and `carry_frame` hand frames of this source to `send`. No sound may be waiting."""
        self._open(source)
        self._send, self._send_frame = None, send

    def close(self) -> None:
        """From now on nothing is carried. Sound that waits stays until `take`."""
        self._send = self._send_frame = None
        self._payload_of = _no_payload

    @property
    def closed(self) -> bool:
        """Whether the leg must read every message itself."""
        return self._send is None and self._send_frame is None

    def take(self) -> FrameRun | None:
        """Remove and return the sound that waits to be noted; None where none waits."""
        payloads = self._payloads
        if not payloads:
            return None
        at_ms = [at_ns // NS_A_MS for at_ns in self._at_ns]
        self._payloads, self._at_ns = [], []
        return FrameRun(payloads, at_ms, self._stream.format, self._start_sample, sum(map(len, payloads)))

    # ---- for the leg

    def carry(self, message: bytes) -> bool:
        """Send a message on if it is sound of the open source. False: the leg must read it itself."""
        payload = self._payload_of(message)
        if payload is None or len(payload) % self._sample_bytes:
            return False
        send = self._send
        if send is not None:
            send(message)
        elif self._send_frame is not None:
            self._send_frame(AudioFrame(payload, self._stream.format, self._stream.samples))
        else:
            return False
        if not self._payloads:
            self._start_sample = self._stream.samples
        self._stream.samples += len(payload) // self._sample_bytes
        self._wait(payload)
        return True

    def carry_frame(self, frame: AudioFrame) -> bool:
        """Send a frame on if it may be. False: the leg must deliver it, as where it does not follow the one before."""
        send, stream = self._send_frame, self._stream
        if send is None:
            return False
        if not self._payloads:
            self._start_sample = frame.start_sample
        elif frame.start_sample != stream.samples:
            return False
        send(frame)
        stream.samples = frame.start_sample + len(frame.payload) // self._sample_bytes
        self._wait(frame.payload)
        return True

    # ---- waiting

    def _open(self, source: SoundSource) -> None:
        self._payload_of = source.pattern.payload
        self._stream = source.stream
        self._sample_bytes = source.stream.format.sample_bytes

    def _wait(self, payload: bytes) -> None:
        """Keep a payload that has been sent, until it is noted."""
        at_ns = self._now_ns()
        payloads = self._payloads
        if not payloads:
            self._due_ns = at_ns + MAX_WAIT_MS * NS_A_MS
        payloads.append(payload)
        self._at_ns.append(at_ns)
        if at_ns >= self._due_ns or len(payloads) >= MAX_FRAMES:
            self._full()


def fast_path_of(leg: object) -> FastPathEnd | None:
    """The fast path that a leg offers; None where it offers none."""
    end = getattr(leg, "fast_path", None)
    return end if isinstance(end, FastPathEnd) else None


def _no_inward(format: AudioFormat) -> None:
    return None


def _no_time() -> int:
    return 0


def _nothing() -> None:
    return None
