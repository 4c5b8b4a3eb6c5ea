"""What a Realtime client knows of its call: what came and when, what it plays and how far, and the ids that it names.

One client for calls in memory and over sockets; its line and its clock are given.
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
from replay_file import FRAME_MS, silence

from audio.formats import PCM16_24K, AudioFormat, parse_format

FORMATS = {"audio/pcm": PCM16_24K, "audio/pcmu": parse_format("pcmu/8000"), "audio/pcma": parse_format("pcma/8000")}
SAID = "said"  # as an event to wait for: the sound of the step before has been sent
PLAYED = "played"  # as an event to wait for: an answer is complete, none runs, and all that came has been heard


@dataclass(frozen=True, slots=True)
class Came:
    """A message of the gateway's; `at_ms` since the call's start."""

    at_ms: int
    text: bytes
    event: Mapping[str, Any]

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.event.get("type"))


@dataclass(slots=True)
class _Played:
    """Speech of one item: where it begins to sound, how much of it came, and where it was cut."""

    begin_ms: float
    sent_ms: float = 0
    cut_ms: float | None = None

    def heard_ms(self, now_ms: float) -> int:
        most = self.sent_ms if self.cut_ms is None else self.cut_ms
        return int(max(0, min(most, now_ms - self.begin_ms)))


class Playback:
    """Plays what comes without a pause, as a client's loudspeaker does, and stops when the caller speaks."""

    def __init__(self) -> None:
        self._items: dict[str, _Played] = {}
        self.until_ms = 0.0

    def came(self, item_id: str, length_ms: float, now_ms: float) -> None:
        """A piece of speech to be played."""
        begin_ms = max(now_ms, self.until_ms)
        item = self._items.setdefault(item_id, _Played(begin_ms))
        item.sent_ms += length_ms
        self.until_ms = begin_ms + length_ms

    def stop(self, now_ms: float) -> None:
        """Play no further."""
        for item in self._items.values():
            if item.cut_ms is None and now_ms < item.begin_ms + item.sent_ms:
                item.cut_ms = max(0, now_ms - item.begin_ms)
        self.until_ms = min(self.until_ms, now_ms)

    def heard_ms(self, item_id: str, now_ms: float) -> int:
        """How much of an item has been played."""
        item = self._items.get(item_id)
        return 0 if item is None else item.heard_ms(now_ms)

    @property
    def latest(self) -> str | None:
        """The item that came last of those that sound."""
        return next(reversed(self._items), None)


class LoggedIds:
    """The ids that a gateway gave in a logged call, each known by its place among those of its kind.

    The client's messages in the log name them; in a call with other ids they mean the ones in the same places.
    """

    _ID = re.compile(rb'"((item|call|resp)_[A-Za-z0-9_-]+)"')

    def __init__(self, logged: Iterable[bytes]) -> None:
        self._logged = self._by_kind(logged)

    def in_place_of(self, text: bytes, came: Sequence[Came]) -> bytes:
        """A logged message of the client's as it is to be said in the call that brought these messages."""
        now = self._by_kind(message.text for message in came)

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
    """Takes what the gateway says, and lets a player wait for it."""

    def __init__(self, now_ms: Callable[[], float], send: Callable[[bytes], None]) -> None:
        self._now_ms = now_ms
        self._send = send
        self._changed = asyncio.Event()
        self.output_format = PCM16_24K
        self.logged: LoggedIds | None = None
        self.came: list[Came] = []
        self.sent: list[tuple[int, Mapping[str, Any] | None]] = []  # None: what is no JSON object
        self.playback = Playback()
        self.spoken: list[tuple[float, bytes]] = []  # frames of sound, and when each was sent
        self.sounded: list[tuple[str, float, bytes]] = []  # speech of the agent: item, when it begins to sound, payload
        self.closed: tuple[int, str] | None = None
        self.active: set[str] = set()  # responses
        self.calls: dict[str, str] = {}  # a function's name -> the latest call of it
        self.items: list[str] = []  # messages of the agent, in order
        self.said: list[str] = []  # items of the caller, in order

    # ---- what comes

    def take(self, text: bytes) -> None:
        """A message of the gateway's."""
        now_ms = self._now_ms()
        event = orjson.loads(text)
        self.came.append(Came(int(now_ms + 1e-6), text, event))
        self._note(event, now_ms)
        self._changed.set()

    def end(self, code: int, reason: str) -> None:
        """The line is closed."""
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
                self.playback.came(item_id, samples * 1000 / self.output_format.rate_hz, now_ms)

    # ---- what goes

    def say(self, text: bytes | Mapping[str, Any]) -> None:
        """Send a message; `$names` in a mapping are filled in."""
        message = text if isinstance(text, bytes) else orjson.dumps(self._filled(text))
        if self.logged is not None:
            message = self.logged.in_place_of(message, self.came)
        self.note_sent(message)
        self._send(message)

    def note_sent(self, message: bytes) -> None:
        """Remember a message that goes another way."""
        try:
            parsed = orjson.loads(message)
        except orjson.JSONDecodeError:
            parsed = None
        self.sent.append((len(self.came), parsed if isinstance(parsed, dict) else None))

    def speak(self, payload: bytes, *, silent: bool = False) -> None:
        """Send a frame of sound; one that is silent is not remembered."""
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
        """When the first event of this type came, at or behind index `since`; `TYPE#2`: the second; `played` too."""
        while (found := self._when(kind, since)) is None:
            if self.closed is not None:
                raise AssertionError(f"the line closed before {kind!r} came: {self.closed}")
            self._changed.clear()
            await self._changed.wait()
        return found

    def _when(self, kind: str, since: int) -> float | None:
        if kind == PLAYED:
            fresh = any(
                came.type == "response.done" and came.event["response"]["status"] == "completed"
                for came in self.came[since:]
            )
            return max(self._now_ms(), self.playback.until_ms) if fresh and not self.active else None
        name, _, which = kind.partition("#")
        times = [came.at_ms for came in self.came[since:] if came.type == name]
        at = int(which or 1) - 1
        return times[at] if at < len(times) else None

    async def wait_closed(self) -> tuple[int, str]:
        """The code and reason with which the line was closed."""
        while self.closed is None:
            self._changed.clear()
            await self._changed.wait()
        return self.closed


class MicrophoneLine:
    """Sends a frame each 20 ms: of what is said, else of silence while it is on."""

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
        """The format of the sound; silence is made in it."""
        self._quiet = silence(format)

    def turn(self, *, on: bool) -> None:
        """Silence is sent, or nothing, where nothing is said."""
        self.on = on
        self._begin()

    def speak(self, frames: tuple[bytes, ...]) -> None:
        """Say this next."""
        self._waiting.extend(frames)
        self._said.clear()
        self._begin()

    async def said(self) -> float:
        """When all that was to be said is: now."""
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
