"""A session's settings on their way to a model: asked, agreed to, or asked again without what it does not take."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from audio.formats import PCM16_24K
from gateway.models.realtime_writing import Writer, holds, with_server_vad, without
from sessions.commands import Configure
from sessions.events import ModelRefused
from sessions.ports import JsonObject

log = logging.getLogger(__name__)

MAX_RETRIES = 8


class ModelSettings:
    """What one leg's session was asked to be, and whether the model has agreed."""

    __slots__ = (
        "_asked_id",
        "_refused",
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
        self._asked_id: str | None = None  # the event that sets the session up, until it is answered
        self._session: JsonObject = {}
        self._refused: list[list[str]] = []  # paths in the session that the service turned out not to take
        self.asked_format = PCM16_24K
        self.ready = False  # the model has agreed at least once
        self.retry: bytes | None = None  # a message to send now: the settings, less a field that was refused

    def ask(self, command: Configure) -> bytes:
        """The message that asks for these settings."""
        setup = command.setup
        self.asked_format = setup.output_format
        session = {key: value for key, value in setup.session.items() if key not in self._voids and key != "model"}
        self._session = session if self._semantic_vad else with_server_vad(session)
        if self._session is not session and not self.ready:
            log.warning("this model is not asked for semantic_vad, which it takes and then hears nobody by")
        for path in self._refused:
            self._session = without(self._session, path)
        return self._written()

    def agreed(self) -> bool:
        """The model confirms its session; whether that answers what was asked."""
        answers, self._asked_id = self._asked_id is not None, None
        self.ready = self.ready or answers
        return answers

    def asked(self, event: ModelRefused) -> bool:
        """Whether a refusal is of what was asked last."""
        return event.event_id is not None and event.event_id == self._asked_id

    def without_refused(self, event: ModelRefused) -> bool:
        """Ask once more without the field that was refused, in `retry`. False: it stays refused."""
        error = event.wire.parsed.get("error") if event.wire is not None else None
        param = error.get("param") if isinstance(error, Mapping) else None
        path = param.removeprefix("session.").split(".") if isinstance(param, str) else []
        known = event.code == "unknown_parameter" and path and holds(self._session, path)
        if not known or len(self._refused) >= MAX_RETRIES:
            self._asked_id = None
            return False
        log.warning("the model does not take a session field", extra={"field": ".".join(path)})
        self._refused.append(path)
        self._session = without(self._session, path)
        self.retry = self._written()
        return True

    def _written(self) -> bytes:
        self._asked_id, message = self._write.session_update(self._session)
        return message
