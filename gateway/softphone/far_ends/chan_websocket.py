"""The far end of Asterisk's WebSocket channel: its events, its queue of 20 ms frames, and its answers to commands.

The queue is played in real time. From 900 frames on it asks for a pause, below 800 for more, and at 1,000 it takes
nothing, without a word. A mark is echoed when everything before it has been played, and is lost at a flush. A frame
that is being played has left the queue: a flush and a pause leave it alone. A pause lasts until its end is commanded,
a flush does not end it. A command of more than 128 bytes and a frame that is not whole are dropped without a word. It
speaks JSON. Pure; milliseconds.
Source: Asterisk, `channels/chan_websocket.c`; docs.asterisk.org, "WebSocket channel driver"; measured with 22.10.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from audio.formats import PCMU_8K, AudioFormat
from gateway.softphone.far_ends.ear import Ear

FRAME_MS = 20
MAX_COMMAND_BYTES = 128
MAX_MESSAGE_BYTES = 65_500  # a longer one ends the call, with 1009
TOO_LONG_CODE = 1009
QUEUE_FRAMES, XOFF_FRAMES, XON_FRAMES = 1_000, 900, 800
KEYS = frozenset("0123456789*#ABCD")


class ChanWebsocketFarEnd:
    """One channel. `faults` is what the other side has done against the protocol, each thing once."""

    def __init__(self, channel_id: str, format: AudioFormat = PCMU_8K, format_name: str = "ulaw") -> None:
        """`format_name` is Asterisk's name of `format`."""
        self.ear = Ear(format)
        self.faults: list[str] = []
        self.hung_up = False  # the other side has asked for it
        self.close_code: int | None = None  # with which the channel closes the socket; None: it does not
        self._format = format
        self._format_name = format_name
        self._channel_id = channel_id
        self._frame_bytes = format.bytes_for_ms(FRAME_MS)
        self._full = False
        self._tells_drained = False
        self._paused: list[bytes | str] | None = None  # sound and marks that wait for a pause to end, in order

    # ---- what it sends

    def begin(self) -> list[bytes]:
        """The first message."""
        return [
            self._event(
                "MEDIA_START",
                connection_id="patchbay",
                channel=f"WebSocket/patchbay/{self._channel_id}",
                format=self._format_name,
                optimal_frame_size=self._frame_bytes,
                ptime=FRAME_MS,
                channel_variables={},
            )
        ]

    def press(self, digit: str) -> list[bytes]:
        """The caller has released a key. Raises ValueError for what is no key of a telephone."""
        if digit not in KEYS:
            raise ValueError(f"{digit!r} is no key of a telephone")
        return [self._event("DTMF_END", digit=digit)]

    # ---- what it is sent

    def binary(self, message: bytes, now_ms: float) -> list[bytes]:
        """Sound has arrived; whole frames of it are queued."""
        events = self.on_time(now_ms)
        if len(message) > MAX_MESSAGE_BYTES:
            self._fault("a message of more than 65,500 bytes")
            self.close_code = TOO_LONG_CODE
            return events
        rest = len(message) % self._frame_bytes
        if rest or not message:
            self._fault("sound that is not whole frames of 20 ms")
        if self._queued(now_ms) >= QUEUE_FRAMES:
            self._fault("more sound than the queue holds, which is lost")
            return events
        whole = message[: len(message) - rest]
        if whole:
            self._queue(whole, now_ms)
        if not self._full and self._queued(now_ms) >= XOFF_FRAMES:
            self._full = True
            events.append(self._event("MEDIA_XOFF"))
        return events

    def text(self, message: bytes, now_ms: float) -> list[bytes]:
        """A command has arrived."""
        events = self.on_time(now_ms)
        if len(message) > MAX_COMMAND_BYTES:
            self._fault("a command of more than 128 bytes, which is dropped")
            return events
        try:
            fields = orjson.loads(message)
        except orjson.JSONDecodeError:
            self._fault("a command that is not JSON")
            return [*events, self._event("ERROR", error_text="Unable to parse command")]
        return events + self._command(fields if isinstance(fields, dict) else {}, now_ms)

    def on_time(self, now_ms: float) -> list[bytes]:
        """The echoes of marks that have been reached, and what the queue's length has to say."""
        if self._paused is not None:
            return []
        events = [self._event("MEDIA_MARK_PROCESSED", correlation_id=name) for name in self.ear.reached(now_ms)]
        if self._full and self._queued(now_ms) < XON_FRAMES:
            self._full = False
            events.append(self._event("MEDIA_XON"))
        if self._tells_drained and not self.ear.held_ms(now_ms):
            self._tells_drained = False
            events.append(self._event("QUEUE_DRAINED"))
        return events

    @property
    def wake_ms(self) -> float | None:
        """When `on_time` has something to send; None: not before more has come."""
        if self._paused is not None:
            return None
        wakes = [self.ear.wake_ms]
        if self._full:
            wakes.append(self.ear.until_ms - (XON_FRAMES - 1) * FRAME_MS)
        if self._tells_drained:
            wakes.append(self.ear.until_ms)
        return min((wake for wake in wakes if wake is not None), default=None)

    def _command(self, fields: Mapping[str, Any], now_ms: float) -> list[bytes]:
        match fields:
            case {"command": "MARK_MEDIA", "correlation_id": str(name), **more} if not more:
                self._queue(name, now_ms)
            case {"command": "FLUSH_MEDIA", **more} if not more:
                self._flush(now_ms)
            case {"command": "PAUSE_MEDIA", **more} if not more:
                self._pause(now_ms)
            case {"command": "CONTINUE_MEDIA", **more} if not more:
                self._go_on(now_ms)
            case {"command": "REPORT_QUEUE_DRAINED", **more} if not more:
                self._tells_drained = True
            case {"command": "GET_STATUS", **more} if not more:
                return [self._status(now_ms)]
            case {"command": "HANGUP", **more} if not more:
                self.hung_up, self.close_code = True, 1000
            case {"command": "ANSWER", **more} if not more:
                pass
            case _:
                self._fault("a command that the channel does not know, or that is not used here")
        return self.on_time(now_ms)

    def _status(self, now_ms: float) -> bytes:
        queued = self._queued(now_ms)
        return self._event(
            "STATUS",
            queue_length=queued,
            xon_level=XON_FRAMES,
            xoff_level=XOFF_FRAMES,
            queue_full=queued >= QUEUE_FRAMES,
            bulk_media=False,
            media_paused=self._paused is not None,
        )

    def _queue(self, part: bytes | str, now_ms: float) -> None:
        """Queue sound, or the name of a mark."""
        if self._paused is not None:
            self._paused.append(part)
        elif isinstance(part, bytes):
            self.ear.sound(part, now_ms)
        else:
            self.ear.mark(part, now_ms)

    def _flush(self, now_ms: float) -> None:
        self.ear.clear(self._frame_ends_ms(now_ms))
        if self._paused is not None:
            self._paused.clear()

    def _pause(self, now_ms: float) -> None:
        if self._paused is None:
            self._paused = self.ear.take_back(self._frame_ends_ms(now_ms))

    def _go_on(self, now_ms: float) -> None:
        waiting, self._paused = self._paused or [], None
        for part in waiting:
            self._queue(part, now_ms)

    def _frame_ends_ms(self, now_ms: float) -> float:
        """When the frame that is being played will have been played; now if there is none."""
        held_ms = self.ear.held_ms(now_ms)
        return now_ms + held_ms - int(held_ms) // FRAME_MS * FRAME_MS

    def _queued(self, now_ms: float) -> int:
        """The frames that wait; the one that is being played has left the queue."""
        paused_bytes = sum(len(part) for part in self._paused or () if isinstance(part, bytes))
        return int(self.ear.held_ms(now_ms)) // FRAME_MS + paused_bytes // self._frame_bytes

    def _event(self, name: str, **fields: Any) -> bytes:
        return orjson.dumps({"event": name, "channel_id": self._channel_id, **fields})

    def _fault(self, what: str) -> None:
        if what not in self.faults:
            self.faults.append(what)
