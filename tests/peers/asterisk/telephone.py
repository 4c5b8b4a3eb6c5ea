"""A SIP telephone on loopback: it calls an extension, speaks, presses keys, and keeps what it hears."""

from __future__ import annotations

import audioop
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from peers.asterisk.report import Report, is_loud, measure, pcm
from peers.asterisk.rtp import FRAME_BYTES, RtpPort
from peers.asterisk.sip import SipCall

from audio.resampling import resample_in_place

CODECS: dict[str, tuple[int, bytes]] = {"ulaw": (0, b"\xff"), "alaw": (8, b"\xd5")}  # payload type, silent sample


class Telephone:
    """One call. Speaking takes as long as the speech does."""

    def __init__(self, sip: SipCall, rtp: RtpPort, codec: str) -> None:
        self._sip = sip
        self._rtp = rtp
        self._codec = codec
        self.answered_at_s = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether the call is over."""
        return self._sip.ended.is_set()

    @property
    def ended_by_exchange(self) -> bool:
        """Whether the far end has hung up."""
        return self._sip.ended_by_exchange

    @property
    def ended_at_s(self) -> float | None:
        """When the call has ended, on the monotonic clock."""
        return self._sip.ended_at_s

    @property
    def rtp(self) -> RtpPort:
        """Its sound, both ways."""
        return self._rtp

    def say(self, sound: bytes, *, then_silent_s: float = 0.0) -> None:
        """Speak 16-bit sound of 8 kHz, and be silent for a while, with a quiet microphone."""
        frames = self.frames(sound)
        self._rtp.play(frames, len(frames) * 0.02 + then_silent_s, self._sip.ended)

    def press(self, keys: str, *, pause_s: float = 0.1) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self._rtp.press(key, self._sip.ended)
            self._rtp.play((), pause_s, self._sip.ended)

    def mute(self, seconds: float) -> None:
        """Send nothing at all."""
        self._sip.ended.wait(seconds)
        self._rtp.pause()

    def until(self, true: Callable[[], object], within_s: float) -> bool:
        """Be silent until something is true, looked at every 100 ms; False where that takes too long."""
        until_s = time.monotonic() + within_s
        while not true():
            if self.ended or time.monotonic() > until_s:
                return bool(true())
            self._rtp.play((), 0.1, self._sip.ended)
        return True

    def hears_speech_end(self, within_s: float, quiet_s: float = 0.7) -> bool:
        """Be silent until the far end has spoken after now and then been quiet for a while."""
        since_s, seen, last_s = time.monotonic(), len(self._rtp.packets), 0.0

        def over() -> bool:
            # Each packet is looked at once, so that a hundred telephones can listen at the same time.
            nonlocal seen, last_s
            new = self._rtp.packets[seen:]
            seen += len(new)
            last_s = max([last_s, *(packet.at_s for packet in new if is_loud(packet))])
            return last_s >= since_s and time.monotonic() - last_s > quiet_s

        return self.until(over, within_s)

    def hang_up(self) -> None:
        """End the call."""
        self._sip.hang_up()

    def report(self, since_s: float = 0.0) -> Report:
        """What has been heard after this time of the monotonic clock."""
        return measure([packet for packet in tuple(self._rtp.packets) if packet.at_s >= since_s])

    def heard(self) -> bytes:
        """All that has been heard, as 16-bit sound of 8 kHz."""
        return b"".join(pcm(packet) for packet in tuple(self._rtp.packets))

    def frames(self, sound: bytes) -> Sequence[bytes]:
        """16-bit sound of 8 kHz as frames of this telephone's codec, the last one filled up."""
        payload_type, silent = CODECS[self._codec]
        coded = audioop.lin2ulaw(sound, 2) if payload_type == 0 else audioop.lin2alaw(sound, 2)
        coded += silent * (-len(coded) % FRAME_BYTES)
        return [coded[at : at + FRAME_BYTES] for at in range(0, len(coded), FRAME_BYTES)]


@contextmanager
def calling(sip_port: int, extension: str, *, caller: str = "1000", codec: str = "ulaw") -> Iterator[Telephone]:
    """A call that has been answered; it is hung up on exit. Raises NotAnswered."""
    payload_type, silent = CODECS[codec]
    rtp = RtpPort(payload_type, silent * FRAME_BYTES)
    sip = SipCall(sip_port, caller)
    try:
        rtp.open(sip.dial(extension, rtp.port, payload_type))
        yield Telephone(sip, rtp, codec)
    finally:
        sip.hang_up()
        rtp.close()


def read_sound(wav: Path) -> bytes:
    """A mono WAV file of 16-bit sound, brought to 8 kHz."""
    with wave.open(str(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        rate_hz, sound = file.getframerate(), file.readframes(file.getnframes())
    return b"".join(resample_in_place([sound], rate_hz, 8000))


def write_sound(wav: Path, sound: bytes) -> None:
    """Write 16-bit mono sound of 8 kHz."""
    with wave.open(str(wav), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(sound)
