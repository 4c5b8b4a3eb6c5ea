"""Which model an agent has, whether it can be called, and how: the one table of kinds.

Heavy parts (the local model's, azure-identity) are imported by `warm`, before the first call, and never during one.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from gateway.agent_files import AgentProblem
from gateway.models.endpoints import EntraTokens, azure_url, fixed, realtime_url
from gateway.models.in_process import Engine, InProcessConnector
from gateway.models.leg import ModelConnector
from gateway.models.local.dialogue import DialogueError, compile_dialogue
from gateway.models.local.engines import LocalEngines
from gateway.models.openai_realtime import Endpoint, OpenAIRealtimeConnector
from gateway.models.scripted_file import ScriptError, load_script
from gateway.models.scripted_shape import Script
from gateway.realtime.server import RealtimeServer
from gateway.settings import Settings
from sessions.agent import Agent, ModelChoice
from sessions.ports import Clock, Ids

log = logging.getLogger(__name__)

# Azure has been seen to take semantic_vad and then never to hear anybody; these fields it may not know at all.
AZURE_VOIDS = frozenset({"tracing", "prompt"})


def _scripted_server() -> Callable[..., RealtimeServer]:
    """What makes a scripted model's server; it brings numpy, which no other agent's start should wait for."""
    from gateway.models.scripted import scripted_server

    return scripted_server


class ScriptedEngine:
    """Serves one script."""

    def __init__(self, script: Script, clock: Clock, ids: Ids) -> None:
        self._script = script
        self._clock = clock
        self._ids = ids
        self._serve = _scripted_server()

    def refuses(self, attempt: int) -> int | None:
        """As the script has it."""
        return self._script.refuses(attempt)

    def server(self, emit: Callable[[bytes], None], on_drop: Callable[[], None], attempt: int) -> RealtimeServer:
        """A server that follows the script from its beginning."""
        now_ms, wall_s = self._clock.now_ms(), self._clock.wall_s()
        return self._serve(self._script, self._ids, emit, on_drop, now_ms=now_ms, wall_s=wall_s, attempt=attempt)


class ModelRegistry:
    """Knows every kind of model."""

    def __init__(self, settings: Settings, clock: Clock, ids: Ids) -> None:
        self._settings = settings
        self._clock = clock
        self._ids = ids
        self._scripts: dict[Path, tuple[int, Script]] = {}  # with the file's time of change
        self._entra: EntraTokens | None = None
        self._tls: ssl.SSLContext | None = None
        self._local = LocalEngines(settings.local, clock, ids, self._spawn)
        self._tasks: asyncio.TaskGroup | None = None

    def check(self, agent: Agent) -> None:
        """What an agent's file says of its model, beyond its form. Raises AgentProblem."""
        try:
            match agent.model.kind:
                case "scripted":
                    self._script(agent.model)
                    _scripted_server()
                case "local":
                    if agent.offline is None:
                        raise AgentProblem("offline", "an agent on local/offline needs this: the dialogue it follows")
                    compile_dialogue(agent.offline)
        except ScriptError as error:
            raise AgentProblem("model", str(error)) from error
        except OSError as error:
            raise AgentProblem("model", f"its script cannot be read: {error.strerror}") from error
        except DialogueError as error:
            raise AgentProblem(f"offline.{error.field}" if error.field else "offline", error.message) from error

    def unavailable(self, agent: Agent) -> str | None:
        """Why an agent cannot be called now, in words for anybody; None if it can."""
        settings = self._settings
        match agent.model.kind:
            case "openai" if settings.openai_api_key is None:
                return "OPENAI_API_KEY is not set"
            case "azure" if not settings.azure_openai_endpoint:
                return "AZURE_OPENAI_ENDPOINT is not set"
            case "azure" if settings.azure_openai_api_key is None and self._entra is None:
                return "AZURE_OPENAI_API_KEY is not set, and azure-identity is not loaded"
            case "local" if self._local.get(agent.version) is None:
                return self._local.problem(agent.version) or "the local model is still being loaded"
        return None

    def ready(self, agent: Agent) -> bool:
        """Whether what a version of an agent needs has been loaded. Raises AgentProblem where it cannot be."""
        match agent.model.kind:
            case "openai" | "azure":
                return self._tls is not None
            case "local" if self._local.get(agent.version) is None:
                why = self._local.problem(agent.version)
                if why is not None:
                    raise AgentProblem("model", why)
                return False
        return True

    def connector(self, agent: Agent) -> ModelConnector:
        """A connector for one call."""
        match agent.model.kind:
            case "openai":
                return OpenAIRealtimeConnector(self._openai(agent.model), self._ids)
            case "azure":
                return OpenAIRealtimeConnector(self._azure(agent.model), self._ids)
            case "scripted":
                return InProcessConnector(self._scripted(agent.model), self._clock, self._ids)
            case "local":
                return InProcessConnector(self.local_engine(agent), self._clock, self._ids)
        raise ValueError(f"there is no model of kind {agent.model.kind}")

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Run in this group what a model in this process waits for."""
        self._tasks = tasks

    def _spawn(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._tasks is not None  # no call comes before `open`
        return self._tasks.create_task(job)

    async def warm(self, agents: list[Agent]) -> dict[str, str]:
        """Load what these agents need, in threads; what could not be loaded, and why, by kind.

        What was loaded for others goes, as soon as no call uses it.
        """
        problems: dict[str, str] = {}
        kinds = {agent.model.kind for agent in agents}
        if kinds & {"openai", "azure"} and self._tls is None:  # 30 ms with the interpreter held: not during calls
            self._tls = await asyncio.to_thread(self._make_tls)
        if "azure" in kinds and self._settings.azure_openai_api_key is None and self._entra is None:
            try:
                self._entra = await asyncio.to_thread(EntraTokens, self._settings.azure_scope)
            except ImportError:
                problems["azure"] = "install patchbay[azure], or set AZURE_OPENAI_API_KEY"
        local = [agent for agent in agents if agent.model.kind == "local"]
        for agent in local:
            problem = await self._local.load(agent)
            if problem is not None:
                problems["local"] = problem
        await self._local.keep({agent.version for agent in local})
        return problems

    async def close(self) -> None:
        """Let go of what `warm` has opened."""
        if self._entra is not None:
            await self._entra.close()
        await self._local.close()

    def _make_tls(self) -> ssl.SSLContext:
        authority = self._settings.model_ca
        return ssl.create_default_context(cafile=str(authority) if authority is not None else None)

    def _openai(self, model: ModelChoice) -> Endpoint:
        key = self._settings.openai_api_key
        assert key is not None  # `unavailable` has seen to it
        url = realtime_url(self._settings.openai_base_url, model.name)
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"}
        return Endpoint(url, fixed(headers), self._tls, frozenset(), semantic_vad=True)

    def _azure(self, model: ModelChoice) -> Endpoint:
        settings = self._settings
        url = azure_url(settings.azure_openai_endpoint or "", model.name)
        key = settings.azure_openai_api_key
        if key is not None:
            headers = fixed({"api-key": key.get_secret_value()})
        else:
            assert self._entra is not None  # `unavailable` has seen to it
            headers = self._entra.headers
        return Endpoint(url, headers, self._tls, AZURE_VOIDS, semantic_vad=False)

    def local_engine(self, agent: Agent) -> Engine:
        """The embedded model with this agent's dialogue. Only once `warm` has loaded it."""
        engine: Engine | None = self._local.get(agent.version)
        assert engine is not None
        return engine

    def _scripted(self, model: ModelChoice) -> Engine:
        try:
            script = self._script(model)
        except (ScriptError, OSError) as error:
            log.warning("a script turned bad; its last good version is used", extra={"why": str(error)})
            script = self._scripts[self._settings.agents_dir / model.name][1]  # `check` has read it once
        return ScriptedEngine(script, self._clock, self._ids)

    def _script(self, model: ModelChoice) -> Script:
        """The script as its file is now. Raises ScriptError or OSError."""
        path = self._settings.agents_dir / model.name
        changed_ns = path.stat().st_mtime_ns
        known = self._scripts.get(path)
        if known is None or known[0] != changed_ns:
            known = self._scripts[path] = (changed_ns, load_script(path))
        return known[1]
