"""A gateway with AudioSocket in virtual time, and an Asterisk that connects to it in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

from support.calls.call_rig import later
from support.calls.memory_transport import MemoryTransport
from support.calls.whole_gateway import within

from audio.formats import AudioFormat
from gateway.app import Gateway
from gateway.auth.requests import read_proxies
from gateway.callers.asterisk.registered import RegisteredCall, RegisteredCalls
from gateway.callers.asterisk.registration import Registration
from gateway.callers.audiosocket.listener import AudioSocketListener
from gateway.callers.phone.calls import PhoneCalls
from gateway.clock import LoopClock
from gateway.config.numbers import Numbers
from gateway.net.half_open import HalfOpenConnection
from gateway.net.tcp import ListenAt
from sessions.caller_facts import CallerFacts
from sessions.stores.documents import SESSION_ID, SessionRecord, session_from_document

CALLER, CALLED = "+4930111", "+4930222"
HEAD_BYTES = 3
FILES = {
    "desk.yaml": """
model: scripted/scripts/desk.yaml
greeting: Good evening, and welcome to the harbour. We have boats and nets and very much more.
instructions: None.
tools: [{function: hang_up}]
""",
    "scripts/desk.yaml": """
model: desk
turns:
  - {when: {text: '1'}, say: One.}
  - {when: {text: '0'}, say: Goodbye., calls: [{name: hang_up, arguments: {}}]}
  - {when: {spoken: true}, hears: Hello., repeat: true, say: At your service. We have boats and nets and much more.}
otherwise: {say: "Pardon?"}
""",
}


def frame(kind: int, payload: bytes = b"") -> bytes:
    """A frame of AudioSocket."""
    return bytes([kind]) + len(payload).to_bytes(2, "big") + payload


class Asterisk(MemoryTransport):
    """One connection of Asterisk's."""

    def calls(self, registered: RegisteredCall) -> None:
        """Say which call it is."""
        self.says(frame(0x01, registered.call_id.bytes))

    async def speaks(self, ms: int, kind: int, payload: bytes) -> None:
        """Send a frame of sound every 20 ms."""
        for _ in range(ms // 20):
            await later(0.02)
            self.says(frame(kind, payload))

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """Kind and payload of all frames that it got. Each was written whole."""
        return [(sent[0], sent[HEAD_BYTES:]) for sent in self.written]

    @property
    def sound(self) -> bytes:
        """All sound that it got."""
        return b"".join(payload for kind, payload in self.frames if kind >= 0x10)

    @property
    def gaps_ms(self) -> set[int]:
        """The times between two frames."""
        return {after - before for before, after in pairwise(self.at_ms)}


class Desk:
    """What a running gateway with AudioSocket has."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.draining = False
        self.clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        self.calls = PhoneCalls(gateway.admission, Numbers.model_validate({CALLED: "desk"}), self.clock)
        self.registered = RegisteredCalls(self.calls, lambda: self.draining)
        at = ListenAt("127.0.0.1", 0, read_proxies(["127.0.0.0/8"]))
        self.listener = AudioSocketListener(self.registered, self.calls, lambda: self.draining, at)

    async def register(self, format: AudioFormat | None = None) -> RegisteredCall:
        """A call that a dialplan has announced."""
        facts = CallerFacts.of(CALLER, CALLED, carrier_call_id="17.1")
        found = await self.registered.register("default", Registration(facts, format=format))
        assert isinstance(found, RegisteredCall)
        return found

    def connect(self, peer: str = "127.0.0.1") -> Asterisk:
        """A new connection."""
        protocol = self.listener.accept(HalfOpenConnection(peer, lambda: None))
        return Asterisk(protocol, peer=peer, now_ms=self.clock.now_ms)

    async def record(self, registered: RegisteredCall) -> SessionRecord:
        """A call's record, once all calls have ended."""
        await self.gateway.live_calls.wait_empty()
        session_id = registered.ticket.session_id
        await self.gateway.write_behind.flush("default", session_id)
        return session_from_document(await self.gateway.store.get("default", session_id, SESSION_ID))

    @property
    def live(self) -> int:
        """The number of calls."""
        return len(self.gateway.live_calls)


def with_desk(folder: Path, main: Callable[[Desk], Awaitable[None]], **settings: object) -> None:
    """Run `main` with a desk of its own, for one call at a time unless the settings say otherwise."""

    async def whole(gateway: Gateway) -> None:
        await main(Desk(gateway))

    within(folder, whole, files=FILES, **{"max_calls": 1, **settings})
