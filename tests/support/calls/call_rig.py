"""A running call between two legs that a test controls: no model, no socket, virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from audio.formats import PCM16_24K
from gateway.blobs.folder import FolderBlobs
from gateway.calls.live import LiveCall, LiveCalls
from gateway.calls.record import CallFacts, CallRecord
from gateway.calls.running import RunningCall
from gateway.clock import LoopClock
from gateway.ids import CountingIds
from gateway.legs.model import ModelLeg
from gateway.recording.finisher import Finisher
from gateway.recording.recorder import Recorder
from gateway.recording.writer import SpoolWriter
from gateway.telemetry.figures import Figures
from gateway.tools.contract import ToolContext, ToolResult
from gateway.tools.functions import FunctionTool
from gateway.tools.toolbox import Toolbox
from sessions.agent import ReplayPolicy, ToolGrant, ToolRule
from sessions.call import Call
from sessions.commands import CallerCommand, ModelCommand
from sessions.errors import LegLost, ToolFailed
from sessions.events import ModelEvent, ModelReady
from sessions.ports import JsonObject
from sessions.setup import ModelSetup, ToolSpec, TurnPolicy
from sessions.state import CallRules
from sessions.stores.contract import Document, SessionKey
from sessions.stores.documents import Owner

DEADLINE_MS = 3_000
SETUP = ModelSetup({}, PCM16_24K, PCM16_24K, False, TurnPolicy.MODEL_INTERRUPTS, None)


async def later(seconds: float) -> None:
    """Return when so many seconds have passed on the loop's clock, virtual or real."""
    loop = asyncio.get_running_loop()
    due: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, due.set_result, None)
    try:
        await due
    finally:
        timer.cancel()


class _Turn:
    def __await__(self) -> Generator[None, None, None]:
        yield


async def turn() -> None:
    """Let everything else that is ready run once."""
    await _Turn()


class Phone:
    """The caller's leg, with no more than a leg must have: keeps the commands that it gets."""

    def __init__(self) -> None:
        self.told: list[CallerCommand] = []
        self.closed: list[tuple[int, str]] = []
        self.overfull = False
        self.breaks = False

    def do(self, command: CallerCommand) -> None:
        if self.breaks:
            raise RuntimeError("the leg broke")
        self.told.append(command)

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))


class Model:
    """A connector and its legs, with no more than a leg must have.

    `refusals` come first. `deliver` delivers an event of the leg that was opened last.
    """

    def __init__(self) -> None:
        self.dials = 0
        self.sent: list[ModelCommand] = []
        self.closed = 0
        self.dropped_ms = 0
        self.given_up = 0
        self.refusals: list[LegLost] = []
        self.hangs = False
        self.early: list[ModelEvent] = [ModelReady()]  # delivered before the dial returns
        self.deliver: Callable[[ModelEvent], None] = lambda event: None
        self.fault: Callable[[BaseException], None] = lambda error: None

    async def dial(
        self,
        setup: ModelSetup,
        attempt: int,
        deliver: Callable[[ModelEvent], None],
        fault: Callable[[BaseException], None],
    ) -> ModelLeg:
        self.dials += 1
        if self.refusals:
            raise self.refusals.pop(0)
        self.deliver, self.fault = deliver, fault
        for event in self.early:
            deliver(event)
        if self.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1
        return self

    def send(self, command: ModelCommand) -> None:
        self.sent.append(command)

    def close(self) -> None:
        self.closed += 1


class NoServers:
    """No MCP server at all."""

    def tools(self, server: str) -> tuple[ToolSpec, ...]:
        return ()

    def problem(self, server: str) -> str | None:
        return "there is none"

    async def call(self, server: str, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        raise ToolFailed("there is none")


class Rig:
    """One call in a `LiveCalls`, and everything that it saves."""

    def __init__(self, folder: Path, tools: Mapping[str, FunctionTool], *, recording: bool) -> None:
        self.clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        self.saved: list[Document] = []
        self.phone = Phone()
        self.model = Model()
        self.live_calls = LiveCalls()
        blobs = FolderBlobs(folder / "blobs", inline=True)
        self.writer = SpoolWriter(inline=True)
        self.finisher = Finisher(blobs, inline=True)
        self.recorder = Recorder(folder / "boot", self.writer, self.finisher, self.saved.append, self.clock)
        now_ms = self.clock.now_ms()
        self.facts = CallFacts(
            tenant="default",
            session_id="sess_1",
            agent="desk",
            agent_version="1",
            model="test/model",
            protocol="realtime",
            owner=Owner("1", "boot_1"),
            started_at=self.clock.wall_s(),
            started_ms=now_ms,
            ttl_s=None,
        )
        kept = None
        if recording:
            kept = self.recorder.begin(
                SessionKey("default", "sess_1"),
                recording=True,
                replay=ReplayPolicy.OFF,
                agent="desk",
                version="1",
                formats={},
                started_ms=now_ms,
            )
        self.figures = Figures()
        self.record = CallRecord(self.facts, self.saved.append, self.recorder, kept, self.clock, self.figures)
        grants = [ToolGrant(None, name, None, DEADLINE_MS) for name in tools]
        toolbox = Toolbox(grants, NoServers(), tools)
        rule = {name: ToolRule(None, name, DEADLINE_MS) for name in tools}
        rules = CallRules(rule, None, client_plays=True, length_ms=600_000, idle_ms=None)
        self.running = RunningCall(
            Call(rules, SETUP, CountingIds(), now_ms),
            self.model,
            toolbox,
            ToolContext("sess_1", "desk", {}, self.clock),
            self.record,
            self.clock,
            lambda: None,
        )
        self.running.attach(self.phone)
        self.live = LiveCall("sess_1", "default", "desk", "realtime", self.facts.started_at, self.running)

    @property
    def session(self) -> Document:
        """The session's document, as it was saved last."""
        return next(document for document in reversed(self.saved) if document["type"] == "session")

    @property
    def summary(self) -> Mapping[str, Any]:
        """The sums in the session's document."""
        found: Mapping[str, Any] = self.session["summary"]  # type: ignore[assignment]
        return found

    async def settle(self) -> None:
        """Let everything run that is due now."""
        for _ in range(20):
            await later(0)

    async def pass_s(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        await later(seconds)


@asynccontextmanager
async def hosted(
    folder: Path, tools: Mapping[str, FunctionTool] | None = None, *, recording: bool = False
) -> AsyncIterator[Rig]:
    """A running call. At the end of the block it is hung up, unless it has ended."""
    rig = Rig(folder, tools or {}, recording=recording)
    rig.live_calls.start(rig.live)
    try:
        yield rig
    finally:
        rig.running.hang_up("test_over")
        await rig.live_calls.wait_empty()
