"""The table of model kinds: checks an agent's model, says whether it can be called, and makes its connector.

Heavy parts (the local model's, azure-identity) are imported by `warm` before the first call, and never during a call.
"""

from __future__ import annotations

from collections.abc import Callable

from audio.formats import AudioFormat
from gateway.agents.files import AgentProblem
from gateway.config.settings import Settings
from gateway.legs.model import ModelConnector
from gateway.models.in_process import Engine, InProcessConnector
from gateway.models.local.engines import LocalEngines
from gateway.models.realtime.endpoints import host_of
from gateway.models.realtime.leg import OpenAIRealtimeConnector
from gateway.models.realtime.services import RemoteModels
from gateway.models.scripted.file import ScriptError
from gateway.models.scripted.library import ScriptLibrary
from gateway.models.scripted.shape import Script
from gateway.realtime.server.server import RealtimeServer
from gateway.realtime.wire_formats import REALTIME_FORMATS
from sessions.accounts import ModelTarget
from sessions.agent import Agent
from sessions.ports import Clock, Ids, JsonObject

# The name of the only local model.
LOCAL_MODEL = "offline"


def _scripted_server() -> Callable[..., RealtimeServer]:
    """The function that makes a scripted model's server.

    It is imported here because it imports numpy, and the start of other agents should not wait for that.
    """
    from gateway.models.scripted.brain import scripted_server

    return scripted_server


def _check_dialogue(offline: JsonObject) -> None:
    """Check a dialogue. Raises AgentProblem.

    The reader of dialogues is imported here: the start of other agents should not wait for that.
    """
    from gateway.models.local.dialogue.dialogue import DialogueError, compile_dialogue

    try:
        compile_dialogue(offline)
    except DialogueError as error:
        raise AgentProblem(f"offline.{error.field}" if error.field else "offline", error.message) from error


class ScriptedEngine:
    """Makes the servers of one script."""

    def __init__(self, script: Script, clock: Clock, ids: Ids) -> None:
        self._script = script
        self._clock = clock
        self._ids = ids
        self._serve = _scripted_server()

    def refuses(self, attempt: int) -> int | None:
        """The HTTP status with which the script refuses this dial, counted from 0; None if it accepts the dial."""
        return self._script.refuses(attempt)

    def server(self, emit: Callable[[bytes], None], on_drop: Callable[[], None], attempt: int) -> RealtimeServer:
        """A server that follows the script from its beginning."""
        now_ms, wall_s = self._clock.now_ms(), self._clock.wall_s()
        return self._serve(self._script, self._ids, emit, on_drop, now_ms=now_ms, wall_s=wall_s, attempt=attempt)


class ModelRegistry:
    """Checks, prepares and connects the models of agents, whatever their kind."""

    def __init__(self, settings: Settings, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids
        self._remote = RemoteModels(settings)
        self._scripts = ScriptLibrary(settings.agents_dir)
        self._local = LocalEngines(settings.local, clock, ids)

    def check(self, agent: Agent) -> None:
        """Check what an agent's file says about its model, beyond the file's form. Raises AgentProblem."""
        try:
            match agent.model.kind:
                case "scripted":
                    self._scripts.read(agent.model.name)
                    _scripted_server()
                case "local":
                    if agent.model.name != LOCAL_MODEL:
                        problem = f"there is no local/{agent.model.name}; the embedded model is local/{LOCAL_MODEL}"
                        raise AgentProblem("model", problem)
                    if agent.offline is None:
                        raise AgentProblem(
                            "offline", "an agent on local/offline needs this field: the dialogue that it follows"
                        )
                    _check_dialogue(agent.offline)
        except ScriptError as error:
            raise AgentProblem("model", str(error)) from error
        except OSError as error:
            raise AgentProblem("model", f"its script cannot be read: {error.strerror}") from error

    def unavailable(self, agent: Agent) -> str | None:
        """Why an agent cannot be called now, in words that anybody may see; None if it can be called."""
        match agent.model.kind:
            case "openai" | "azure":
                return self._remote.missing(agent.model.kind)
            case "local" if self._local.get(agent.version) is None:
                return self._local.problem(agent.version) or "the local model is still being loaded"
        return None

    def ready(self, agent: Agent) -> bool:
        """Whether what this version of an agent needs is loaded. Raises AgentProblem if it cannot be loaded."""
        match agent.model.kind:
            case "openai" | "azure":
                return self._remote.ready
            case "local" if self._local.get(agent.version) is None:
                why = self._local.problem(agent.version)
                if why is not None:
                    raise AgentProblem("model", why)
                return False
        return True

    def formats(self, agent: Agent) -> tuple[AudioFormat, ...]:
        """The formats of sound that an agent's model takes, and gives."""
        match agent.model.kind:
            case "openai" | "azure" | "scripted" | "local":
                return REALTIME_FORMATS
        raise ValueError(f"there is no model of kind {agent.model.kind}")

    def target(self, agent: Agent) -> ModelTarget:
        """The model that an agent's calls are dialled to. Only call this for an agent that can be called."""
        name = str(agent.model)
        if agent.model.kind not in ("openai", "azure"):
            return ModelTarget(name)
        host, port = host_of(self._remote.endpoint(agent.model).url)
        return ModelTarget(name, host, port)

    def connector(self, agent: Agent) -> ModelConnector:
        """A connector for one call."""
        match agent.model.kind:
            case "openai" | "azure":
                return OpenAIRealtimeConnector(self._remote.endpoint(agent.model), self._ids)
            case "scripted":
                script = self._scripts.for_call(agent.model.name)
                return InProcessConnector(ScriptedEngine(script, self._clock, self._ids), self._clock, self._ids)
            case "local":
                return InProcessConnector(self.local_engine(agent), self._clock, self._ids)
        raise ValueError(f"there is no model of kind {agent.model.kind}")

    def local_engine(self, agent: Agent) -> Engine:
        """The embedded model with this agent's dialogue. Only once `warm` has loaded it."""
        engine: Engine | None = self._local.get(agent.version)
        assert engine is not None
        return engine

    async def look(self, agents: list[Agent]) -> None:
        """Read again, in threads, those scripts of these agents whose files have changed."""
        await self._scripts.look({agent.model.name for agent in agents if agent.model.kind == "scripted"})

    async def warm(self, agents: list[Agent]) -> dict[str, str]:
        """Load in threads what these agents need. Returns the problems by kind of model, empty if all is loaded.

        What was loaded for other agents is unloaded as soon as no call uses it.
        """
        problems = await self._remote.warm({agent.model.kind for agent in agents})
        local = [agent for agent in agents if agent.model.kind == "local"]
        for agent in local:
            problem = await self._local.load(agent)
            if problem is not None:
                problems["local"] = problem
        await self._local.keep({agent.version for agent in local})
        return problems

    async def close(self) -> None:
        """Close what `warm` has opened."""
        await self._remote.close()
        await self._local.close()
