"""A whole gateway with a resource of Azure Communication Services, in virtual time, and the service's side of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.types import Message
from support.calls.call_rig import later
from support.calls.phone_socket import MemorySocket
from support.calls.whole_gateway import within

from gateway.app import Gateway
from gateway.auth.carrier_tickets import CarrierTickets
from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Entrance
from gateway.auth.http import EntranceRefused, answer_refusal
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules, read_public
from gateway.auth.requests import Fields, Headers, Refusal, UpgradeRequest
from gateway.callers.acs.actions import ActionFailed, Answering, Turndown
from gateway.callers.acs.carrier import AcsCarrier, AcsParts
from gateway.callers.acs.showing import SECRET_HEADER
from gateway.callers.phone.calls import PhoneCalls
from gateway.calls.admission import Ticket
from gateway.clock import LoopClock
from gateway.config.carriers import Acs
from gateway.config.numbers import Numbers
from gateway.http.telephony import carrier_routes
from gateway.net.sockets import Receiver
from gateway.softphone.far_ends.acs import FRAME_MS, AcsFarEnd
from gateway.softphone.far_ends.acs_tokens import CALLBACK_LIFE_S, TokenMint
from gateway.softphone.far_ends.ear import LinkDelay
from sessions.record import Speaker, Utterance
from sessions.stores.documents import SESSION_ID, TURN, SessionRecord, session_from_document, turn_from_document

PUBLIC = "https://voice.example"
GUID = "01234567-89ab-cdef-0123-456789abcdef"
SECRET = "an-event-secret-of-some-length"
OPENID = "https://acs.example/openid"
KEY_SET = "https://acs.example/keys"
ISSUER = "https://acs.example"
CALLER, CALLED = "+4930111", "+4930222"
NUMBERS = Numbers.model_validate({CALLED: "desk"})

FILES = {
    "desk.yaml": """
model: scripted/scripts/desk.yaml
greeting: Good evening, {caller.number}, and welcome to the harbour.
instructions: None.
tools: [{function: hang_up}]
""",
    "scripts/desk.yaml": """
model: desk
turns:
  - {when: {text: '12'}, say: Twelve.}
  - {when: {text: '0'}, say: Goodbye., calls: [{name: hang_up, arguments: {}}]}
  - {when: {text: '9'}, say: We have boats and nets and very much more than that., fault: {drop: 300}}
  - {when: {spoken: true}, hears: Hello., repeat: true, say: At your service. We have boats and nets and much more.}
otherwise: {say: "Pardon?"}
""",
}


@cache
def mint() -> TokenMint:
    """One key pair for all tests, as making one takes a while."""
    return TokenMint(ISSUER, GUID)


@cache
def other_mint() -> TokenMint:
    """The mint of another issuer."""
    return TokenMint(ISSUER, GUID, key_id="key-2")


class MemoryActions:
    """The service's actions. `asked` lists them; `answer_with` and `failing` decide what comes of them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.connection_id: str | None = AcsFarEnd(CALLER, CALLED).connection_id
        self.failing: dict[str, str] = {}
        self.hold: dict[str, asyncio.Event] = {}  # an action of this name waits for the event
        self.closed = False
        self.opened = False

    async def open(self) -> None:
        self.opened = True

    async def answer(self, answering: Answering) -> str | None:
        await self._do("answer", answering)
        return self.connection_id

    async def turn_down(self, context: str, why: Turndown) -> None:
        await self._do("turn_down", (context, why))

    async def hang_up(self, connection_id: str) -> None:
        await self._do("hang_up", connection_id)

    async def close(self) -> None:
        self.closed = True

    async def _do(self, name: str, what: Any) -> None:
        self.asked.append((name, what))
        if name in self.hold:
            await self.hold[name].wait()
        if name in self.failing:
            raise ActionFailed(self.failing[name], 500)

    def of(self, name: str) -> list[Any]:
        """What was asked for by this name."""
        return [what for asked, what in self.asked if asked == name]


class TestingSocket(MemorySocket):
    """A media socket whose messages go to the far end, each after the delay of the network."""

    __test__ = False

    def __init__(self, receiver: Receiver, far_end: AcsFarEnd, now_ms: Callable[[], int], link: LinkDelay) -> None:
        self._far_end = far_end
        self._link = link
        super().__init__(receiver, now_ms)

    def _send(self, kind: str, message: bytes) -> None:
        if self.closed_with is None:
            now_ms = self._now_ms()
            arrival_ms = self._link.arrival_ms(now_ms)
            if arrival_ms <= now_ms:
                self._arrives(kind, message, now_ms)
            else:
                later_s = (arrival_ms - now_ms) / 1000
                asyncio.get_running_loop().call_later(later_s, self._arrives, kind, message, arrival_ms)
        super()._send(kind, message)

    def _arrives(self, kind: str, message: bytes, now_ms: float) -> None:
        if kind == "text":
            self._far_end.text(message, now_ms)
        else:
            self._far_end.binary(message, now_ms)


class AcsWorld:
    """A gateway, the resource, and one caller."""

    def __init__(
        self,
        gateway: Gateway,
        far_end: AcsFarEnd,
        resource: Acs | None = None,
        *,
        draining: bool = False,
        calls: PhoneCalls | None = None,
        tickets: CarrierTickets | None = None,
    ) -> None:
        """`calls` and `tickets` are those of the whole server, where it has other carriers too."""
        resource = resource or table()
        self.gateway = gateway
        self.far_end = far_end
        self.clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        self.actions = MemoryActions()
        self.tickets = tickets or CarrierTickets.of(b"material")
        self.tenant = resource.tenant
        self.fetched: list[str] = []
        self.session_id = ""
        self.link = LinkDelay()
        self.draining = draining
        self.phone = calls or PhoneCalls(gateway.admission, NUMBERS, self.clock)
        rules = OriginRules(credentials=False, public=read_public(PUBLIC))
        entrance = Entrance(rules, read_keys([]), ClientSecrets(b"s" * 32), self.clock)
        self.parts = AcsParts(self.phone, entrance, self.tickets, self.clock, PUBLIC, lambda: self.draining)
        self.carrier = AcsCarrier(resource, self.parts, self.actions, self._fetch)
        self._http = Starlette(
            routes=carrier_routes([self.carrier]), exception_handlers={EntranceRefused: answer_refusal}
        )

    async def _fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return mint().openid(KEY_SET) if url == OPENID else mint().key_set()

    # ---- what the service does

    async def post(self, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
        """A request of the service's, and the status and body of its answer."""
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"voice.example"), *pairs],
            "client": ("127.0.0.1", 1),
            "scheme": "http",
            "http_version": "1.1",
        }
        answer: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            answer.append(message)

        await self._http(scope, receive, send)
        return answer[0]["status"], b"".join(part.get("body", b"") for part in answer[1:])

    async def grid(self, body: bytes, secret: str = SECRET) -> tuple[int, bytes]:
        """Event Grid delivers."""
        return await self.post("/telephony/acs/events", body, **{SECRET_HEADER: secret})

    async def rings(self) -> None:
        """The call rings, and is answered if it is."""
        assert await self.grid(self.far_end.ring()) == (200, b"")
        await later(0.01)

    async def tells(self, kind: str, **more: Any) -> int:
        """A callback of the call."""
        (answering,) = self.actions.of("answer")
        path = answering.callback_url.removeprefix(PUBLIC)
        token = mint().token(self.clock.wall_s(), CALLBACK_LIFE_S)
        status, _ = await self.post(path, self.far_end.event(kind, **more), authorization=f"Bearer {token}")
        return status

    def wish(self, **changes: str) -> UpgradeRequest:
        """The request for the media socket; `changes` replace headers, `segment` the ticket."""
        found = self.actions.of("answer")
        ticket = found[0].media_url.rpartition("/")[2] if found else ""
        token = mint().token(self.clock.wall_s())
        headers = {"host": "voice.example", **self.far_end.socket_headers(token)}
        headers.update({name.replace("_", "-"): value for name, value in changes.items() if name != "segment"})
        return UpgradeRequest(
            path="/telephony/acs/media/{ticket}",
            query=Fields(()),
            headers=Headers([(name, value) for name, value in headers.items() if value]),
            subprotocols=(),
            peer="127.0.0.1",
            secure=False,
            target="",
            segment=changes.get("segment", ticket),
            hosts_public=True,
        )

    async def dials(self, **changes: str) -> TestingSocket | Refusal:
        """The service opens the media socket, or is refused."""
        request = self.wish(**changes)
        admitted = await self.carrier.opener.admit(request)
        if isinstance(admitted, Refusal):
            return admitted
        accepted = self.carrier.opener.accept(admitted, request)
        return TestingSocket(accepted.receiver, self.far_end, self.clock.now_ms, self.link)

    async def opens(self) -> TestingSocket:
        """The service opens the media socket and says what it sends."""
        socket = await self.dials()
        assert isinstance(socket, TestingSocket), socket
        socket.says(self.far_end.metadata())
        self.session_id = self.gateway.live_calls.of(self.tenant)[0].session_id
        return socket

    async def call(self) -> TestingSocket:
        """The call rings, is answered, is connected, and its media socket is open."""
        await self.rings()
        socket = await self.opens()
        assert await self.tells("CallConnected") == 200
        return socket

    async def speaks(self, socket: TestingSocket, ms: int, level: int = 0x20) -> None:
        """Send sound in real time: a loud one, or silence."""
        frame = (bytes((0, level)) + bytes((0, 0x100 - level if level else 0))) * (
            self.far_end.format.bytes_for_ms(FRAME_MS) // 4
        )
        for _ in range(ms // FRAME_MS):
            await later(FRAME_MS / 1000)
            socket.says(self.far_end.sound(frame, self.clock.wall_s()))

    # ---- what came of it

    @property
    def live(self) -> int:
        """The number of calls."""
        return len(self.gateway.live_calls)

    def heard_ms(self) -> int:
        """How much the caller has heard."""
        return self.far_end.ear.heard_bytes(self.clock.now_ms()) // self.far_end.format.bytes_for_ms(1)

    async def record(self) -> SessionRecord:
        """The record of the call, once it has ended."""
        await self.gateway.live_calls.wait_empty()
        await self.gateway.write_behind.flush(self.tenant, self.session_id)
        return session_from_document(await self.gateway.store.get(self.tenant, self.session_id, SESSION_ID))

    async def said(self) -> list[Utterance]:
        """What the agent has said in the call, once it has ended."""
        await self.record()
        turns = [
            turn_from_document(found) for found in await self.gateway.store.query(self.tenant, self.session_id, TURN)
        ]
        entries = [entry for turn in sorted(turns, key=lambda turn: turn.index) for entry in turn.entries]
        return [entry for entry in entries if isinstance(entry, Utterance) and entry.speaker is Speaker.AGENT]


def table(**changes: Any) -> Acs:
    """The settings of the resource."""
    secrets = {"access_key": SecretStr("QW4gYWNjb3VudCdzIGtleSw="), "event_secret": SecretStr(SECRET)}
    places = {"endpoint": "https://r.communication.azure.com", "openid_url": OPENID, "issuer": ISSUER}
    return Acs(**{"resource_id": GUID, **secrets, **places, **changes})


def with_acs(
    folder: Path,
    main: Callable[[AcsWorld], Awaitable[None]],
    far_end: AcsFarEnd | None = None,
    *,
    marks: bool = False,
    **settings: Any,
) -> None:
    """Run `main` with a gateway and a resource of its own."""

    async def whole(gateway: Gateway) -> None:
        world = AcsWorld(gateway, far_end or AcsFarEnd(CALLER, CALLED), table(marks=marks))
        ready = await world.phone.admit("default", CALLED)  # returns once everything has been loaded
        assert isinstance(ready, Ticket)
        world.phone.release(ready)
        try:
            await main(world)
        finally:
            await world.carrier.close()

    within(folder, whole, files=FILES, **settings)
