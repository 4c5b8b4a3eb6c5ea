"""A gateway's telephone calls, and one call of them whose media socket the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from support.calls.call_rig import later
from support.calls.phone_socket import MemorySocket, PlainCodec
from support.calls.whole_gateway import within

from gateway.app import Gateway
from gateway.callers.phone.calls import ExpectedCall, PhoneCalls
from gateway.callers.phone.receiver import PhoneReceiver
from gateway.calls.admission import Ticket
from gateway.clock import LoopClock
from gateway.config.numbers import Numbers
from sessions.stores.documents import SESSION_ID, SessionRecord, session_from_document

FILES = {
    "desk.yaml": """
model: scripted/scripts/desk.yaml
greeting: Good evening, {caller.number}, and welcome to the harbour.
instructions: None.
replay: full
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
NUMBERS = Numbers.model_validate(
    {"+4930222": {"agent": "desk", "language": "de-DE"}, "+4930444": {"agent": "locked", "language": "fr"}}
)
START = {"start": {"call": "mine", "from": "+4930111", "to": "+4930222"}}
FRAME = b"\x20" * 160  # loud, in mu-law
QUIET = b"\xff" * 160


class Desk:
    """A gateway's telephone calls, one call of them, and its socket."""

    def __init__(self, gateway: Gateway, codec: PlainCodec, ticket: Ticket, redial_ms: int = 0) -> None:
        self.clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        self.gateway = gateway
        self.ticket = ticket
        self.ends: list[str] = []
        self.calls = PhoneCalls.of(gateway.settings, gateway.admission, self.clock)
        self.receiver = PhoneReceiver(ExpectedCall(ticket, "plain", self.ends.append, redial_ms), codec, self.calls)
        self.socket = MemorySocket(self.receiver, self.clock.now_ms)

    async def speaks(self, ms: int, frame: bytes = FRAME) -> None:
        """Send sound in real time."""
        for _ in range(ms // 20):
            await later(0.02)
            self.socket.speaks(frame)

    async def record(self) -> SessionRecord:
        """The call's record, once it has ended."""
        await self.gateway.live_calls.wait_empty()
        await self.gateway.write_behind.flush("default", self.ticket.session_id)
        return session_from_document(await self.gateway.store.get("default", self.ticket.session_id, SESSION_ID))

    @property
    def live(self) -> int:
        """The number of calls."""
        return len(self.gateway.live_calls)


def with_call(
    folder: Path,
    main: Callable[[Desk], Awaitable[None]],
    codec: PlainCodec | None = None,
    *,
    redial_ms: int = 0,
    **settings: object,
) -> None:
    async def whole(gateway: Gateway) -> None:
        calls = PhoneCalls.of(gateway.settings, gateway.admission, LoopClock(asyncio.get_running_loop(), 0.0))
        ticket = await calls.admit("default", "+4930222")
        assert isinstance(ticket, Ticket)
        await main(Desk(gateway, codec or PlainCodec(), ticket, redial_ms))

    within(folder, whole, files=FILES, **{"max_calls": 1, "numbers": NUMBERS, **settings})
