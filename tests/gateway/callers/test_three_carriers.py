"""Three carriers at once on one server: each call is its own tenant's, agent's and protocol's, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.calls.acs_world import CALLER, GUID, ISSUER, OPENID, SECRET, AcsWorld, TestingSocket, mint
from support.calls.asterisk_desk import PASSWORD, START, AsteriskDesk, media_request
from support.calls.call_rig import later
from support.calls.phone_socket import MemorySocket
from support.calls.twilio_world import PUBLIC, QUIET, TOKEN, Call, Carrier
from support.calls.whole_gateway import within

from gateway.app import Gateway
from gateway.auth.carrier_tickets import CarrierTickets
from gateway.auth.requests import Refusal
from gateway.callers.acs.media import NO_TICKET as NO_ACS_TICKET
from gateway.callers.asterisk.registered import RegisteredCall
from gateway.callers.asterisk.ws_open import NO_CALL
from gateway.callers.phone.calls import PhoneCalls
from gateway.callers.twilio.account import twilio_account
from gateway.callers.twilio.open import NO_TICKET as NO_TWILIO_TICKET
from gateway.callers.twilio.open import AdmittedStream
from gateway.clock import LoopClock
from gateway.config.settings import Settings, load_settings
from gateway.softphone.far_ends.acs import AcsFarEnd
from gateway.softphone.far_ends.acs_tokens import CALLBACK_LIFE_S
from sessions.record import Speaker, Utterance
from sessions.stores.documents import SESSION_ID, TURN, session_from_document, turn_from_document

SETTINGS = f"""
public_url: {PUBLIC}
api_keys: pbx:key-of-the-pbx-with-many-letters,cloud:key-of-the-cloud-with-letters,desk:key-of-the-desk-with-letters
numbers:
  "222": {{agent: harbour, language: de-DE}}
  "+49 30 333": {{agent: museum, language: fr}}
  "+49 30 444": station
carriers:
  asterisk: {{tenant: pbx, user: pbx, password: {PASSWORD}}}
  twilio: {{tenant: cloud, account_sid: AC01, auth_token: {TOKEN}}}
  acs:
    tenant: desk
    endpoint: https://r.communication.azure.com
    resource_id: {GUID}
    access_key: QW4gYWNjb3VudCdzIGtleSw=
    event_secret: {SECRET}
    openid_url: {OPENID}
    issuer: {ISSUER}
"""
NAMES = ("harbour", "museum", "station")
FILES = {
    f"{name}.yaml": f"""
model: scripted/scripts/{name}.yaml
greeting: This is the {name}, where we have {"very " * (5 + 5 * at)}much to tell you.
instructions: None.
tools: [{{function: hang_up}}]
"""
    for at, name in enumerate(NAMES)
} | {
    f"scripts/{name}.yaml": f"""
model: {name}
turns:
  - {{when: {{text: '0'}}, say: Goodbye from the {name}., calls: [{{name: hang_up, arguments: {{}}}}]}}
  - {{when: {{text: '9'}}, say: The {name} breaks off in the middle of what it says., fault: {{drop: 300}}}}
  - {{when: {{spoken: true}}, hears: Hello to the {name}., repeat: true, say: The {name} is at your service.}}
otherwise: {{say: "Pardon?"}}
"""
    for name in NAMES
}


class Server:
    """The three carriers of one gateway, with the calls and the tickets that they share in a whole server."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        tables = settings.carriers
        assert tables.twilio is not None
        assert tables.asterisk is not None
        assert tables.acs is not None
        self.gateway = gateway
        clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        calls, self.tickets = PhoneCalls(gateway.admission, settings.numbers, clock), CarrierTickets.of(b"material")
        self.asterisk = AsteriskDesk(gateway, None, tenant=tables.asterisk.tenant, calls=calls)
        self.twilio = Carrier(gateway, twilio_account(tables.twilio), calls=calls, tickets=self.tickets)
        far_end = AcsFarEnd(CALLER, "+4930444", correlation_id="CA01")  # the id that the call at Twilio has too
        self.acs = AcsWorld(gateway, far_end, tables.acs, calls=calls, tickets=self.tickets)

    @property
    def live(self) -> int:
        """The number of calls."""
        return len(self.gateway.live_calls)

    async def close(self) -> None:
        """Close the carriers."""
        self.asterisk.registered.close()
        await self.twilio.carrier.close()
        await self.acs.carrier.close()


def with_server(folder: Path, main: Callable[[Server], Awaitable[None]]) -> None:
    """Run `main` with a server of its own, which has room for three calls."""
    (folder / "patchbay.yaml").write_text(SETTINGS)
    settings = load_settings({}, folder)

    async def whole(gateway: Gateway) -> None:
        server = Server(gateway, settings)
        try:
            await main(server)
        finally:
            await server.close()

    within(folder, whole, files=FILES, max_calls=3, numbers=settings.numbers)


# ---- the same talk on each of them


@dataclass(frozen=True, slots=True)
class Expected:
    """What the record of a call must say."""

    tenant: str
    agent: str
    protocol: str
    called: str
    language: str | None


class AsteriskCaller:
    """A caller on Asterisk's WebSocket channel."""

    expected = Expected("pbx", "harbour", "asterisk", "222", "de-DE")

    def __init__(self, call: RegisteredCall, socket: MemorySocket) -> None:
        self.session_id = call.ticket.session_id
        self._socket = socket
        socket.says(START)

    def heard_ms(self) -> int:
        return len(self._socket.sound) // 8

    async def speaks(self, ms: int, *, loud: bool) -> None:
        for _ in range(ms // 20):
            await later(0.02)
            self._socket.speaks((b"\x20" if loud else b"\xff") * 160)

    def presses(self, key: str) -> None:
        self._socket.says({"event": "DTMF_END", "channel_id": "C", "digit": key})

    async def hangs_up(self) -> None:
        self._socket.goes(1000)


class TwilioCaller:
    """A caller at Twilio."""

    expected = Expected("cloud", "museum", "twilio", "+4930333", "fr")

    def __init__(self, call: Call) -> None:
        self.session_id = call.session_id
        self._call = call

    def heard_ms(self) -> int:
        return self._call.heard_ms

    async def speaks(self, ms: int, *, loud: bool) -> None:
        await self._call.speaks(ms, None if loud else QUIET)

    def presses(self, key: str) -> None:
        self._call.presses(key)

    async def hangs_up(self) -> None:
        self._call.hangs_up()


class AcsCaller:
    """A caller at Azure Communication Services."""

    expected = Expected("desk", "station", "acs", "+4930444", None)

    def __init__(self, world: AcsWorld, socket: TestingSocket) -> None:
        self.session_id = world.session_id
        self._world = world
        self._socket = socket

    def heard_ms(self) -> int:
        return self._world.heard_ms()

    async def speaks(self, ms: int, *, loud: bool) -> None:
        await self._world.speaks(self._socket, ms, **({} if loud else {"level": 0}))

    def presses(self, key: str) -> None:
        self._socket.says(self._world.far_end.key(key))

    async def hangs_up(self) -> None:
        assert await self._world.tells("CallDisconnected") == 200
        self._socket.goes(1000)


AnyCaller = AsteriskCaller | TwilioCaller | AcsCaller


async def all_call(server: Server) -> list[AnyCaller]:
    """One caller on each of the three."""
    return [
        AsteriskCaller(*await server.asterisk.opened()),
        TwilioCaller(await server.twilio.call(server.twilio.caller(called="+4930333"))),
        AcsCaller(server.acs, await server.acs.call()),
    ]


async def talks(caller: AnyCaller, end: str) -> None:
    """Interrupt the greeting, hear an answer, and let the call end."""
    await later(1)
    await caller.speaks(800, loud=True)
    greeted_ms = caller.heard_ms()
    await caller.speaks(1_000, loud=False)
    await later(4)
    assert caller.heard_ms() > greeted_ms + 1_000
    if end == "caller_hung_up":
        await caller.hangs_up()
    else:
        caller.presses("0" if end == "agent_hung_up" else "9")


async def holds_its_own(server: Server, caller: AnyCaller, end: str) -> None:
    """A call's record has its own facts, and nothing that was said in another call."""
    store, expected = server.gateway.store, caller.expected
    await server.gateway.write_behind.flush(expected.tenant, caller.session_id)
    record = session_from_document(await store.get(expected.tenant, caller.session_id, SESSION_ID))
    found = Expected(record.tenant, record.agent, record.protocol, record.caller.called or "", record.caller.language)
    assert found == expected
    assert (record.caller.number, record.summary.end_reason) == ("+4930111", end)
    documents = await store.query(expected.tenant, caller.session_id, TURN)
    turns = sorted(map(turn_from_document, documents), key=lambda turn: turn.index)
    said = [entry for turn in turns for entry in turn.entries if isinstance(entry, Utterance)]
    greeting = next(entry for entry in said if entry.speaker is Speaker.AGENT)
    assert greeting.text.startswith(f"This is the {expected.agent}, where")
    assert 0 < len(greeting.heard_text) < len(greeting.text)
    texts = [entry.text for entry in said]
    assert (
        texts.count(f"Hello to the {expected.agent}.") == texts.count(f"The {expected.agent} is at your service.") == 1
    )
    assert not [text for text in texts for other in NAMES if other != expected.agent and other in text]


ENDS = ("caller_hung_up", "agent_hung_up", "model_lost")


@pytest.mark.parametrize("turn", range(3))
def test_calls_of_three_carriers_at_once_keep_apart_and_end_from_any_side(tmp_path: Path, turn: int) -> None:
    ends = [*ENDS[turn:], *ENDS[:turn]]

    async def main(server: Server) -> None:
        callers = await all_call(server)
        assert server.live == 3
        async with asyncio.TaskGroup() as tasks:
            for caller, end in zip(callers, ends, strict=True):
                tasks.create_task(talks(caller, end))
        await server.gateway.live_calls.wait_empty()
        for caller, end in zip(callers, ends, strict=True):
            await holds_its_own(server, caller, end)
        tenants = {caller.expected.tenant: caller.session_id for caller in callers}
        for tenant, own in tenants.items():
            for other in tenants.values():
                assert bool(await server.gateway.store.query(tenant, other, TURN)) is (other == own)

    with_server(tmp_path, main)


# ---- what opens a call of one carrier opens nothing at another


async def refuses_sockets(server: Server, secrets: dict[str, str], dials: Callable[[str], Awaitable[object]]) -> None:
    """No Twilio or ACS socket opens with what belongs to others."""
    for name, secret in secrets.items():
        if name != "twilio ticket":
            assert await dials(f"wss://voice.example/telephony/twilio/media/{secret}") is NO_TWILIO_TICKET, name
        if name != "acs ticket":
            assert await server.acs.dials(segment=secret) is NO_ACS_TICKET, name
        if name != "asterisk call":
            assert await server.asterisk.sockets.admit(media_request(secret)) is NO_CALL, name


def test_a_ticket_or_a_key_of_one_carrier_opens_nothing_at_another(tmp_path: Path) -> None:
    async def main(server: Server) -> None:
        caller = server.twilio.caller(called="+4930333")
        order = await server.twilio.rings(caller)
        assert order.status_url is not None
        registered = await server.asterisk.register()
        await server.acs.rings()
        (answering,) = server.acs.actions.of("answer")
        addresses = {
            "twilio ticket": order.url,
            "twilio key": order.status_url,
            "acs ticket": answering.media_url,
            "acs key": answering.callback_url,
        }
        secrets = {name: url.rpartition("/")[2] for name, url in addresses.items()}
        secrets["asterisk call"] = str(registered.call_id)

        async def dials(url: str) -> AdmittedStream | Refusal:
            return await server.twilio.dials(url, caller.handshake(replace(order, url=url)))

        await refuses_sockets(server, secrets, dials)
        token = mint().token(server.acs.clock.wall_s(), CALLBACK_LIFE_S)
        over = server.acs.far_end.event("CallDisconnected")
        for name, secret in secrets.items():
            if name != "twilio key":
                url = f"{PUBLIC}/telephony/twilio/status/{secret}"
                answer = await server.twilio.post(url, caller.status(url, CallStatus="completed"))
                assert answer.status_code == 403, name
            if name != "acs key":
                path = f"/telephony/acs/callbacks/{secret}"
                assert (await server.acs.post(path, over, authorization=f"Bearer {token}"))[0] == 403, name
        assert server.live == 0
        assert server.gateway.admission.model_legs_opened == 0
        # Each of them is still good where it belongs.
        assert isinstance(await dials(order.url), AdmittedStream)
        assert await server.asterisk.sockets.admit(media_request(secrets["asterisk call"])) is registered
        await server.acs.opens()
        assert await server.acs.tells("CallDisconnected") == 200
        assert (await server.acs.record()).agent == "station"

    with_server(tmp_path, main)
