"""How a Realtime client's connection ends, and the event that the call gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import pytest
from support.calls.legs import MemoryLeg

from gateway.callers.realtime.codec import RealtimeCallerCodec
from gateway.callers.realtime.leg import MAX_UNSENT_MS, RealtimeCallerLeg
from gateway.callers.realtime.view import ClientView
from gateway.ids import CountingIds
from gateway.net.media_routes import Accepted
from gateway.net.sockets import SocketLimits
from gateway.realtime.session import AgentSide, EffectiveSession
from sessions.agent import TurnDetection
from sessions.events import CallerEvent, HungUp

LIMITS = SocketLimits(max_message_bytes=200)
TOO_BIG = b'{"type":"x","a":"' + b"x" * 200 + b'"}'


class Client:
    """An open connection to a leg; `told` has the events that the call gets."""

    def __init__(self) -> None:
        ids = CountingIds()
        view = ClientView(ids, frozenset(), show_tools=False)
        side = AgentSide("Be brief.", (), None, None, TurnDetection(), None, None)
        session = EffectiveSession.for_agent(side, "sess_1", 2_000_000_000, "desk")
        self.told: list[CallerEvent] = []
        self._heard = asyncio.Event()
        leg = RealtimeCallerLeg(RealtimeCallerCodec(session, view, ids, frozenset()), view, self._hear, None)
        self.closed: list[int] = []
        accepted = Accepted(leg, lambda fault: self.closed.append(-1))
        self.line = MemoryLeg(accepted, lambda message: None, lambda code, reason: self.closed.append(code), LIMITS)
        self.line.open()

    def _hear(self, event: CallerEvent) -> None:
        self.told.append(event)
        self._heard.set()

    async def end(self) -> list[CallerEvent]:
        """The events that the call got, once the connection is gone."""
        async with asyncio.timeout(5):
            await self._heard.wait()
        return self.told


def test_a_message_past_the_bound_is_the_clients_bad_input() -> None:
    async def main() -> None:
        client = Client()
        client.line.send(TOO_BIG)
        assert await client.end() == [HungUp("bad_input")]
        assert client.closed == [1009]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1002, "bad_input"), (1007, "bad_input"), (1009, "bad_input"), (1013, "too_slow"), (1000, "caller_hung_up")],
)
def test_a_code_means_what_it_says_only_where_it_is_ours(code: int, reason: str) -> None:
    async def main() -> None:
        ours, theirs = Client(), Client()
        ours.line.near.close(code)
        theirs.line.hang_up(code)
        assert await ours.end() == [HungUp(reason)]
        assert await theirs.end() == [HungUp("caller_hung_up")]

    asyncio.run(main())


def test_a_line_that_breaks_is_a_client_that_hung_up() -> None:
    async def main() -> None:
        client = Client()
        client.line.drop()
        assert await client.end() == [HungUp("caller_hung_up")]

    asyncio.run(main())


class CountingSocket:
    """A socket that counts what it is told of, and takes nothing."""

    closed, ended_here, unsent_bytes, peer, subprotocol = False, False, 0, "127.0.0.1", None
    work = 0

    def count_message(self) -> None:
        self.work += 1

    def send_text(self, message: bytes) -> None:
        pass

    def send_binary(self, message: bytes) -> None:
        pass

    def fast_send(self) -> Callable[[bytes], None]:
        return self.send_text

    def close(self, code: int = 1000, reason: str = "") -> None:
        pass


def open_leg(socket: CountingSocket) -> RealtimeCallerLeg:
    """A leg on this socket, whose events go nowhere."""
    ids = CountingIds()
    view = ClientView(ids, frozenset(), show_tools=False)
    side = AgentSide("Be brief.", (), None, None, TurnDetection(), None, None)
    session = EffectiveSession.for_agent(side, "sess_1", 2_000_000_000, "desk")
    leg = RealtimeCallerLeg(RealtimeCallerCodec(session, view, ids, frozenset()), view, lambda event: None, None)
    leg.opened(socket)
    return leg


def test_what_is_no_sound_is_told_to_the_socket_as_work() -> None:
    socket = CountingSocket()
    leg = open_leg(socket)
    leg.text(b'{"type":"input_audio_buffer.append","audio":"AAAAAAAA"}')
    assert socket.work == 0
    for message in (b'{"type":"response.create"}', b"{", b'{"type":"input_audio_buffer.append","audio":"####"}'):
        leg.text(message)
    leg.binary(b"")
    assert socket.work == 4


@pytest.mark.parametrize(("kind", "base64_bytes_a_second"), [("audio/pcm", 64_000), ("audio/pcmu", 10_667)])
def test_a_leg_is_overfull_by_how_long_the_unsent_speech_lasts(kind: str, base64_bytes_a_second: int) -> None:
    socket = CountingSocket()
    leg = open_leg(socket)
    sound = {"output": {"format": {"type": kind}}}
    leg.text(orjson.dumps({"type": "session.update", "session": {"type": "realtime", "audio": sound}}))
    socket.unsent_bytes = (MAX_UNSENT_MS - 100) * base64_bytes_a_second // 1000
    assert not leg.overfull
    socket.unsent_bytes = (MAX_UNSENT_MS + 100) * base64_bytes_a_second // 1000
    assert leg.overfull
    leg.lost(1000, "")
    assert not leg.overfull
