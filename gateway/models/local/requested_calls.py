"""Separates the tool calls in a chat endpoint's stream, however the service numbers them.

OpenAI numbers parallel calls by `index`, sends each call's id and name once, and its arguments in parts. Compatible
services send the index 0 for all calls, or null, or no index; repeat the name in each part; or send the arguments as
an object.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gateway.models.local.answer_fault import AnswerFault
from gateway.models.local.arguments import dumped, object_of
from gateway.models.local.dialogue.answerer import RequestedCall
from sessions.ports import Json
from sessions.text import well_formed

MOST_CALLS = 32  # of one answer
MOST_ARGUMENT_CHARS = 64 * 1024  # of all calls of an answer; a tool accepts at most 16 KiB


@dataclass(slots=True)
class _Call:
    """One call, as far as it has been received."""

    delta: int  # the number of the delta in which the call began
    id: str = ""
    name: str = ""
    arguments: str = ""

    @property
    def complete(self) -> bool:
        """Whether the arguments are a complete JSON object."""
        return object_of(self.arguments) is not None


class RequestedCalls:
    """Collects the tool calls of one answer."""

    def __init__(self, tools: Collection[str]) -> None:
        """`tools`: the names of the tools in the request."""
        self._tools = tools
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_slot: dict[int, _Call] = {}  # the last call that began with this index, or at this place in the list
        self._deltas = 0
        self._chars = 0

    def take(self, entries: Json) -> None:
        """Take a delta's `tool_calls`. Raises AnswerFault where they are not a list of calls."""
        if entries is None:
            return
        if isinstance(entries, dict):  # a single call
            entries = [entries]
        if not isinstance(entries, list):
            raise AnswerFault("tool_calls is not a list")
        self._deltas += 1
        for place, entry in enumerate(entries):
            if isinstance(entry, dict):
                self._take_entry(entry, place)
            elif entry is not None:  # null entries are skipped
                raise AnswerFault("an entry of tool_calls is not an object")

    def requested(self, *, cut: bool) -> list[RequestedCall]:
        """The calls in the order in which they began. `cut`: the answer broke off, so incomplete calls are left out."""
        return [
            RequestedCall(well_formed(call.name), _clean_arguments(call.arguments), None)
            for call in self._calls
            if call.name.strip() and (call.complete or not cut)
        ]

    def _take_entry(self, entry: dict[str, Json], place: int) -> None:
        function = entry.get("function", entry if "name" in entry or "arguments" in entry else None)
        if function is None:
            function = {}
        if not isinstance(function, dict):
            raise AnswerFault("a tool call's function is not an object")
        name, arguments, given_id = function.get("name"), function.get("arguments"), entry.get("id")
        if name is not None and not isinstance(name, str):
            raise AnswerFault("a tool call's name is not a string")
        if arguments is not None and not isinstance(arguments, str | dict):
            raise AnswerFault("a tool call's arguments are neither a string nor an object")
        call_id = str(given_id) if isinstance(given_id, str | int) else ""
        text = dumped(arguments) if isinstance(arguments, dict) else arguments or ""
        call = self._call_of(_slot(entry.get("index"), place), call_id, name or "", text)
        if call is None:
            return
        self._count((name or "") + text)
        if name and name != call.name:
            call.name += name
        # Arguments sent as an object are complete; a later object for the same call replaces the earlier one.
        call.arguments = text if isinstance(arguments, dict) else call.arguments + text

    def _call_of(self, slot: int, call_id: str, name: str, arguments: str) -> _Call | None:
        """The call to which this part belongs; None: the part repeats a call that is complete."""
        call = self._by_id.get(call_id) if call_id else None
        known = call is not None
        call = call or self._by_slot.get(slot)
        if call is not None and known and name and call.complete and arguments:
            if arguments == call.arguments:
                return None
            call = None
        elif call is not None and self._begins(call, "" if known else call_id, name, arguments):
            call = None
        if call is None:
            call = self._begun()
        if call_id:
            call.id = call.id or call_id
            self._by_id[call_id] = call
        self._by_slot[slot] = call
        return call

    def _begins(self, call: _Call, new_id: str, name: str, arguments: str) -> bool:
        """Whether a part with a known index, or a known id, begins a new call."""
        if new_id and call.id:
            # Some services give each part of one call a different id; the later parts have no name.
            return bool(name) or not arguments
        if not name or not call.name:
            return False
        if call.name + name in self._tools:  # the name arrives in parts
            return False
        if name == call.name:  # the service repeats the name in each part, or this is another call of the same tool
            return not call.id and (call.complete or call.delta == self._deltas)
        return bool(call.arguments) or call.delta == self._deltas or name in self._tools

    def _begun(self) -> _Call:
        if len(self._calls) >= MOST_CALLS:
            raise AnswerFault("the answer has more tool calls than the limit")
        call = _Call(self._deltas)
        self._calls.append(call)
        return call

    def _count(self, text: str) -> None:
        self._chars += len(text)
        if self._chars > MOST_ARGUMENT_CHARS:
            raise AnswerFault("the arguments of the answer's tool calls are too long")


def _slot(index: Json, place: int) -> int:
    if isinstance(index, int) and not isinstance(index, bool):
        return index
    if isinstance(index, str) and index.isdecimal() and len(index) < 9:
        return int(index)
    return place


def _clean_arguments(arguments: str) -> str:
    """The arguments without halves of surrogate pairs, as characters or as escapes; empty arguments become `{}`."""
    if not arguments.strip():
        return "{}"
    if "\\u" in arguments and (found := object_of(arguments)) is not None:
        arguments = dumped(found)
    return well_formed(arguments)
