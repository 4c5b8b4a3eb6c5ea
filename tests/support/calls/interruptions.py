"""Interrupts the agent at telephones of every protocol, with a whole gateway in virtual time.

What the far end has played is compared with what the record says. `bench/interruptions.py` makes a table of it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from support.calls.acs_world import CALLED, CALLER, AcsWorld
from support.calls.asterisk_desk import AsteriskDesk, media_request
from support.calls.audiosocket_desk import Asterisk, frame
from support.calls.audiosocket_desk import Desk as AudioSocketDesk
from support.calls.call_rig import later
from support.calls.far_socket import FarSocket
from support.calls.first_message import ANYBODY
from support.calls.twilio_world import LOUD, QUIET, Carrier
from support.calls.whole_gateway import within

from audio.formats import PCM16_8K
from gateway.app import Gateway
from gateway.auth.requests import Refusal
from gateway.calls.admission import Ticket
from gateway.calls.running import RunningCall
from gateway.softphone.far_ends.acs import AcsFarEnd
from gateway.softphone.far_ends.ear import Ear, LinkDelay
from sessions.events import ModelEvent, SpeechStarted
from sessions.record import Speaker, Utterance
from sessions.stores.documents import TURN, turn_from_document

# The greeting is one word without a pause, so that no frame of it is silent.
FILES = {
    "desk.yaml": "model: scripted/scripts/desk.yaml\ngreeting: Harbour.\ninstructions: None.\n",
    "scripts/desk.yaml": "model: desk\nms_per_word: 5000\notherwise: {say: Well., pace: 4}\n",
}
SPEAKS_MS = 800  # longer than the ways there and back, and what the model needs to hear it
AFTER_MS = (300, 3_000)  # the caller begins to speak so long after the greeting begins to leave
SOUND_KIND = 0x10
LOUD_PCM, QUIET_PCM = b"\x00\x30\x00\xd0" * 80, bytes(320)
LOUD_WIDE, QUIET_WIDE = b"\x00\x30\x00\xd0" * 240, bytes(960)
CHANNEL = "gateway.softphone.far_ends.chan_websocket"
FRAME_BYTES = PCM16_8K.bytes_for_ms(20)


@dataclass(frozen=True, slots=True)
class Link:
    """The network of one call: a constant delay each way, and jitter that keeps the order; `chance` draws it."""

    delay_ms: float
    jitter_ms: float
    chance: random.Random

    def way(self) -> LinkDelay:
        """One of its two ways."""
        return LinkDelay(self.delay_ms, self.jitter_ms, random.Random(self.chance.random()))


@dataclass(frozen=True, slots=True)
class Interruption:
    """One interruption of the greeting.

    `played_ms` is what the far end has played of it, `recorded_ms` what the record has as heard. `stopped_ms` is from
    the model's word that the caller speaks to the last sound of the agent that left; 0 where none left after it.
    """

    delay_ms: float
    played_ms: float
    recorded_ms: int
    stopped_ms: float

    @property
    def error_ms(self) -> float:
        return abs(self.recorded_ms - self.played_ms)


class _Seen:
    """When the model has said that the caller speaks, on the loop's clock in ms."""

    def __init__(self) -> None:
        self.speech_ms: list[float] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what every call of this process is told by its model."""
        plain = RunningCall.from_model

        def noting(running: RunningCall, event: ModelEvent) -> None:
            if type(event) is SpeechStarted:
                self.speech_ms.append(_now_ms())
            plain(running, event)

        RunningCall.from_model = noting  # type: ignore[method-assign]
        try:
            yield
        finally:
            RunningCall.from_model = plain  # type: ignore[method-assign]

    def stopped_ms(self, sound_left_ms: Sequence[float]) -> float:
        """From the first word of the model that the caller speaks to the last sound that left."""
        return max(0.0, max(sound_left_ms) - self.speech_ms[0])


class DelayedLine:
    """An AudioSocket connection over a network; its ear plays each frame when it comes."""

    def __init__(self, line: Asterisk, link: Link) -> None:
        self._line = line
        self._out, self._back = link.way(), link.way()
        self._coming: deque[bytes] = deque()

    def says(self, data: bytes) -> None:
        """Send a frame, which arrives later."""
        loop = asyncio.get_running_loop()
        self._coming.append(data)
        loop.call_at(self._back.arrival_ms(_now_ms()) / 1000, lambda: self._line.says(self._coming.popleft()))

    def played_ms(self) -> float:
        """How much of the agent's sound was played, frame by frame."""
        ear = Ear(PCM16_8K)
        for at_ms, (kind, payload) in zip(self._line.at_ms, self._line.frames, strict=True):
            if kind == SOUND_KIND:
                ear.sound(payload, self._out.arrival_ms(at_ms))
        heard = ear.heard(_now_ms() + SPEAKS_MS)
        frames = [heard[at : at + FRAME_BYTES] for at in range(0, len(heard), FRAME_BYTES)]
        return sum(20.0 for each in frames if each.strip(b"\0"))

    def sound_left_ms(self) -> list[float]:
        """When each frame left that was not silence."""
        pairs = zip(self._line.at_ms, self._line.frames, strict=True)
        return [at_ms for at_ms, (kind, payload) in pairs if kind == SOUND_KIND and payload.strip(b"\0")]


def interruptions(
    far_end: str, folder: Path, links: Sequence[Link], on_each: Callable[[], None] = lambda: None
) -> list[Interruption]:
    """Interrupt one call for each of the links, one after another, at a gateway in `folder`."""
    found: list[Interruption] = []

    async def whole(gateway: Gateway) -> None:
        interrupt, close = await FAR_ENDS[far_end](gateway)
        try:
            for link in links:
                seen = _Seen()
                with seen.watching():
                    found.append(await interrupt(link, seen))
                on_each()
        finally:
            await close()

    within(folder, whole, files=FILES)
    return found


Interrupt = Callable[[Link, _Seen], Awaitable[Interruption]]
Close = Callable[[], Awaitable[None]]


async def _twilio(gateway: Gateway) -> tuple[Interrupt, Close]:
    carrier = Carrier(gateway)

    async def interrupt(link: Link, seen: _Seen) -> Interruption:
        call = await carrier.call(delay=(link.delay_ms, link.jitter_ms, link.chance))  # type: ignore[arg-type]
        await later(_wait_s(link))
        await call.speaks(SPEAKS_MS, LOUD)
        await call.speaks(100, QUIET)
        played_ms = call.stream.ear.heard_bytes(call.now_ms) / 8
        left_ms = [at_ms for at_ms, message in call.socket.sent if b'"media"' in message]
        call.hangs_up()
        said = await recorded_greeting(gateway, call.session_id)
        return Interruption(link.delay_ms, played_ms, said.heard_ms, seen.stopped_ms(left_ms))

    return interrupt, carrier.carrier.close


async def _acs(gateway: Gateway) -> tuple[Interrupt, Close]:
    numbers = itertools.count(1)
    ready = await gateway.admission.admit(ANYBODY, "desk")  # returns once everything has been loaded
    assert isinstance(ready, Ticket)
    gateway.admission.release(ready)

    async def interrupt(link: Link, seen: _Seen) -> Interruption:
        number = next(numbers)
        far_end = AcsFarEnd(CALLER, CALLED, correlation_id=f"{number:036}", connection_id=f"c{number:035}")
        world = AcsWorld(gateway, far_end)
        world.actions.connection_id = far_end.connection_id
        try:
            await world.rings()
            request = world.wish()
            admitted = await world.carrier.opener.admit(request)
            assert not isinstance(admitted, Refusal), admitted
            receiver = world.carrier.opener.accept(admitted, request).receiver  # type: ignore[arg-type]
            socket = FarSocket(receiver, far_end, out=link.way(), back=link.way())
            socket.says([far_end.metadata()])
            await world.tells("CallConnected")
            await later((link.delay_ms + link.jitter_ms) / 1000 + 0.01)
            session_id = gateway.live_calls.of("default")[0].session_id
            await later(_wait_s(link))
            await _speak(lambda sound: socket.says([far_end.sound(sound)]), LOUD_WIDE, QUIET_WIDE)
            played_ms = far_end.ear.heard_bytes(_now_ms()) / far_end.format.bytes_for_ms(1)
            left_ms = [at_ms for at_ms, message in socket.sent if b'"AudioData":{' in message]
            await world.tells("CallDisconnected")
            socket.goes()
            said = await recorded_greeting(gateway, session_id)
        finally:
            await world.carrier.close()
        return Interruption(link.delay_ms, played_ms, said.heard_ms, seen.stopped_ms(left_ms))

    return interrupt, _nothing


async def _audiosocket(gateway: Gateway) -> tuple[Interrupt, Close]:
    desk = AudioSocketDesk(gateway)

    async def interrupt(link: Link, seen: _Seen) -> Interruption:
        registered, line = await desk.register(PCM16_8K), desk.connect()
        far = DelayedLine(line, link)
        line.calls(registered)
        await later(_wait_s(link))
        await _speak(lambda sound: far.says(frame(SOUND_KIND, sound)), LOUD_PCM, QUIET_PCM)
        played_ms, left_ms = far.played_ms(), far.sound_left_ms()
        await later((link.delay_ms + link.jitter_ms) / 1000 + 0.01)  # so that all that was said has arrived
        line.goes()
        said = await recorded_greeting(gateway, registered.ticket.session_id)
        return Interruption(link.delay_ms, played_ms, said.heard_ms, seen.stopped_ms(left_ms))

    return interrupt, _nothing


async def _chan_websocket(gateway: Gateway) -> tuple[Interrupt, Close]:
    desk = AsteriskDesk(gateway, None)
    far_ends: Any = import_module(CHANNEL)

    async def interrupt(link: Link, seen: _Seen) -> Interruption:
        registered = await desk.register()
        request = media_request(str(registered.call_id))
        admitted = await desk.sockets.admit(request)
        assert not isinstance(admitted, Refusal), admitted
        far_end = far_ends.ChanWebsocketFarEnd("box-1")
        socket = FarSocket(desk.sockets.accept(admitted, request).receiver, far_end, out=link.way(), back=link.way())
        socket.says(far_end.begin())
        await later(_wait_s(link))
        await _speak(socket.speaks, LOUD, QUIET)
        played_ms = far_end.ear.heard_bytes(_now_ms()) / 8
        left_ms = [at_ms for at_ms, message in socket.sent if not message.startswith(b"{")]
        socket.goes()
        said = await recorded_greeting(gateway, registered.ticket.session_id)
        assert far_end.faults == []
        return Interruption(link.delay_ms, played_ms, said.heard_ms, seen.stopped_ms(left_ms))

    return interrupt, _nothing


FAR_ENDS: Mapping[str, Callable[[Gateway], Awaitable[tuple[Interrupt, Close]]]] = {
    "twilio": _twilio,
    "acs": _acs,
    "audiosocket": _audiosocket,
}
if find_spec(CHANNEL) is not None:
    FAR_ENDS = {**FAR_ENDS, "chan_websocket": _chan_websocket}


async def _speak(say: Callable[[bytes], Any], loud: bytes, quiet: bytes) -> None:
    """The caller speaks, and is quiet for a moment."""
    for sound in [loud] * (SPEAKS_MS // 20) + [quiet] * 5:
        await later(0.02)
        say(sound)


async def recorded_greeting(gateway: Gateway, session_id: str) -> Utterance:
    """What the record says of the greeting, once the call has ended."""
    await gateway.live_calls.wait_empty()
    await gateway.write_behind.flush("default", session_id)
    turns = [turn_from_document(found) for found in await gateway.store.query("default", session_id, TURN)]
    entries = [entry for turn in sorted(turns, key=lambda turn: turn.index) for entry in turn.entries]
    return next(entry for entry in entries if isinstance(entry, Utterance) and entry.speaker is Speaker.AGENT)


async def _nothing() -> None:
    return None


def _wait_s(link: Link) -> float:
    return link.chance.uniform(*AFTER_MS) / 1000


def _now_ms() -> float:
    return asyncio.get_running_loop().time() * 1000
