"""Whose turn it is to speak: what the agent still has under way, as its events tell it."""

from __future__ import annotations

from typing import Any

from gateway.phone.playback import Playback

SETTLED_MS = 400  # of quiet after an answer, before the next turn: another answer may follow at once
GREETING_MS = 1500  # from the call's start, in which a greeting must have begun


class Floor:
    """Tells when the agent has nothing more to say or to do, so that the caller may begin a turn. Times in ms."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._responses: set[str] = set()  # under way, as are the tools
        self._tools: set[str] = set()
        self._caller_heard = False  # the agent hears the caller, or has heard and not yet begun to answer
        self._quiet_since_ms = 0
        self.answers = 0  # responses that are over and called no tool

    def caller_heard(self) -> None:
        """The agent noticed that the caller speaks; an answer is to be expected."""
        self._caller_heard = True

    def response_begins(self, response_id: str) -> None:
        """The agent has begun to answer."""
        self._caller_heard = False
        self._responses.add(response_id)

    def response_over(self, response: dict[str, Any], now_ms: int) -> None:
        """A response is done, however it came out; one that only called tools is followed by the answer proper."""
        self._responses.discard(response["id"])
        self._quiet_since_ms = now_ms
        kinds = {item.get("type") for item in response.get("output") or ()}
        if "mcp_call" not in kinds or "message" in kinds:
            self.answers += 1

    def tool_begins(self, item_id: str) -> None:
        """A tool runs at the server."""
        self._tools.add(item_id)

    def tool_over(self, item_id: str, now_ms: int) -> None:
        """A tool has an outcome; a response about it may follow."""
        self._tools.discard(item_id)
        self._quiet_since_ms = now_ms

    def greeted(self, now_ms: int) -> bool:
        """The greeting is over, or none has come in the first second and a half."""
        if self.answers == 0 and not self._responses:
            return now_ms > GREETING_MS
        return self.finished(0, now_ms)

    def finished(self, answered: int, now_ms: int) -> bool:
        """More answers than `answered` have been given, nothing is under way, and all has sounded for a while."""
        if self.answers <= answered or self._responses or self._tools or self._caller_heard:
            return False
        return now_ms - max(self._quiet_since_ms, round(self._playback.until_ms)) >= SETTLED_MS
