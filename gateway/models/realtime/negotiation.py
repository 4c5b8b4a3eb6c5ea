"""The negotiation of a session's settings: asked for, confirmed, or asked for again without what the model refuses."""

from __future__ import annotations

import logging
from typing import Literal

from audio.formats import PCM16_24K
from gateway.models.realtime.encode import Writer, holds, with_server_vad, without
from gateway.models.realtime.refusal import Refusal
from gateway.models.realtime.refused_tools import refused_tool, without_tools
from sessions.bounded import remember
from sessions.commands import Configure
from sessions.ports import Json, JsonObject

log = logging.getLogger(__name__)

# How often one leg asks again; each time one more field or tool is left out.
MAX_RETRIES = 8
# How many requests for settings, which the model has not answered, are remembered.
MAX_ASKED = 16


class ModelSettings:
    """The settings that one leg has asked for, and whether the model has confirmed them."""

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
        """`voids`: session fields that the service refuses. `semantic_vad` False: it has no such turn detection."""
        self._write = write
        self._voids = voids
        self._semantic_vad = semantic_vad
        # Sessions that the model has not answered, by the id of the event that asks for them; the oldest is first.
        self._asked: dict[str, JsonObject] = {}
        self._session: JsonObject = {}
        self._refused: list[list[str]] = []  # paths of session fields that the service has refused
        # Tools that the service has refused. A whole tool is kept: one that is declared anew may be another tool.
        self._refused_tools: list[Json] = []
        self.asked_format = PCM16_24K
        # Whether the model has confirmed a session.
        self.ready = False
        # A message that the leg has to send now: the settings without what was refused.
        self.retry: bytes | None = None

    def ask(self, command: Configure) -> bytes:
        """The message that asks for these settings."""
        setup = command.setup
        self.asked_format = setup.output_format
        session = {key: value for key, value in setup.session.items() if key not in self._voids and key != "model"}
        self._session = session if self._semantic_vad else with_server_vad(session)
        if self._session is not session and not self.ready:
            log.warning("semantic_vad is replaced by server_vad: this service accepts it, but then detects no speech")
        return self._written()

    def agreed(self) -> bool:
        """Note that the model confirms its session; False if it was not asked for one."""
        if not self._asked:
            return False
        del self._asked[next(iter(self._asked))]
        self.ready = True
        return True

    def request_of(self, refusal: Refusal) -> str | None:
        """The id of the request for settings that a refusal is about; None if it is about something else.

        A refusal without an event id is about the oldest request if it names a field of the session.
        """
        if refusal.event_id is not None:
            return refusal.event_id if refusal.event_id in self._asked else None
        param = refusal.param
        if not self._asked or param is None or param.partition("[")[0].partition(".")[0] not in ("session", "tools"):
            return None
        return next(iter(self._asked))

    def give_up(self, request_id: str, refusal: Refusal) -> Literal["field", "tool"] | None:
        """Leave out the field or the tool that was refused, and put the next request into `retry`.

        None if nothing can be left out: the request stays refused.
        """
        session = self._asked.pop(request_id)
        if len(self._refused) + len(self._refused_tools) >= MAX_RETRIES:
            return None
        given_up = self._leave_out(session, refusal)
        if given_up is not None and not self._asked:
            # A later request that is still open gets an answer of its own, so no retry is needed then.
            self.retry = self._written()
        return given_up

    def _leave_out(self, session: JsonObject, refusal: Refusal) -> Literal["field", "tool"] | None:
        param, problem = refusal.param or "", refusal.problem
        reported = {"code": problem.code, "type": problem.type}
        tool = refused_tool(session, param)
        if tool is not None:
            name = tool.get("name") or tool.get("server_label")
            log.warning(
                "the model refuses a tool; the session is asked for without it", extra={"tool": name, **reported}
            )
            if tool not in self._refused_tools:
                self._refused_tools.append(tool)
            return "tool"
        path = param.removeprefix("session.").split(".")
        if refusal.code != "unknown_parameter" or not holds(session, path):
            return None
        log.warning("the model does not know a session field", extra={"field": ".".join(path), **reported})
        self._refused.append(path)
        return "field"

    def _written(self) -> bytes:
        for path in self._refused:
            self._session = without(self._session, path)
        self._session = without_tools(self._session, self._refused_tools)
        asked_id, message = self._write.session_update(self._session)
        remember(self._asked, asked_id, self._session, MAX_ASKED)
        return message
