"""The wiring: every part of one process, made from the settings, started and stopped in order.

This is the one place that knows every part.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI

from gateway.agent_files import all_of
from gateway.agents import AgentBook
from gateway.api.shapes import AgentShape, ToolServerShape
from gateway.auth.client_secrets import ClientSecrets, derive_signing_key
from gateway.auth.entrance import Entrance
from gateway.auth.keys import ApiKeys, read_keys
from gateway.auth.origins import OriginRules, check_bind
from gateway.auth.requests import read_proxies
from gateway.auth.secret_sessions import SecretSession
from gateway.boots import Boots
from gateway.guard import supervised
from gateway.live import CallBoard
from gateway.loop_watch import LoopWatch
from gateway.models.registry import ModelRegistry
from gateway.recording.blobs import Blobs, FolderBlobs
from gateway.recording.finisher import Finisher
from gateway.recording.recorder import Recorder
from gateway.recording.writer import SpoolWriter
from gateway.server import Drain, LiveCalls, PatchbayServer, ServerOptions
from gateway.settings import Settings
from gateway.sockets import SocketLimits
from gateway.statekeeper import StateKeeper
from gateway.staterecovery import recover
from gateway.switchboard import CallLimits, Switchboard, SwitchboardParts
from gateway.tools.config import load_mcp_config
from gateway.tools.function_runs import PROCESS
from gateway.tools.grants import GrantCheck
from gateway.tools.plugins import load_functions
from gateway.tools.pool import McpPool
from gateway.upgrade import MediaRoute
from gateway.upkeep import Retention, keep_warm, stay
from gateway.web import WebParts, make_app
from sessions.agent import Agent
from sessions.documents import Owner, ttl_of
from sessions.errors import VoiceError
from sessions.ports import Clock, Ids, JsonObject
from sessions.stores.contract import Store, StoreFailed
from sessions.stores.opening import open_store

log = logging.getLogger("patchbay")

CALLS_END_S = 10.0  # after the goodbye; a call's jobs and its record have 5 s each
RECORDINGS_S = 10.0  # for those that wait when the server goes down; the next start makes the rest


class StartFailed(VoiceError):
    """A part cannot be opened; the message names the setting and what is wrong."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What tests put in place of the real thing. `inline`: no threads and no programs, for virtual time."""

    inline: bool = False
    mcp: McpPool | None = None


class Gateway:
    """All parts of one process; `running` is their life."""

    def __init__(self, settings: Settings, clock: Clock, ids: Ids, overrides: Overrides | None = None) -> None:
        """Raises ValueError and VoiceError where a setting, an agent or a plugin is wrong; nothing is opened yet."""
        overrides = overrides or Overrides()
        inline = overrides.inline
        self.settings = settings
        self.drain = Drain()
        self.ready = False
        self.fault: BaseException | None = None  # what kept it from opening, or broke it as a whole
        self._server: PatchbayServer | None = None
        self._inline = inline
        self._clock = clock
        self._ids = ids
        self._keys = read_keys(settings.api_key_entries)
        self._rules = _origin_rules(settings, self._keys)
        self._secrets = ClientSecrets(_signing_key(settings, self._keys))
        self._registry = ModelRegistry(settings, clock, ids)
        self._functions = load_functions(settings.plugins_dir)
        self._mcp = overrides.mcp or McpPool(
            load_mcp_config(settings.mcp_config, os.environ),
            max_result_bytes=settings.max_tool_result_bytes,
            max_answer_bytes=settings.max_tool_answer_bytes,
        )
        grants = GrantCheck(self._mcp.servers, self._functions, settings.mcp_config)
        check = all_of(self._registry.check, grants.check)
        self.agents = AgentBook(settings.agents_dir, check, clock, self._registry.ready)
        self._boots = Boots(settings.data_dir / "boots", ids.new("boot"))
        self.store: Store = open_store(settings.store_url, clock, inline=inline)
        self.blobs: Blobs = FolderBlobs(settings.data_dir / "blobs", inline=inline)
        self.keeper = StateKeeper(self.store, self._boots.folder / "state", clock, inline=inline)
        self._writer = SpoolWriter(inline=inline)
        self.finisher = Finisher(self.blobs, inline=inline)
        self._recorder = Recorder(self._boots.folder, self._writer, self.finisher, self.keeper.save, clock)
        self._retention = Retention(self.store, self.blobs, self.keeper, self._recorder, clock)
        self._warmed = asyncio.Event()
        self._entrance = Entrance(self._rules, self._keys, self._secrets, clock)
        self.board = CallBoard()
        self.switchboard = Switchboard(self._switchboard_parts())
        self.app: FastAPI = make_app(self._web_parts(), self.running)

    # ---- life

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open what is to be opened, run what runs beside the calls, and at the end let go of everything in order."""
        stopped = False
        try:
            await self._open()
            async with self._run():
                yield
            await self._let_go()
            stopped = True
        finally:
            if not stopped:
                self._note_fault(sys.exc_info()[1])

    def _note_fault(self, fault: BaseException | None) -> None:
        """Nothing works without the parts beside the calls: the server that goes on answering without them must end."""
        self.fault = fault
        if self._server is not None and self._server.started:
            self._server.stop()

    async def _open(self) -> None:
        try:
            self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartFailed(
                f"PATCHBAY_DATA_DIR: {self.settings.data_dir} cannot be used: {error.strerror}"
            ) from error
        self._boots.hold()
        try:
            await self.store.open()
        except StoreFailed as error:
            raise StartFailed(f"PATCHBAY_STORE: {error}") from error
        self._writer.start()
        await _take_over_from_the_dead(self._boots, self.store, self._recorder, self.keeper)

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(supervised(name, run)) for name, run in self._jobs().items()]
            tools = tasks.create_task(supervised("tool servers", self._mcp.run))
            self.ready = True
            asked = False
            try:
                with nullcontext() if self._inline else LoopWatch().watching():
                    yield
                asked = True
            finally:
                self.ready = False
                self.board.goodbye()
                await self._calls_over()
                if asked:  # and not cut short
                    await _make_recordings(self.finisher)
                self._mcp.close()
                self.finisher.close()
                await self.keeper.close()
                for task in beside:
                    task.cancel()
                await asyncio.wait([tools], timeout=8)
                tools.cancel()

    async def _calls_over(self) -> None:
        """Wait for the goodbyes; a call that will not end is cut."""
        try:
            async with asyncio.timeout(CALLS_END_S):
                await self.board.wait_empty()
        except TimeoutError:
            log.error("calls did not end and are cut", extra={"calls": len(self.board)})
            await self.board.close(CALLS_END_S)

    def _jobs(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What lives beside the calls as long as the server does."""
        return {
            "state": self.keeper.run,
            "recordings": self.finisher.run,
            "spools": self._recorder.run,
            "retention": self._retention.run,
            "lock": partial(stay, self._boots, inline=self._inline),
            "models and agents": partial(keep_warm, self.agents, self._registry, self._mcp, self._warmed),
        }

    def problems(self) -> list[str]:
        """What does not work though calls are taken, in words for an operator."""
        told = [
            f"function tool {one.function} of agent {one.agent}: {one.overdue} calls have not come back; "
            "it is not called until they do"
            for one in PROCESS.stuck()
        ]
        if not self.keeper.healthy:
            told.append("the store does not take writes; records wait beside it")
        return told

    async def _let_go(self) -> None:
        await self._registry.close()
        await self._writer.close()
        await self.store.close()
        self._boots.release()

    # ---- faces

    def server(self, on_started: Callable[[PatchbayServer], None] | None = None) -> PatchbayServer:
        """The server that serves all this; `on_started` is called once it listens."""
        settings = self.settings
        route = MediaRoute(
            "/v1/realtime",
            self.switchboard.admit,
            self.switchboard.accept,
            self.switchboard.abandon,
            limits=SocketLimits(max_message_bytes=settings.max_message_bytes),
        )
        options = ServerOptions(
            host=settings.host,
            port=settings.port,
            tls_cert=str(settings.tls_cert) if settings.tls_cert else None,
            tls_key=str(settings.tls_key) if settings.tls_key else None,
            drain_s=settings.drain_s,
            max_half_open=settings.max_half_open,
            max_address_half_open=settings.max_address_half_open,
            proxies=self._rules.proxies,
        )

        async def say_goodbye() -> None:
            self.board.goodbye()

        calls = LiveCalls(done=self.board.wait_empty, goodbye=say_goodbye, records=self.board.wait_empty)
        tell = on_started or (lambda server: None)
        server = PatchbayServer(
            self.app, [route], drain=self.drain, calls=calls, options=options, on_started=lambda: tell(server)
        )
        self._server = server
        return server

    def _switchboard_parts(self) -> SwitchboardParts:
        settings = self.settings
        return SwitchboardParts(
            agents=self.agents,
            unavailable=self._registry.unavailable,
            connector=self._registry.connector,
            mcp=self._mcp,
            tools_tried=self._mcp.tried,
            functions=self._functions,
            entrance=self._entrance,
            board=self.board,
            recorder=self._recorder,
            save=self.keeper.save,
            owner=Owner(process=str(os.getpid()), boot=self._boots.boot_id),
            clock=self._clock,
            ids=self._ids,
            limits=CallLimits(
                max_calls=settings.max_calls,
                max_tenant_calls=settings.max_tenant_calls,
                redial_limit_ms=settings.redial_limit_ms,
                max_tool_result_bytes=settings.max_tool_result_bytes,
                ttl_s=ttl_of(settings.retention_days),
            ),
            warmed=self._warmed,
        )

    def _web_parts(self) -> WebParts:
        return WebParts(
            gateway=self,
            rules=self._rules,
            entrance=self._entrance,
            secrets=self._secrets,
            clock=self._clock,
            max_body_bytes=self.settings.max_body_bytes,
        )

    def shown(self) -> list[AgentShape]:
        """The agents, for the API."""
        found = []
        for agent in self.agents.all():
            reason = self._registry.unavailable(agent)
            found.append(
                AgentShape(
                    name=agent.name,
                    description=agent.description,
                    model=str(agent.model),
                    version=agent.version,
                    available=reason is None,
                    reason=reason,
                    tool_servers_down=self._tool_servers_down(agent),
                )
            )
        return found

    def _tool_servers_down(self, agent: Agent) -> list[ToolServerShape]:
        servers = dict.fromkeys(grant.server for grant in agent.tools if grant.server is not None)
        problems = {server: self._mcp.problem(server) for server in servers}
        return [ToolServerShape(server=server, reason=why) for server, why in problems.items() if why is not None]

    async def forget(self, tenant: str, session_id: str) -> None:
        """Leave nothing of a session, wherever something of it is kept or still waits to be written."""
        await self._retention.forget(tenant, session_id)

    def secret_session(self, wish: JsonObject) -> SecretSession:
        """The session that a client secret made for this wish opens. Raises WireError."""
        return self.switchboard.secret_session(wish)


def _signing_key(settings: Settings, keys: ApiKeys) -> bytes:
    """Any process with the same settings accepts the same client secrets; without keys only this one does."""
    if settings.client_secret_key is not None:
        return derive_signing_key(settings.client_secret_key.get_secret_value().encode())
    return derive_signing_key(keys.material() if keys else os.urandom(32))


def _origin_rules(settings: Settings, keys: ApiKeys) -> OriginRules:
    """Who may come in from where. Raises ValueError where the settings would let everybody in."""
    rules = OriginRules(
        credentials=bool(keys),
        allowed_origins=frozenset(settings.allowed_origins),
        proxies=read_proxies(settings.trusted_proxies),
        require_tls=settings.require_tls,
    )
    check_bind(settings.host, rules)
    return rules


async def _take_over_from_the_dead(boots: Boots, store: Store, recorder: Recorder, keeper: StateKeeper) -> None:
    """Bring the records and recordings of servers that died to their end."""
    dead = boots.take_dead()
    lost = await recover(store, boots, [folder / "state" for folder in dead], keeper.save)
    await recorder.adopt(store, dead)
    await recorder.give_up(store, lost)
    for folder in dead:
        boots.discard(folder)


async def _make_recordings(finisher: Finisher) -> None:
    """Make what waits to be made: this machine's disk may not be there at the next start."""
    with suppress(TimeoutError):
        async with asyncio.timeout(RECORDINGS_S):
            await finisher.work_off()
