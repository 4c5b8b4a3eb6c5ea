"""A session's settings on their way to a model: asked, agreed to, or asked again without what it does not take."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from audio.formats import PCM16_24K
from gateway.models.realtime_tools import refused_tool, without_tools
from gateway.models.realtime_writing import Writer, holds, with_server_vad, without
from sessions.commands import Configure
from sessions.events import ModelRefused
from sessions.ports import Json, JsonObject
from sessions.problems import ModelProblem
from sessions.remembering import remember

log = logging.getLogger(__name__)

MAX_RETRIES = 8  # of one leg, each without one thing more
MAX_ASKED = 16  # changes of the session that the model has not answered


class ModelSettings:
    """What one leg's session was asked to be, and whether the model has agreed."""

    __slots__ = (
        "_asked",
        "_refused",
        "_refused_tools",
        "_semantic_vad",
        "_session",
        "_voids",
        "_write",
        "asked_format",
        "ready",
        "retry",
    )

    def __init__(self, write: Writer, *, voids: frozenset[str], semantic_vad: bool) -> None:
        """`voids`: session fields that this service does not take. `semantic_vad` False: nor that turn detection."""
        self._write = write
        self._voids = voids
        self._semantic_vad = semantic_vad
        self._asked: dict[str, JsonObject] = {}  # sessions that are not answered, by the event that asks; oldest first
        self._session: JsonObject = {}
        self._refused: list[list[str]] = []  # paths in the session that the service turned out not to take
        self._refused_tools: list[Json] = []  # likewise, whole: one that is declared anew may be another
        self.asked_format = PCM16_24K
        self.ready = False  # the model has agreed at least once
        self.retry: bytes | None = None  # a message to send now: the settings, less what was refused

    def ask(self, command: Configure) -> bytes:
        """The message that asks for these settings."""
        setup = command.setup
        self.asked_format = setup.output_format
        session = {key: value for key, value in setup.session.items() if key not in self._voids and key != "model"}
        self._session = session if self._semantic_vad else with_server_vad(session)
        if self._session is not session and not self.ready:
            log.warning("this model is not asked for semantic_vad, which it takes and then hears nobody by")
        return self._written()

    def agreed(self) -> bool:
        """The model confirms its session; whether that answers what was asked."""
        if not self._asked:
            return False
        del self._asked[next(iter(self._asked))]
        self.ready = True
        return True

    def asked(self, event: ModelRefused) -> ModelRefused | None:
        """A refusal of what was asked, under the name of what asked it; None for any other.

        One that names no event is of the session if the field that it names is one of a session's.
        """
        if event.event_id is not None:
            return event if event.event_id in self._asked else None
        param = _param(event)
        if not self._asked or param is None or param.partition("[")[0].partition(".")[0] not in ("session", "tools"):
            return None
        return replace(event, event_id=next(iter(self._asked)))

    def without_refused(self, event: ModelRefused) -> str | None:
        """Ask once more without what was refused, in `retry`: a `field`, or a `tool`. None: it stays refused."""
        session = self._asked.pop(event.event_id or "")
        if len(self._refused) + len(self._refused_tools) >= MAX_RETRIES:
            return None
        given_up = self._give_up(event, session)
        if given_up is not None and not self._asked:  # else what was asked since will be answered by itself
            self.retry = self._written()
        return given_up

    def _give_up(self, event: ModelRefused, session: JsonObject) -> str | None:
        """What can be done without, which is not asked for again."""
        param = _param(event) or ""
        problem = event.problem or ModelProblem("other", None)
        told = {"code": problem.code, "type": problem.type}
        tool = refused_tool(session, param)
        if tool is not None:
            name = tool.get("name") or tool.get("server_label")
            log.warning("the model refuses a tool, and is asked without it", extra={"tool": name, **told})
            if tool not in self._refused_tools:
                self._refused_tools.append(tool)
            return "tool"
        path = param.removeprefix("session.").split(".")
        if event.code != "unknown_parameter" or not holds(session, path):
            return None
        log.warning("the model does not take a session field", extra={"field": ".".join(path), **told})
        self._refused.append(path)
        return "field"

    def _written(self) -> bytes:
        for path in self._refused:
            self._session = without(self._session, path)
        self._session = without_tools(self._session, self._refused_tools)
        asked_id, message = self._write.session_update(self._session)
        remember(self._asked, asked_id, self._session, MAX_ASKED)
        return message


def _param(event: ModelRefused) -> str | None:
    """The field that a refusal names."""
    error = event.wire.parsed.get("error") if event.wire is not None else None
    param = error.get("param") if isinstance(error, Mapping) else None
    return param if isinstance(param, str) and param else None
