"""The caller's leg for far ends whose playback the gateway paces: telephone exchanges and carriers.

It is the same for all of them. Each protocol's own part reads its messages, hands their events to `deliver`, and writes
what a `FarEnd` must be able to write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from audio.formats import AudioFormat, AudioFrame
from audio.playout import FarEndRules, PlayOut
from audio.runs import SoundStream
from audio.sent_sound import SentSound
from gateway.legs.fast_path_end import NO_PATTERN, FastPathEnd, SoundSource
from gateway.legs.ticker import Beat, Ticker
from sessions.commands import CallerCommand, ClearPlayback, EndCall, Play, Relay, ResponseGone
from sessions.events import CallerAudio, CallerEvent, HungUp, MarkEchoed, ResponseEnded
from sessions.fast_path import Speech
from sessions.line_events import SpeechDropped
from sessions.ports import Clock

# So much of the agent's speech may wait for one caller, unless the leg is given another limit.
MAX_WAITING_MS = 300_000
# An answer to a clear is waited for so long. One that comes later may be meant for something else.
CLEAR_ANSWER_MS = 5_000
MAX_CLEARS = 16  # so many may be unanswered; of more the oldest are forgotten
REASONS = {1000: "ended", 1001: "shutting_down"}  # by close code


class FarEnd(Protocol):
    """The messages of one protocol to one caller. No method waits, and none brings an event from within."""

    def send_sound(self, payload: bytes) -> None:
        """Send sound to be played, in the format and the frames that its rules name."""
        ...

    def send_clear(self) -> None:
        """Let it drop the sound that it holds. Does nothing where it holds none."""
        ...

    def send_mark(self, name: str) -> None:
        """Let it echo this name when it has played everything before it. Only asked for where the rules have marks."""
        ...

    def hang_up(self, reason: str) -> None:
        """End the connection for this end reason of the call. Harmless on one that has ended."""
        ...


def _no_call(event: CallerEvent) -> None:
    """Stands in for the call until there is one."""


def _no_fault(error: BaseException) -> None:
    """Stands in for the call where a tick goes wrong before there is one."""


class PhoneFastPath(FastPathEnd):
    """A telephone's end of the fast path: its protocol's own part reads the caller's frames, and speech is played."""

    __slots__ = ("_play", "_stream_in")

    def __init__(self, format: AudioFormat, play: Callable[[str, AudioFrame], None]) -> None:
        """`format` is that of the caller's frames. `play` takes an item's id and a frame of its speech."""
        super().__init__()
        self._stream_in = SoundStream(format)
        self._play: Callable[[str, AudioFrame], None] | None = play

    def source(self, speech: Speech | None) -> SoundSource | None:
        """The caller's frames come by `carry_frame`."""
        return SoundSource(NO_PATTERN, self._stream_in)

    def frame_sender(self, speech: Speech | None, format: AudioFormat) -> Callable[[AudioFrame], None] | None:
        """Play speech of any format, until the leg has ended."""
        return None if speech is None or self._play is None else partial(self._play, speech.item_id)

    def end(self) -> None:
        """Play no more."""
        self._play = None


class PhoneLeg:
    """One telephone caller: speech waits in `play_out` and leaves for the far end when it is time."""

    __slots__ = (
        "_beat",
        "_cleared",
        "_clock",
        "_deliver",
        "_far_end",
        "_fault",
        "_held",
        "_marks",
        "_max_waiting_ms",
        "_ticker",
        "fast_path",
        "play_out",
    )

    def __init__(self, rules: FarEndRules, ticker: Ticker, clock: Clock, max_waiting_ms: int = MAX_WAITING_MS) -> None:
        self.play_out = PlayOut(rules)
        self.fast_path = PhoneFastPath(rules.format, self._play)
        self._marks = rules.mark_every_ms is not None
        self._ticker = ticker
        self._clock = clock
        self._max_waiting_ms = max_waiting_ms
        self._far_end: FarEnd | None = None
        self._held = False  # the far end wants no more sound for now
        self._beat: Beat | None = None
        # The clears that the far end has not answered: when each was, and what had left until then.
        self._cleared: deque[tuple[int, SentSound]] = deque(maxlen=MAX_CLEARS)
        self._deliver: Callable[[CallerEvent], None] = _no_call
        self._fault: Callable[[BaseException], None] = _no_fault

    def connect(self, deliver: Callable[[CallerEvent], None], fault: Callable[[BaseException], None]) -> None:
        """Connect the leg with the call that has begun on it. `fault` gets what a tick raises."""
        self._deliver, self._fault = deliver, fault

    # ---- for the protocol's own part

    def opened(self, far_end: FarEnd) -> None:
        """The far end takes sound from now on; one that holds none gets silence at once."""
        self._far_end = far_end
        self._beat = self._ticker.join(self._tick, self._broke)
        if not self.play_out.rules.ahead_ms:
            self._beat.wake(0)

    def deliver(self, event: CallerEvent) -> None:
        """Hand an event of the caller's to the call."""
        self._deliver(event)

    def sound(self, frame: AudioFrame) -> None:
        """Hand a frame of the caller's sound on."""
        if not self.fast_path.carry_frame(frame):
            self._deliver(CallerAudio(frame, None))

    def echoed(self, name: str) -> None:
        """The far end has echoed a mark. One that is unknown, or from before a clear, is nothing to the call.

        The last one is an event. The call decides nothing by those before it, so it hears of them with what has left.
        """
        play_out = self.play_out
        mark = play_out.echoed(name)
        if mark is None:
            return
        if play_out.all_echoed:
            self._deliver(MarkEchoed(mark.item_id, mark.position_ms))
        else:
            play_out.note_echo(mark, self._clock.now_ms())

    def hold(self, held: bool) -> None:
        """Send no sound until `held` is False again: the far end has no room for it."""
        self._held = held
        if not held:
            self._refill()

    def holds(self, held_ms: int) -> None:
        """The far end holds so much sound: what goes beyond the gateway's own estimate is waited for."""
        self.play_out.holds(held_ms, self._clock.now_ms())

    def dropped(self, dropped_ms: int) -> None:
        """The far end has answered the oldest clear that it had not answered: it has dropped so much sound then."""
        now_ms, cleared = self._clock.now_ms(), self._cleared
        while cleared:
            at_ms, sent = cleared.popleft()
            if now_ms - at_ms <= CLEAR_ANSWER_MS:
                played_ms = sent.played_ms(dropped_ms)
                if played_ms:
                    self._deliver(SpeechDropped(played_ms))
                return

    def reopened(self) -> None:
        """The far end has another connection now: it takes sound, and answers no clear from before."""
        self._cleared.clear()
        self.hold(False)

    def lost(self, reason: str = "caller_hung_up") -> None:
        """The far end is gone: nothing is sent any more, and the call ends."""
        self._stop()
        self._deliver(HungUp(reason))

    # ---- for the call

    def do(self, command: CallerCommand) -> None:
        """Carry a command out. What only a client of the model's dialect could use is passed over."""
        if type(command) is Play:
            self._play(command.item_id, command.frame)
        elif (type(command) is Relay and type(command.event) is ResponseEnded) or type(command) is ResponseGone:
            self.play_out.finish()
            self._refill()
        elif type(command) is ClearPlayback:
            self._clear()
        elif type(command) is EndCall:
            self._hang_up(command.reason)

    def _clear(self) -> None:
        sent = self.play_out.clear()
        if self._far_end is None:
            return
        if sent is not None:
            self._cleared.append((self._clock.now_ms(), sent))
        self._far_end.send_clear()

    def close(self, code: int, reason: str) -> None:
        """Hang up. A telephone knows no close codes, so the code becomes a reason."""
        self._hang_up(REASONS.get(code, "server_fault"))

    @property
    def overfull(self) -> bool:
        """Whether more speech waits for the caller than may."""
        return self.play_out.waiting_ms > self._max_waiting_ms

    def _play(self, item_id: str, frame: AudioFrame) -> None:
        far_end, play_out = self._far_end, self.play_out
        if far_end is not None and not self._held:
            payload = play_out.pass_on(item_id, frame, self._clock.now_ms())
            if payload is not None:
                far_end.send_sound(payload)
                if self._marks and (name := play_out.mark()) is not None:
                    far_end.send_mark(name)
                return
        play_out.feed(item_id, frame)
        self._refill()

    # ---- time

    def _tick(self, now_ms: int) -> float | None:
        self._send(now_ms)
        wake_ms = self.play_out.wake_ms()
        return None if wake_ms is None else wake_ms - now_ms

    def _refill(self) -> None:
        """Send to a far end that holds sound what it has room for; one that holds none waits for its tick."""
        if not self.play_out.rules.ahead_ms or self._beat is None:
            return
        now_ms = self._clock.now_ms()
        wait_ms = self._tick(now_ms)
        if wait_ms is not None:
            self._beat.wake(wait_ms)

    def _send(self, now_ms: int) -> None:
        far_end, play_out = self._far_end, self.play_out
        if far_end is None or self._held:
            return
        while payloads := play_out.take(now_ms):
            for payload in payloads:
                far_end.send_sound(payload)
            if not self._marks:
                return
            name = play_out.mark()
            if name is not None:
                far_end.send_mark(name)

    # ---- the end

    def _hang_up(self, reason: str) -> None:
        far_end = self._far_end
        self._stop()
        if far_end is not None:
            far_end.hang_up(reason)

    def _stop(self) -> None:
        self._far_end = None
        self.fast_path.end()
        beat, self._beat = self._beat, None
        if beat is not None:
            beat.leave()

    def _broke(self, error: BaseException) -> None:
        """A tick has failed. The leg still can hang up, which the call makes it do when it ends."""
        self._beat = None
        self._fault(error)
