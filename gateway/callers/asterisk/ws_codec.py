"""Asterisk's WebSocket channel, one call a socket: sound as binary messages without a header, control as text.

The channel takes whole frames and plays them on its own 20 ms clock. It sends nothing while its caller sends nothing.
A mark's echo means that everything before it has been played; marks that are pending at a flush are never echoed.
Commands are handled in order, so the queue's length right before a flush is what the flush drops.
Source: Asterisk, `channels/chan_websocket.c`; docs.asterisk.org, "WebSocket channel driver"; measured with 22.10.1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Any

from audio.formats import AudioFormat
from audio.playout import FarEndRules, Framing
from gateway.callers.asterisk.registration import FORMATS as ANNOUNCED
from gateway.callers.asterisk.ws_messages import command, read_control
from gateway.callers.phone.codec import (
    CallRefused,
    Dropped,
    Echoed,
    FarEndEvent,
    FarEndSilent,
    Full,
    Heard,
    Holds,
    MediaStarted,
    Pressed,
)
from sessions.caller_facts import CallerFacts
from sessions.errors import WireError
from sessions.keys import KEYS

# By Asterisk's name. Its signed linear sound is little-endian on every machine that Patchbay runs on.
FORMATS: Mapping[str, AudioFormat] = {name: ANNOUNCED[name] for name in ("ulaw", "alaw", "slin", "slin16", "slin24")}
# Asterisk never makes up for time in which it did not play, so what it holds is delay until there is a pause.
AHEAD_MS = 200
MARK_EVERY_MS = 200
EARLY_MS = 1_000  # a busy Asterisk may send sound before its first message
HEARTBEAT_MS = 20_000
FRAME_MS = range(10, AHEAD_MS // 2 + 1)  # the frames that the play-out can pace
MAX_UNANSWERED = 2  # a channel that has answered before, and then leaves so many heartbeats unanswered, is lost
MAX_ASKED = 64  # questions that wait for an answer; of more the oldest are forgotten


class _Asked(Enum):
    """What the queue's length was asked for."""

    HEARTBEAT = auto()
    CLEAR = auto()


class ChanWebsocketCodec:
    """Reads and writes the messages of one channel; `facts` are what was registered of its caller."""

    sound_is_binary = True
    all_binary = False
    early_ms = EARLY_MS
    heartbeat_ms: int | None = HEARTBEAT_MS

    def __init__(self, facts: CallerFacts) -> None:
        self._facts = facts
        self._json = True
        self._started = False
        self._frame_ms = 0  # the queue's frames are as long as those that the channel sends
        self._full = False
        self._answers = False  # whether it has ever answered a heartbeat
        self._unanswered = 0  # heartbeats
        self._asked: deque[_Asked] = deque(maxlen=MAX_ASKED)  # what has not been answered, in order

    # ---- what it says

    def read_text(self, message: bytes) -> FarEndEvent | None:
        """Read a control message; unknown events are passed over. Raises WireError, and CallRefused at the start."""
        name, fields, json = read_control(message)
        match name:
            case "MEDIA_MARK_PROCESSED":
                return Echoed(_text(fields, "correlation_id"))
            case "DTMF_END":
                return _pressed(fields)
            case "STATUS":
                return self._status(fields)
            case "MEDIA_XOFF" | "MEDIA_XON":
                self._full = name == "MEDIA_XOFF"
                return Full(self._full)
            case "QUEUE_DRAINED":
                # It holds nothing, so it has room, whether or not it says that as well.
                full, self._full = self._full, False
                return Full(False) if full else None
            case "MEDIA_START":
                return self._start(fields, json)
            case "ERROR":
                # In the call's record this shows that a command was refused, and many in a row end the call.
                raise WireError("The channel has refused a command.", code="command_refused")
        return None

    def read_binary(self, message: bytes) -> FarEndEvent | None:
        """Read sound of the caller."""
        return Heard(message)

    def _start(self, fields: Mapping[str, Any], json: bool) -> MediaStarted:
        format = FORMATS.get(_text(fields, "format"))
        if format is None:
            raise CallRefused("the channel's sound is of a format that is not spoken here; use c(ulaw), for example")
        frame_ms, rest = divmod(_count(fields, "optimal_frame_size") * 1000, format.bytes_for_ms(1000))
        if rest or frame_ms not in FRAME_MS:
            raise CallRefused(
                "the channel's frames are of a length that is not spoken here, or it passes sound through"
            )
        if not self._started:
            self._started, self._json, self._frame_ms = True, json, frame_ms
        facts = self._facts
        if facts.carrier_call_id is None:
            found = CallerFacts.of(carrier_call_id=fields.get("channel_id"))
            facts = replace(facts, carrier_call_id=found.carrier_call_id)
        rules = FarEndRules(format, AHEAD_MS, Framing.WHOLE, frame_ms, MARK_EVERY_MS, counts_dropped=True)
        return MediaStarted(rules, facts, frame_ms)

    def _status(self, fields: Mapping[str, Any]) -> Holds | Dropped:
        self._answers, self._unanswered = True, 0
        asked = self._asked.popleft() if self._asked else _Asked.HEARTBEAT
        queued_ms = _count(fields, "queue_length") * self._frame_ms
        return Dropped(queued_ms) if asked is _Asked.CLEAR else Holds(queued_ms)

    # ---- what it is told

    def opening(self) -> Sequence[bytes]:
        """Nothing: the channel speaks first, and which form of commands it takes is not known yet."""
        return ()

    def sound(self, payload: bytes) -> bytes:
        """Whole frames, as they are."""
        return payload

    def clear(self) -> Sequence[bytes]:
        """Drop what is queued, and say how much that is, and that the queue is empty.

        Pending marks are lost, and a hold with them. The channel plays on between two commands, on its own clock: it
        is paused for them, so that what it counts is what it drops. Not in plain text, which is all that the first
        releases speak: they may take the pause and not its end.
        """
        names = ["REPORT_QUEUE_DRAINED", "GET_STATUS", "FLUSH_MEDIA"]
        if self._json:
            names = ["PAUSE_MEDIA", *names, "CONTINUE_MEDIA"]
        self._asked.append(_Asked.CLEAR)
        return tuple(command(name, json=self._json) for name in names)

    def mark(self, name: str) -> bytes:
        """Echo this name once everything before it has been played."""
        return command("MARK_MEDIA", json=self._json, correlation_id=name)

    def heartbeat(self) -> Sequence[bytes]:
        """Ask how much is queued: the one command that is always answered, since older releases hang up on a ping.

        Raises FarEndSilent where earlier heartbeats were answered and the last ones were not.
        """
        if not self._started:
            return ()
        if self._answers and self._unanswered >= MAX_UNANSWERED:
            raise FarEndSilent("the channel no longer answers")
        self._unanswered += 1
        while _Asked.HEARTBEAT in self._asked:  # the last one, and what was asked before it, is not answered any more
            self._asked.popleft()
        self._asked.append(_Asked.HEARTBEAT)
        return (command("GET_STATUS", json=self._json),)

    def goodbye(self, reason: str) -> Sequence[bytes]:
        """Hang the channel up."""
        return (command("HANGUP", json=self._json),) if self._started else ()


def _pressed(fields: Mapping[str, Any]) -> Pressed:
    digit = _text(fields, "digit").upper()
    if digit not in KEYS:
        raise WireError("The digit is not a key of a telephone.", param="digit")
    return Pressed(digit)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise WireError(f"The message lacks `{name}`, or it is not a text.", param=name)
    return value


def _count(fields: Mapping[str, Any], name: str) -> int:
    """A whole number; in plain text a text of at most 6 digits."""
    value = fields.get(name)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 6:
        return int(value)
    if type(value) is not int or not 0 <= value < 1_000_000:
        raise WireError(f"The message lacks `{name}`, or it is not a whole number.", param=name)
    return value
