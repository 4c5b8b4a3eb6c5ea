"""Gathers the keys that a caller presses: into a message, or into the result of a tool that waits for them.

The keys are the sixteen of DTMF (ITU-T Q.23); a telephone has the first twelve.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import orjson

from sessions.agent import KeyMode, PhoneRules
from sessions.secret_keys import SecretKeys, shown

KEYS = frozenset("0123456789*#ABCD")
NO_TERMINATOR = "none"
MAX_KEYS = 64  # in one message, and in one result
MAX_COUNT = 32
MAX_ARGUMENTS = 4_096  # characters
COLLECT_KEYS = "collect_digits"  # the name of the tool
DEFAULT_WAIT_S, MIN_WAIT_S, MAX_WAIT_S = 10.0, 1.0, 60.0


class CollectEnd(StrEnum):
    """Why a tool that waits for keys has its result."""

    COUNT = "count"
    TERMINATOR = "terminator"
    TIMEOUT = "timeout"
    CALLER_SPOKE = "caller_spoke"
    CALL_ENDED = "call_ended"


@dataclass(frozen=True, slots=True)
class KeyMessage:
    """Keys that are told to the model as a message of the caller's; the last was pressed at `last_ms`."""

    keys: str = field(repr=False)
    last_ms: int


@dataclass(frozen=True, slots=True)
class Collected:
    """The keys that a tool has waited for."""

    call_id: str
    keys: str = field(repr=False)
    end: CollectEnd

    def output(self, keys: str | None = None) -> str:
        """The tool's result in JSON; `keys` stands in for the keys themselves."""
        digits = self.keys if keys is None else keys
        return orjson.dumps({"digits": digits, "ended_by": self.end.value}).decode()


Gathered: TypeAlias = KeyMessage | Collected


class BadRequest(ValueError):
    """A tool cannot wait for keys as it was asked to; the message says why, for the model."""


@dataclass(slots=True)
class Collect:
    """A tool that waits for keys. It waits `wait_ms` for each, and until `until_ms` at the latest."""

    call_id: str
    count: int | None
    terminator: str | None
    wait_ms: int
    waits_from_ms: int  # when it began to wait for the next key
    until_ms: int
    keys: str = field(default="", repr=False)

    def press(self, key: str, now_ms: int) -> CollectEnd | None:
        """Take a key. Returns why nothing more is waited for, or None."""
        if key == self.terminator:
            return CollectEnd.TERMINATOR
        self.keys += key
        self.waits_from_ms = max(self.waits_from_ms, now_ms)
        return CollectEnd.COUNT if len(self.keys) >= (self.count or MAX_KEYS) else None

    def due_ms(self, speaks_until_ms: int) -> int:
        """When it stops to wait. While the agent still speaks, the caller has all the time for the next key."""
        return min(self.until_ms, max(self.waits_from_ms, speaks_until_ms) + self.wait_ms)


class Keypad:
    """The keys of one call that were not told to anybody yet, and the tool that waits for keys, if one does.

    Without a tool, the keys up to the terminator, or up to a rest, are a message. A terminator with nothing before it
    is a message of its own: `#` may be an entry of a menu.
    """

    __slots__ = ("_gathered", "_last_ms", "_rest_ms", "_spare", "collect", "messages", "mode", "secrets", "terminator")

    def __init__(self, rules: PhoneRules | None) -> None:
        rules = rules or PhoneRules(keys=KeyMode.OFF)
        self.mode = rules.keys
        self.collect: Collect | None = None
        self.messages = KeyMessages()
        self.secrets = SecretKeys()
        self.terminator = rules.terminator  # the key that ends a message; None where only a rest does
        self._rest_ms = rules.rest_ms
        self._gathered = ""
        self._last_ms = 0
        # Callers press the terminator also after the last digit that a tool waited for. This is the terminator, and the
        # time until which it is ignored.
        self._spare: tuple[str, int] | None = None

    @property
    def gathering(self) -> bool:
        """Whether the caller is in the middle of a message."""
        return bool(self._gathered)

    def press(self, key: str, now_ms: int) -> Gathered | None:
        """Take a key. Returns what it has completed, if anything."""
        spare, self._spare = self._spare, None
        if self.collect is not None:
            return self._collected(self.collect.press(key, now_ms), now_ms)
        if spare is not None and key == spare[0] and now_ms < spare[1]:
            return None
        self._last_ms = now_ms
        if key != self.terminator:
            self._gathered += key
            return self._message() if len(self._gathered) >= MAX_KEYS else None
        self._gathered = self._gathered or key
        return self._message()

    def wait(self, collect: Collect, now_ms: int) -> Collected | None:
        """Let a tool wait for keys; those that wait to be told are its first ones. Returns its result if that is all.

        No other tool may be waiting.
        """
        assert self.collect is None
        self.collect = collect
        early, self._gathered = self._gathered, ""
        for at, key in enumerate(early, start=1):
            end = collect.press(key, now_ms)
            if end is not None:
                self._gathered = early[at:]
                if end is CollectEnd.COUNT and collect.terminator is not None:
                    self._gathered = self._gathered.removeprefix(collect.terminator)
                return self._collected(end, now_ms)
        return None

    def stop(self, end: CollectEnd, now_ms: int) -> Collected | None:
        """Stop the tool that waits. Returns its result with the keys so far; None where none waits."""
        return None if self.collect is None else self._collected(end, now_ms)

    def tool_over(self, call_id: str) -> None:
        """A tool has a result: if it waited for keys, it does so no more."""
        if self.collect is not None and self.collect.call_id == call_id:
            self.collect = None

    def on_time(self, now_ms: int, speaks_until_ms: int) -> Gathered | None:
        """Take what is complete by now, because the caller has rested. An early call is harmless."""
        if self.collect is not None and now_ms >= self.collect.due_ms(speaks_until_ms):
            return self._collected(CollectEnd.TIMEOUT, now_ms)
        return self._message() if self._gathered and now_ms >= self._last_ms + self._rest_ms else None

    def deadline_ms(self, speaks_until_ms: int) -> int | None:
        """When `on_time` has something to take. `speaks_until_ms`: when the agent's speech will have been played."""
        if self.collect is not None:
            return self.collect.due_ms(speaks_until_ms)
        return self._last_ms + self._rest_ms if self._gathered else None

    def rest(self) -> KeyMessage | None:
        """The keys that nobody was told of, as the call ends."""
        return self._message() if self._gathered else None

    def is_item(self, item_id: str, message: KeyMessage) -> None:
        """A message of keys is this item from now on: if keys are secret, they stay out of what is stored of it."""
        if self.mode is KeyMode.SECRET:
            self.secrets.keep(item_id, message.keys, shown(message.keys))

    def _message(self) -> KeyMessage:
        keys, self._gathered = self._gathered, ""
        return KeyMessage(keys, self._last_ms)

    def _collected(self, end: CollectEnd | None, now_ms: int) -> Collected | None:
        collect = self.collect
        if collect is None or end is None:
            return None
        self.collect = None
        if end is CollectEnd.COUNT and collect.terminator is not None:
            self._spare = (collect.terminator, now_ms + self._rest_ms)
        result = Collected(collect.call_id, collect.keys, end)
        if self.mode is KeyMode.SECRET:
            self.secrets.keep(result.call_id, result.keys, result.output(shown(result.keys)))
        return result


class KeyMessages:
    """Follows the messages of keys until the model has taken them: an answer that began before does not know them."""

    __slots__ = ("_untaken", "known")

    def __init__(self) -> None:
        self._untaken: set[str] = set()
        self.known = True  # to the response that began last

    def told(self, item_id: str) -> None:
        """A message was sent to the model."""
        self._untaken.add(item_id)

    def taken(self, item_id: str) -> None:
        """The model has taken this item, or has refused it; it may be any item."""
        self._untaken.discard(item_id)

    def response_begins(self) -> None:
        """A response begins."""
        self.known = not self._untaken

    def leg_lost(self) -> None:
        """The model's leg is lost: the next one is told all messages before it is asked for an answer."""
        self._untaken.clear()


def read_request(call_id: str, arguments: str, terminator: str | None, limit_ms: int, now_ms: int) -> Collect:
    """The tool call that waits for keys, from its arguments in JSON. Raises BadRequest.

    `terminator` applies where the model names none. It all takes `limit_ms` at most.
    """
    if len(arguments) > MAX_ARGUMENTS:
        raise BadRequest("The arguments are too long.")
    try:
        given = orjson.loads(arguments) if arguments.strip() else {}
    except orjson.JSONDecodeError as error:
        raise BadRequest("The arguments are not valid JSON.") from error
    if not isinstance(given, dict):
        raise BadRequest("The arguments must be a JSON object.")
    count = _number(given.get("count"), "count", 1, MAX_COUNT)
    if count is not None and count != int(count):
        raise BadRequest("count must be a whole number.")
    named = given.get("terminator")
    if named is not None:
        if named not in ("#", "*", "", NO_TERMINATOR):
            raise BadRequest('terminator must be "#", "*" or "none".')
        terminator = named if named in ("#", "*") else None
    wait_s = _number(given.get("timeout"), "timeout", MIN_WAIT_S, MAX_WAIT_S)
    wait_ms = round((DEFAULT_WAIT_S if wait_s is None else wait_s) * 1000)
    return Collect(call_id, None if count is None else int(count), terminator, wait_ms, now_ms, now_ms + limit_ms)


def _number(value: object, name: str, least: float, most: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadRequest(f"{name} must be a number from {least:g} to {most:g}.")
    return value
