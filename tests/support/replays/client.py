"""A Realtime client's knowledge of its call: what it received and when, what it has played, and the ids in use.

The same client serves calls in memory and over sockets; its connection and its clock are passed in.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pybase64
from support.replays.file import FRAME_MS, silence

from audio.formats import PCM16_24K, AudioFormat, parse_format

FORMATS = {"audio/pcm": PCM16_24K, "audio/pcmu": parse_format("pcmu/8000"), "audio/pcma": parse_format("pcma/8000")}
# Pseudo-event to wait for: the sound of the step before has been sent.
SAID = "said"
# Pseudo-event to wait for: an answer is complete, none is running, and all received sound has been played.
PLAYED = "played"


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the gateway; `at_ms` counts from the call's start."""

    at_ms: int
    text: bytes
    event: Mapping[str, Any]

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.event.get("type"))


@dataclass(slots=True)
class _Played:
    """Speech of one item: when it begins to play, how much was received, and where it was cut."""

    begin_ms: float
    sent_ms: float = 0
    cut_ms: float | None = None

    def heard_ms(self, now_ms: float) -> int:
        most = self.sent_ms if self.cut_ms is None else self.cut_ms
        return int(max(0, min(most, now_ms - self.begin_ms)))


class Playback:
    """Plays received speech without pauses, like a client's loudspeaker, and stops when the caller speaks."""

    def __init__(self) -> None:
        self._items: dict[str, _Played] = {}
        self.until_ms = 0.0

    def received(self, item_id: str, length_ms: float, now_ms: float) -> None:
        """Schedule a piece of speech."""
        begin_ms = max(now_ms, self.until_ms)
        item = self._items.setdefault(item_id, _Played(begin_ms))
        item.sent_ms += length_ms
        self.until_ms = begin_ms + length_ms

    def stop(self, now_ms: float) -> None:
        """Stop playing."""
        for item in self._items.values():
            if item.cut_ms is None and now_ms < item.begin_ms + item.sent_ms:
                item.cut_ms = max(0, now_ms - item.begin_ms)
        self.until_ms = min(self.until_ms, now_ms)

    def heard_ms(self, item_id: str, now_ms: float) -> int:
        """How much of an item has been played, in ms."""
        item = self._items.get(item_id)
        return 0 if item is None else item.heard_ms(now_ms)

    @property
    def latest(self) -> str | None:
        """The latest item that has sound."""
        return next(reversed(self._items), None)


class LoggedIds:
    """The ids that a gateway assigned in a logged call, each identified by its position among ids of its kind.

    The client's messages in the log contain them. In a call with other ids, they stand for the ids at the same
    positions.
    """

    _ID = re.compile(rb'"((item|call|resp)_[A-Za-z0-9_-]+)"')

    def __init__(self, logged: Iterable[bytes]) -> None:
        self._logged = self._by_kind(logged)

    def in_place_of(self, text: bytes, received: Sequence[Received]) -> bytes:
        """A logged client message with the ids of the call that received these messages."""
        now = self._by_kind(message.text for message in received)

        def other(match: re.Match[bytes]) -> bytes:
            logged = self._logged.get(match[2], [])
            return b'"' + now[match[2]][logged.index(match[1])] + b'"' if match[1] in logged else match[0]

        return self._ID.sub(other, text)

    @classmethod
    def _by_kind(cls, messages: Iterable[bytes]) -> dict[bytes, list[bytes]]:
        found: dict[bytes, dict[bytes, None]] = {}
        for message in messages:
            for known, kind in cls._ID.findall(message):
                found.setdefault(kind, {})[known] = None
        return {kind: list(known) for kind, known in found.items()}


class Client:
    """Receives the gateway's messages, and lets a player wait for them."""

    def __init__(self, now_ms: Callable[[], float], send: Callable[[bytes], None]) -> None:
        self._now_ms = now_ms
        self._send = send
        self._changed = asyncio.Event()
        self.output_format = PCM16_24K
        self.logged: LoggedIds | None = None
        self.received: list[Received] = []
        self.sent: list[tuple[int, Mapping[str, Any] | None]] = []  # None: not a JSON object
        self.playback = Playback()
        self.spoken: list[tuple[float, bytes]] = []  # frames of sound, with the time at which each was sent
        # Speech of the agent: item, time at which it begins to play, payload.
        self.sounded: list[tuple[str, float, bytes]] = []
        self.closed: tuple[int, str] | None = None
        self.active: set[str] = set()  # running responses
        self.calls: dict[str, str] = {}  # a function's name -> its latest call
        self.items: list[str] = []  # messages of the agent, in order
        self.said: list[str] = []  # items of the caller, in order

    # ---- receiving

    def take(self, text: bytes) -> None:
        """Take a message from the gateway."""
        now_ms = self._now_ms()
        event = orjson.loads(text)
        self.received.append(Received(int(now_ms + 1e-6), text, event))
        self._note(event, now_ms)
        self._changed.set()

    def end(self, code: int, reason: str) -> None:
        """Note that the connection is closed."""
        if self.closed is None:
            self.closed = (code, reason)
        self._changed.set()

    def _note(self, event: Mapping[str, Any], now_ms: float) -> None:
        match event:
            case {"type": "session.created" | "session.updated", "session": session}:
                self.output_format = FORMATS[session["audio"]["output"]["format"]["type"]]
            case {"type": "response.created", "response": {"id": response_id}}:
                self.active.add(response_id)
            case {"type": "response.done", "response": {"id": response_id}}:
                self.active.discard(response_id)
            case {"type": "response.output_item.added", "item": {"type": "message", "id": item_id}}:
                self.items.append(item_id)
            case {"type": "response.output_item.done", "item": {"type": "function_call"} as item}:
                self.calls[item["name"]] = item["call_id"]
            case {"type": "input_audio_buffer.speech_started", "item_id": item_id}:
                self.said.append(item_id)
                self.playback.stop(now_ms)
            case {"type": "input_audio_buffer.committed", "item_id": item_id} if item_id not in self.said:
                self.said.append(item_id)
            case {"type": "response.output_audio.delta", "item_id": item_id, "delta": delta}:
                payload = pybase64.b64decode(delta)
                self.sounded.append((item_id, max(now_ms, self.playback.until_ms), payload))
                samples = self.output_format.samples_in(len(payload))
                self.playback.received(item_id, samples * 1000 / self.output_format.rate_hz, now_ms)

    # ---- sending

    def say(self, text: bytes | Mapping[str, Any]) -> None:
        """Send a message. In a mapping, `$names` are filled in."""
        message = text if isinstance(text, bytes) else orjson.dumps(self._filled(text))
        if self.logged is not None:
            message = self.logged.in_place_of(message, self.received)
        self.note_sent(message)
        self._send(message)

    def note_sent(self, message: bytes) -> None:
        """Note a message that is sent by another path."""
        try:
            parsed = orjson.loads(message)
        except orjson.JSONDecodeError:
            parsed = None
        self.sent.append((len(self.received), parsed if isinstance(parsed, dict) else None))

    def speak(self, payload: bytes, *, silent: bool = False) -> None:
        """Send a frame of sound. A silent one is not kept."""
        if not silent:
            self.spoken.append((self._now_ms(), payload))
        sound: bytes = pybase64.b64encode(payload)
        self._send(b'{"type":"input_audio_buffer.append","audio":"' + sound + b'"}')

    def _filled(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._filled(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._filled(inner) for inner in value]
        return self._name(value[1:]) if isinstance(value, str) and value.startswith("$") else value

    def _name(self, name: str) -> Any:
        """`item` (the agent's last message), `item.-2`, `caller.-1`, `call.NAME`, `response`, `played_ms`."""
        head, _, tail = name.partition(".")
        match head:
            case "item":
                return self.items[int(tail or -1)]
            case "caller":
                return self.said[int(tail or -1)]
            case "call":
                return self.calls[tail]
            case "response":
                return next(iter(self.active))
            case "played_ms":
                return self.playback.heard_ms(self.items[int(tail or -1)], self._now_ms())
        raise KeyError(f"there is no ${name}")

    # ---- waiting

    async def wait_for(self, kind: str, since: int) -> float:
        """When the first event of this type came, from index `since` on. `TYPE#2` is the second; `played` works too."""
        while (found := self._when(kind, since)) is None:
            if self.closed is not None:
                raise AssertionError(f"the connection closed before {kind!r} came: {self.closed}")
            self._changed.clear()
            await self._changed.wait()
        return found

    def _when(self, kind: str, since: int) -> float | None:
        if kind == PLAYED:
            fresh = any(
                received.type == "response.done" and received.event["response"]["status"] == "completed"
                for received in self.received[since:]
            )
            return max(self._now_ms(), self.playback.until_ms) if fresh and not self.active else None
        name, _, which = kind.partition("#")
        times = [received.at_ms for received in self.received[since:] if received.type == name]
        at = int(which or 1) - 1
        return times[at] if at < len(times) else None

    async def wait_closed(self) -> tuple[int, str]:
        """The code and reason with which the connection was closed."""
        while self.closed is None:
            self._changed.clear()
            await self._changed.wait()
        return self.closed


class MicrophoneStream:
    """Sends a frame every 20 ms: speech where there is some, else silence while the microphone is on."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._quiet = silence(PCM16_24K)
        self._waiting: deque[bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0
        self._said = asyncio.Event()
        self.on = False

    def use(self, format: AudioFormat) -> None:
        """Set the format of the sound, including silence."""
        self._quiet = silence(format)

    def turn(self, *, on: bool) -> None:
        """Switch silence between speech on or off."""
        self.on = on
        self._begin()

    def speak(self, frames: tuple[bytes, ...]) -> None:
        """Queue these frames as speech."""
        self._waiting.extend(frames)
        self._said.clear()
        self._begin()

    async def said(self) -> float:
        """Wait until all queued speech has been sent; returns the time."""
        await self._said.wait()
        return self._loop.time()

    def close(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        self.on = False

    def _begin(self) -> None:
        if self._timer is None:
            self._next_s = self._loop.time()
            self._tick()

    def _tick(self) -> None:
        self._timer = None
        if self._client.closed is not None or not (self._waiting or self.on):
            return
        if self._waiting:
            self._client.speak(self._waiting.popleft())
            if not self._waiting:
                self._said.set()
        else:
            self._client.speak(self._quiet, silent=True)
        self._next_s += FRAME_MS / 1000
        self._timer = self._loop.call_at(self._next_s, self._tick)
