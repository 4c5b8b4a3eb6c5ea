"""Short names for a call's events, and a driver that takes a `Call` through time.

The driver fails where a deadline stays in the past, which would keep the loop busy."""

from __future__ import annotations

import array
import math
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from audio.formats import PCM16_8K, AudioFrame
from sessions.agent import ToolRule
from sessions.call import Call
from sessions.commands import Command, RequestResponse, SaveTurn, Seed
from sessions.events import (
    AgentAudio,
    AgentText,
    CallerAudio,
    CallerPassed,
    CallerText,
    CallerTranscribed,
    CallerTurnTaken,
    CallEvent,
    CancelWanted,
    ClientToolAnswered,
    DeleteWanted,
    HungUp,
    ItemDeleted,
    ItemStarted,
    ItemTaken,
    ItemWritten,
    ModelLost,
    ModelPassed,
    ModelReady,
    ModelRefused,
    PlaybackReported,
    ResponseEnded,
    ResponseStarted,
    ResponseWanted,
    SpeechEnded,
    SpeechStarted,
    ToolFinished,
    ToolOutputTaken,
    ToolWanted,
)
from sessions.keys import COLLECT_KEYS
from sessions.past import Past, PastMessage, PastToolCall
from sessions.ports import JsonObject
from sessions.record import ToolUse, Utterance
from sessions.setup import ModelSetup, TurnPolicy
from sessions.state import CallRules
from sessions.usage import TokenUsage
from sessions.values import ItemKind, Outcome, ResponseRequest, Wire

C = TypeVar("C")
START_MS = 100_000
TOOLS = {
    "find": ToolRule("bookings", "find"),
    "book": ToolRule("bookings", "book"),
    "slow": ToolRule("bookings", "slow", stop_on_barge_in=True),
    "hang_up": ToolRule(None, "hang_up"),
    COLLECT_KEYS: ToolRule(None, COLLECT_KEYS, 120_000),  # run by the call itself, if its caller has keys
}


class CountingIds:
    """Ids that count up."""

    def __init__(self) -> None:
        self._made = 0

    def new(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}_{self._made}"


def model_setup(
    *,
    answers: bool = True,
    interrupts: bool = True,
    duplex: bool = False,
    text_only: bool = False,
    client_tools: frozenset[str] | None = None,
) -> ModelSetup:
    if duplex:
        policy = TurnPolicy.DUPLEX
    elif answers:
        policy = TurnPolicy.MODEL_INTERRUPTS if interrupts else TurnPolicy.MODEL
    else:
        policy = TurnPolicy.CLIENT_ASKS if interrupts else TurnPolicy.CLIENT
    return ModelSetup({}, PCM16_8K, PCM16_8K, text_only, policy, client_tools)


def call_rules(**changes: Any) -> CallRules:
    given: dict[str, Any] = {
        "server_tools": TOOLS,
        "greeting": None,
        "client_plays": True,
        "length_ms": 3_600_000,
        "idle_ms": None,
    }
    return CallRules(**{**given, **changes})


class Driver:
    """One call, its clock, and all its commands so far. The model's leg is open unless `ready` is False.

    With `wires` False the events of the caller carry no message, as those of another dialect's leg do.
    """

    def __init__(
        self, *, setup: ModelSetup | None = None, ready: bool = True, wires: bool = True, **rules: Any
    ) -> None:
        self._wires = wires
        self.now_ms = START_MS
        self.setup = setup or model_setup()
        self.call = Call(call_rules(**rules), self.setup, CountingIds(), self.now_ms)
        self.commands: list[Command] = list(self.call.start(self.now_ms))
        if ready:
            self(ModelReady())

    def __call__(self, *events: CallEvent) -> list[Command]:
        """Hand these events in now. Returns the commands that follow."""
        out = [command for event in events for command in self._take(event)]
        self.commands += out
        return out

    def _take(self, event: CallEvent) -> list[Command]:
        return self.call.on_event(event if self._wires else without_wire(event), self.now_ms)

    def wait(self, ms: int) -> list[Command]:
        """Let so much time pass, with the call's own deadlines on the way."""
        out: list[Command] = []
        until_ms = self.now_ms + ms
        while (due_ms := self.call.deadline_ms) is not None and due_ms <= until_ms:
            self.now_ms = max(self.now_ms, due_ms)
            out += self.call.on_time(self.now_ms)
            after_ms = self.call.deadline_ms
            assert after_ms is None or after_ms > self.now_ms, "a deadline that does not move on keeps the loop busy"
        self.now_ms = until_ms
        self.commands += out
        return out

    def speak(self, ms: int, *, loud: bool = True, step_ms: int = 20) -> None:
        """The caller makes sound, in real time."""
        for _ in range(0, ms, step_ms):
            self.wait(step_ms)
            self(caller_audio(step_ms, loud=loud))

    @property
    def said(self) -> list[tuple[str, str]]:
        """The record so far: the speaker and what the other side heard; for a tool its name and its output."""
        return [
            (entry.name, entry.output or "") if isinstance(entry, ToolUse) else (entry.speaker.value, entry.heard_text)
            for turn in self.call.turns
            for entry in turn.entries
        ]

    def item(self, item_id: str) -> Utterance:
        """One utterance of the record."""
        entries = [entry for turn in self.call.turns for entry in turn.entries if isinstance(entry, Utterance)]
        return next(entry for entry in entries if entry.item_id == item_id)


def of(kind: type[C], commands: Iterable[Command]) -> list[C]:
    """The commands of one kind."""
    return [command for command in commands if isinstance(command, kind)]


def seeded(call: Driver) -> list[Past]:
    """The past that new legs of the model were given."""
    return [past for seed in of(Seed, call.commands) for past in seed.past]


def asked(commands: Iterable[Command]) -> list[ResponseRequest]:
    """The responses that were requested."""
    return [command.request for command in of(RequestResponse, commands)]


def kinds(commands: Iterable[Command]) -> list[str]:
    """The names of the commands, without `Relay`, which follows from most events of the model."""
    return [type(command).__name__ for command in commands if type(command).__name__ != "Relay"]


def saved(commands: Iterable[Command]) -> list[int]:
    """The turns that were written."""
    return [command.index for command in of(SaveTurn, commands)]


def without_wire(event: CallEvent) -> CallEvent:
    """What a caller's leg of another dialect gives in this event's place."""
    if isinstance(event, ResponseWanted):
        return replace(event, request=replace(event.request, wire=None))
    carries = isinstance(getattr(event, "wire", None), Wire) and not isinstance(event, CallerPassed | ModelPassed)
    return replace(event, wire=None) if carries else event  # type: ignore[arg-type]


# ---- sound


@cache
def pcm(ms: int, loud: bool) -> bytes:
    """A tone, or silence, at 8000 Hz."""
    if not loud:
        return bytes(ms * 16)
    return array.array("h", (int(8000 * math.sin(n * 2 * math.pi / 16)) for n in range(ms * 8))).tobytes()


def frame(ms: int, *, loud: bool = True, start_sample: int = 0) -> AudioFrame:
    return AudioFrame(pcm(ms, loud), PCM16_8K, start_sample)


# ---- the caller's events


def wire(text: str) -> Wire:
    return Wire("realtime", text.encode(), {"type": text})


def caller_audio(ms: int = 20, *, loud: bool = True, start_sample: int = 0) -> CallerAudio:
    return CallerAudio(frame(ms, loud=loud, start_sample=start_sample), None)


def typed(item_id: str = "text_1", text: str = "hello", images: int = 0, *, spoken: bool = False) -> CallerText:
    return CallerText(item_id, text, images, spoken, f"create {item_id}", None, wire(item_id))


def wrote(item_id: str, text: str = "Good evening.", role: str = "assistant") -> ItemWritten:
    """A message that the client adds in the agent's name."""
    return ItemWritten(PastMessage(item_id, role, text), f"create {item_id}", None, wire(item_id))


def wrote_call(item_id: str, call_id: str) -> ItemWritten:
    """A function call of an earlier conversation, which the client adds."""
    call = PastToolCall(item_id, call_id, "weather", "{}", None)
    return ItemWritten(call, f"create {item_id}", None, wire(f"call:{item_id}"))


def wants_gone(item_id: str) -> DeleteWanted:
    return DeleteWanted(item_id, f"delete {item_id}", None, wire(f"delete:{item_id}"))


def create(name: str = "create_1", *, metadata: JsonObject | None = None, out_of_band: bool = False) -> ResponseWanted:
    """A client's `response.create` with this event id."""
    return ResponseWanted(ResponseRequest(name, out_of_band, metadata, None, wire(name)), name)


def cancel(response_id: str | None = None) -> CancelWanted:
    return CancelWanted(response_id, "cancel_1", wire("cancel_1"))


def truncated(item_id: str, heard_ms: int) -> PlaybackReported:
    return PlaybackReported(item_id, heard_ms, wire("truncate_1"))


def answered(call_id: str, output: str = "yes") -> ClientToolAnswered:
    return ClientToolAnswered(call_id, output, wire(f"output:{call_id}"))


def hung_up() -> HungUp:
    return HungUp("caller_hung_up")


# ---- the model's events


def hears(item_id: str = "item_1") -> SpeechStarted:
    return SpeechStarted(item_id, 0, None)


def heard(item_id: str = "item_1") -> SpeechEnded:
    return SpeechEnded(item_id, 0, None)


def taken(item_id: str = "item_1") -> CallerTurnTaken:
    return CallerTurnTaken(item_id, None)


def transcript(item_id: str = "item_1", text: str = "a table for two", *, final: bool = True) -> CallerTranscribed:
    return CallerTranscribed(item_id, text, final, None)


def begins(
    response_id: str = "resp_1", *, metadata: JsonObject | None = None, out_of_band: bool = False
) -> ResponseStarted:
    return ResponseStarted(response_id, out_of_band, metadata, None)


def item(response_id: str = "resp_1", item_id: str = "agent_1") -> ItemStarted:
    return ItemStarted(response_id, item_id, ItemKind.MESSAGE, None, None, None)


def says(
    text: str, ms: int, response_id: str = "resp_1", item_id: str = "agent_1"
) -> tuple[ItemStarted, AgentText, AgentAudio]:
    """A whole spoken item: its start, its words, its sound."""
    words = AgentText(response_id, item_id, text, True, None)
    return item(response_id, item_id), words, sounds(ms, response_id, item_id)


def writes(text: str, response_id: str = "resp_1", item_id: str = "agent_1") -> tuple[ItemStarted, AgentText]:
    return item(response_id, item_id), AgentText(response_id, item_id, text, False, None)


def sounds(ms: int, response_id: str = "resp_1", item_id: str = "agent_1", *, loud: bool = True) -> AgentAudio:
    return AgentAudio(response_id, item_id, frame(ms, loud=loud), None)


def ends(
    response_id: str = "resp_1", outcome: Outcome = Outcome.COMPLETED, usage: TokenUsage | None = None
) -> ResponseEnded:
    return ResponseEnded(response_id, outcome, None, usage, None)


def wants(name: str, call_id: str = "call_1", response_id: str = "resp_1") -> ToolWanted:
    """The model calls a function; those in `TOOLS` are the gateway's, all others the client's."""
    return ToolWanted(response_id, f"item_of_{call_id}", call_id, name, "{}", None)


def takes(call_id: str = "call_1") -> ToolOutputTaken:
    return ToolOutputTaken(call_id, None)


def holds(item_id: str = "text_1") -> ItemTaken:
    """The model has taken a message of the caller's."""
    return ItemTaken(item_id, wire(f"added:{item_id}"))


def deletes(item_id: str = "text_1") -> ItemDeleted:
    return ItemDeleted(item_id, wire(f"deleted:{item_id}"))


def refuses(event_id: str | None, code: str = "conversation_already_has_active_response") -> ModelRefused:
    return ModelRefused(code, "no", event_id, None)


def lost(*, retryable: bool = True) -> ModelLost:
    return ModelLost("connection reset", retryable)


# ---- the tools' events


def finished(call_id: str = "call_1", output: str = "done", *, hang_up: bool = False) -> ToolFinished:
    return ToolFinished(call_id, output, None, hang_up)


def failed(call_id: str = "call_1") -> ToolFinished:
    return ToolFinished(call_id, "it did not work", "tool_execution_error", False)
