"""The telephone calls of a gateway in virtual time behind an Asterisk whose WebSocket channel is the test."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.calls.carrier_entrance import open_entrance
from support.calls.phone_socket import MemorySocket
from support.calls.whole_gateway import wish, within

from gateway.app import Gateway
from gateway.auth.basic import BasicLogin
from gateway.auth.requests import Fields, Headers, Refusal, UpgradeRequest
from gateway.callers.asterisk.registered import RegisteredCall, RegisteredCalls
from gateway.callers.asterisk.registration import Registration
from gateway.callers.asterisk.ws_dial import DialSocket, MediaDialler
from gateway.callers.asterisk.ws_open import AsteriskSockets
from gateway.callers.phone.calls import PhoneCalls
from gateway.clock import LoopClock
from gateway.config.numbers import Numbers
from sessions.caller_facts import CallerFacts
from sessions.stores.documents import SESSION_ID, SessionRecord, session_from_document

FILES = {
    "desk.yaml": """
model: scripted/scripts/desk.yaml
greeting: Good evening, and welcome to the harbour.
instructions: None.
tools: [{function: hang_up}]
limits: {idle_s: 600}
""",
    "scripts/desk.yaml": """
model: desk
turns:
  - {when: {text: '0'}, say: Goodbye., calls: [{name: hang_up, arguments: {}}]}
  - {when: {spoken: true}, hears: Hello., repeat: true, say: At your service. We have boats and nets and much more.}
otherwise: {say: "Pardon?"}
""",
}
CALLED = "222"
FACTS = CallerFacts.of("+4930111", CALLED, carrier_call_id="1795228371.19")
START = {
    "event": "MEDIA_START",
    "connection_id": "patchbay",
    "channel": "WebSocket/patchbay/0x7f75",
    "channel_id": "box-1795228371.20",
    "format": "ulaw",
    "optimal_frame_size": 160,
    "ptime": 20,
}
PASSWORD = "harbour-password"


def media_request(call: str | None, *, password: str = PASSWORD, **headers: str) -> UpgradeRequest:
    """A request as Asterisk's WebSocket client makes it."""
    login = b64encode(f"pbx:{password}".encode()).decode()
    sent = {"host": "127.0.0.1:8080", "authorization": f"Basic {login}", **headers}
    query = [] if call is None else [("call", call)]
    return replace(
        wish(), path=AsteriskSockets.path, query=Fields(query), headers=Headers(sent.items()), subprotocols=("media",)
    )


class AsteriskDesk:
    """The parts that take calls of Asterisk's WebSocket channel, for one gateway."""

    def __init__(
        self,
        gateway: Gateway,
        dial_socket: DialSocket | None,
        *,
        tenant: str = "default",
        calls: PhoneCalls | None = None,
    ) -> None:
        """`calls` are those of the whole server, where it has other carriers too."""
        self.gateway = gateway
        self.clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        self.tenant = tenant
        self.calls = calls or PhoneCalls(gateway.admission, Numbers.model_validate({CALLED: "desk"}), self.clock)
        self.dialler = None if dial_socket is None else MediaDialler("ws://pbx:8088/ast/", self.calls, dial_socket)
        self.registered = RegisteredCalls(self.calls, lambda: False, dial_media=self.dialler)
        let_in = open_entrance(self.clock).let_carrier_in
        self.sockets = AsteriskSockets(BasicLogin("pbx", PASSWORD), tenant, let_in, self.registered.take, self.calls)

    async def register(self, *, media_id: str | None = None, tenant: str | None = None) -> RegisteredCall:
        """A call that the dialplan announces."""
        found = await self.registered.register(tenant or self.tenant, Registration(FACTS, media_id))
        assert isinstance(found, RegisteredCall)
        return found

    async def opened(self) -> tuple[RegisteredCall, MemorySocket]:
        """The open socket of a new call, on which nothing has been said."""
        call = await self.register()
        request = media_request(str(call.call_id))
        admitted = await self.sockets.admit(request)
        assert not isinstance(admitted, Refusal), admitted
        receiver = self.sockets.accept(admitted, request).receiver
        return call, MemorySocket(receiver, self.clock.now_ms)

    async def record(self, call: RegisteredCall) -> SessionRecord:
        """The record of a call, once all calls have ended."""
        await self.gateway.live_calls.wait_empty()
        await self.gateway.write_behind.flush(self.tenant, call.ticket.session_id)
        return session_from_document(await self.gateway.store.get(self.tenant, call.ticket.session_id, SESSION_ID))

    @property
    def live(self) -> int:
        """The number of calls."""
        return len(self.gateway.live_calls)

    async def has_room(self) -> bool:
        """Whether one more call can be registered."""
        found = await self.registered.register("default", Registration(FACTS))
        if isinstance(found, Refusal):
            return False
        taken = self.registered.take(found.call_id)
        assert taken is not None
        self.calls.release(taken.ticket)
        return True


def with_asterisk(
    folder: Path,
    main: Callable[[AsteriskDesk], Awaitable[None]],
    *,
    dial_socket: DialSocket | None = None,
    **settings: Any,
) -> None:
    """Run `main` with a gateway of its own, which may have one call."""

    async def whole(gateway: Gateway) -> None:
        await main(AsteriskDesk(gateway, dial_socket))

    within(folder, whole, files=FILES, **{"max_calls": 1, **settings})
