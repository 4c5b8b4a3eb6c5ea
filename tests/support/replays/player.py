"""Plays a replay to a gateway: runs the caller's steps at their moments, and records everything that comes back.

`play` works on any connection. `play_whole` adds the whole gateway in virtual time: settings, admission, leg, call,
scripted model and MCP servers in process, SQLite and recording inline. It reads the record through the API.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
from support.calls.legs import MemoryLeg
from support.replays.client import SAID, Client, LoggedIds, MicrophoneStream, Received
from support.replays.file import Microphone, Replay, Say, Sound, Step, Verb, When
from support.replays.referee import Hidden, Referee
from support.replays.tools import all_bookings, fill, tool_pool

from audio.formats import AudioFormat
from gateway.app import Gateway, Overrides
from gateway.auth.requests import Fields, Headers, Refusal, UpgradeRequest
from gateway.clock import LoopClock
from gateway.config.settings import Settings
from gateway.ids import CountingIds
from mcp_servers.bookings.store import BookingStore
from sessions.ports import Ids
from sessions.stores.documents import SESSION_ID

MONDAY_NOON = datetime(2026, 11, 23, 12, 0)  # noqa: DTZ001 - the restaurant's local time
HOST = "127.0.0.1:8080"
# The longest wait for the event of a step; virtual time in most tests.
STEP_LIMIT_S = 45.0
END_LIMIT_S = 90.0
T = TypeVar("T")


class FarEnd(Protocol):
    """The client's end of a connection, as a player uses it."""

    def send(self, message: bytes) -> None:
        """Send a text message."""
        ...

    def verb(self, name: str) -> None:
        """Cause a fault, or hang up."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a call: what the client received, and what the gateway keeps."""

    client: Client
    referee: Referee
    caller_format: AudioFormat
    closed_by_client: bool
    legs: int
    session: Mapping[str, Any]
    turns: Sequence[Mapping[str, Any]]
    bookings: Sequence[Mapping[str, Any]]
    kept: Path  # the folder of the session's blobs
    broken: int  # calls that a fault in the gateway ended

    @property
    def received(self) -> list[Received]:
        """The client's messages, in order."""
        return self.client.received

    def summary_lines(self) -> list[str]:
        """The call in short lines, for reading why a test failed."""
        return [f"{one.at_ms:>7} {_digest(one)}" for one in self.received if not one.type.endswith(".delta")]


def _digest(received: Received) -> str:
    event = {key: value for key, value in received.event.items() if key not in ("type", "event_id", "session")}
    for name in ("item", "response"):
        inner = event.pop(name, None)
        if isinstance(inner, Mapping):
            event |= {f"{name}.{key}": inner[key] for key in ("id", "type", "status", "name") if key in inner}
    event.pop("delta", None)
    return f"{received.type} {event}"[:200]


# ---- the player


async def play(steps: Sequence[Step], client: Client, line: FarEnd, replay: Replay, begun_s: float) -> bool:
    """Run the steps and wait for the call's end. Returns whether the client ended it. `begun_s`: the loop's time."""
    loop = asyncio.get_running_loop()
    microphone = MicrophoneStream(client, loop)
    microphone.use(replay.format)
    mark = 0
    closed = False
    try:
        for number, step in enumerate(steps, start=1):
            if client.closed is not None:
                raise AssertionError(f"step {number}: the connection was closed before it: {client.closed}")
            await _moment(step.when, client, microphone, mark, begun_s, number)
            if not isinstance(step, Microphone):
                mark = len(client.received)
            match step:
                case Say():
                    client.say(step.text)
                case Sound():
                    microphone.speak(step.frames)
                case Microphone():
                    microphone.turn(on=step.on)
                case Verb(verb=("hang_up" | "drop") as verb):
                    microphone.close()
                    client.end(1000 if verb == "hang_up" else 1006, "")
                    line.verb(verb)
                    closed = True
                case Verb(verb=verb):
                    line.verb(verb)
        async with asyncio.timeout(END_LIMIT_S):
            await client.wait_closed()
    except TimeoutError:
        raise AssertionError(f"the call did not end; {_tail(client)}") from None
    finally:
        microphone.close()
    return closed


async def _moment(
    when: When, client: Client, microphone: MicrophoneStream, mark: int, begun_s: float, number: int
) -> None:
    """Wait for a step's moment."""
    from_ms = 0.0
    if when.after is not None:
        try:
            async with asyncio.timeout(STEP_LIMIT_S):
                if when.after == SAID:
                    from_ms = (await microphone.said() - begun_s) * 1000
                else:
                    from_ms = await client.wait_for(when.after, mark)
        except TimeoutError:
            raise AssertionError(f"step {number}: {when.after!r} did not come; {_tail(client)}") from None
    await at(begun_s + (from_ms + when.at_ms) / 1000)


async def at(time_s: float) -> None:
    """Return when the loop's clock shows this time."""
    loop = asyncio.get_running_loop()
    due: asyncio.Future[None] = loop.create_future()
    timer = loop.call_at(time_s, due.set_result, None)
    try:
        await due
    finally:
        timer.cancel()


def _tail(client: Client) -> str:
    return "last received " + ", ".join(f"{received.type} at {received.at_ms}" for received in client.received[-6:])


# ---- the whole gateway in virtual time


@dataclass(frozen=True, slots=True)
class World:
    """One running gateway with its surroundings."""

    gateway: Gateway
    store: BookingStore
    clock: LoopClock
    http: httpx.AsyncClient

    async def call(
        self, replay: Replay, *, alone: bool = True, meddle: Callable[[MemoryLeg], None] | None = None
    ) -> Outcome:
        """Play one replay from admission to the record. `meddle` gets the connection; `alone`: no other call runs."""
        request = UpgradeRequest(
            path="/v1/realtime",
            query=Fields([("model", replay.name), *replay.query.items()]),
            headers=Headers([("host", HOST)]),
            subprotocols=(),
            peer="127.0.0.1",
            secure=False,
        )
        admitted = await self.gateway.realtime.admit(request)
        if isinstance(admitted, Refusal):
            raise AssertionError(f"the call is refused: {admitted.code}: {admitted.message}")
        ticket = admitted.ticket
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        legs_before, broken_before = self.gateway.admission.model_legs_opened, self._live_calls.broken
        tools = [spec.name for spec in ticket.toolbox.specs]
        hidden = hidden_of(ticket.agent.instructions, tools, shown=admitted.show_tools)
        referee = Referee(hidden, replay.allows)
        leg: list[_InMemory] = []
        client = Client(lambda: (loop.time() - begun_s) * 1000, lambda message: leg[0].send(message))
        client.logged = LoggedIds(replay.logged) if replay.logged else None
        taken = 0

        def take(message: bytes) -> None:
            nonlocal taken
            client.take(message)
            for _, said in client.sent[taken:]:
                referee.client_said(said)
            taken = len(client.sent)
            referee.take(client.received[-1])

        leg.append(_InMemory(MemoryLeg(self.gateway.realtime.accept(admitted, request), take, client.end)))
        if meddle is not None:
            meddle(leg[0].leg)
        leg[0].leg.open()
        by_client = await play(replay.steps, client, leg[0], replay, begun_s)
        session_id = ticket.session_id
        while self._live_calls.find("default", session_id) is not None:
            await at(loop.time() + 0.01)
        session, turns = await self.record(session_id)
        assert client.closed is not None
        if not by_client:
            referee.finish()
        return Outcome(
            client=client,
            referee=referee,
            caller_format=replay.format,
            closed_by_client=by_client,
            legs=self.gateway.admission.model_legs_opened - legs_before if alone else session["summary"]["redials"] + 1,
            session=session,
            turns=turns,
            bookings=all_bookings(self.store),
            kept=self.gateway.settings.data_dir / "blobs" / "default" / session_id,
            broken=self._live_calls.broken - broken_before,
        )

    async def record(self, session_id: str) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
        """The session and its turns as the API shows them, once all is written."""
        await self.gateway.finisher.run_waiting()
        await self.gateway.write_behind.flush("default", session_id)
        session = await self.http.get(f"/api/v1/sessions/{session_id}")
        transcript = await self.http.get(f"/api/v1/sessions/{session_id}/transcript")
        assert session.status_code == transcript.status_code == 200, (session.text, transcript.text)
        # The store's own documents hold the same and more: recordings by name, and the owner.
        stored = await self.gateway.store.get("default", session_id, SESSION_ID)
        assert stored["state"] == session.json()["state"]
        return session.json(), transcript.json()["turns"]

    @property
    def _live_calls(self) -> Any:
        assert self.gateway.live_calls is not None
        return self.gateway.live_calls


@dataclass(frozen=True, slots=True)
class _InMemory:
    """A connection in memory."""

    leg: MemoryLeg

    def send(self, message: bytes) -> None:
        self.leg.send(message)

    def verb(self, name: str) -> None:
        getattr(self.leg, name)()


@asynccontextmanager
async def world(replays: Sequence[Replay], data: Path, ids: Ids | None = None) -> AsyncIterator[World]:
    """A whole gateway that serves the agents of these replays; nothing in it waits for a thread."""
    agents = data / "agents"
    agents.mkdir(parents=True)
    for replay in replays:
        (agents / f"{replay.name}.yaml").write_text(agent_with(replay, f"scripted/{replay.script}"), encoding="utf-8")
    settings = Settings(data_dir=data, agents_dir=agents, plugins_dir=None, mcp_config=data / "none.json")
    clock = LoopClock(asyncio.get_running_loop(), MONDAY_NOON.replace(tzinfo=UTC).timestamp())
    store = BookingStore(":memory:")
    for replay in replays:
        fill(store, replay.given)
    pool = tool_pool(store, lambda: datetime.fromtimestamp(clock.wall_s(), UTC).replace(tzinfo=None))
    gateway = Gateway(settings, clock, ids or CountingIds(), Overrides(inline=True, mcp=pool))
    app = gateway.app
    try:
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as http:
                yield World(gateway, store, clock, http)
    finally:
        store.close()


def agent_with(replay: Replay, model: str) -> str:
    """An agent's file with another model than `scripted/model.yaml`."""
    text = replay.agent_text
    assert text.count("model: scripted/model.yaml\n") == 1, "the agent's file must say `model: scripted/model.yaml`"
    return text.replace("model: scripted/model.yaml\n", f"model: {model}\n")


def hidden_of(instructions: str, tools: Sequence[str], *, shown: bool) -> Hidden:
    """What a client must not see of an agent."""
    words = tuple(line.strip() for line in instructions.splitlines() if line.strip() and "{" not in line)
    return Hidden(words, frozenset() if shown else frozenset(tools))


async def within(
    replays: Sequence[Replay], data: Path, body: Callable[[World], Awaitable[T]], ids: Ids | None = None
) -> T:
    """What `body` returns, run in a world of its own. An AssertionError is passed on unchanged."""
    async with world(replays, data, ids) as around:
        try:
            return await body(around)
        except AssertionError as error:
            failed = error
    raise failed


async def play_whole(replay: Replay, data: Path) -> Outcome:
    """Play one replay to a gateway of its own. Raises AssertionError where it cannot be played to its end."""
    return await within([replay], data, lambda around: around.call(replay))
