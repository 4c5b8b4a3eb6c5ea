"""Tracks what the agent is still doing, so that the caller knows when to speak."""

from __future__ import annotations

from typing import Any

from gateway.softphone.playback import Playback

# The quiet time after an answer before the next turn begins, because another answer may follow at once.
SETTLED_MS = 400
# A greeting must begin within this time from the call's start.
GREETING_MS = 1500


class AgentActivity:
    """Tells from the agent's events whether it has nothing more to say or to do. Times in ms."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        # The responses and the tools that are running.
        self._responses: set[str] = set()
        self._tools: set[str] = set()
        # The agent has detected speech and has not begun to answer.
        self._caller_heard = False
        self._quiet_since_ms = 0
        self.answers = 0  # completed responses that did more than call tools

    def caller_heard(self) -> None:
        """Note that the agent has detected the caller's speech, so an answer will follow."""
        self._caller_heard = True

    def response_begins(self, response_id: str) -> None:
        """Note that the agent has begun to answer."""
        self._caller_heard = False
        self._responses.add(response_id)

    def response_ended(self, response: dict[str, Any], now_ms: int) -> None:
        """Note that a response has ended. One that only called tools is followed by the actual answer."""
        self._responses.discard(response["id"])
        self._quiet_since_ms = now_ms
        kinds = {item.get("type") for item in response.get("output") or ()}
        if "mcp_call" not in kinds or "message" in kinds:
            self.answers += 1

    def tool_begins(self, item_id: str) -> None:
        """Note that a tool runs on the server."""
        self._tools.add(item_id)

    def tool_ended(self, item_id: str, now_ms: int) -> None:
        """Note that a tool has ended; a response about its result may follow."""
        self._tools.discard(item_id)
        self._quiet_since_ms = now_ms

    def greeted(self, now_ms: int) -> bool:
        """Whether the greeting is over, or none has begun within `GREETING_MS`."""
        if self.answers == 0 and not self._responses:
            return now_ms > GREETING_MS
        return self.finished(0, now_ms)

    def finished(self, answered: int, now_ms: int) -> bool:
        """Whether there are more than `answered` answers, nothing runs, and it was quiet for `SETTLED_MS`."""
        if self.answers <= answered or self._responses or self._tools or self._caller_heard:
            return False
        return now_ms - max(self._quiet_since_ms, round(self._playback.until_ms)) >= SETTLED_MS
