"""Watches a call from outside: all events that it takes, all commands that it gives, and the rules between them."""

from __future__ import annotations

from copy import deepcopy

from sessions.call import Call
from sessions.commands import (
    AddItem,
    AddToolOutput,
    CancelResponse,
    Command,
    DeleteItem,
    DialModel,
    EndCall,
    Play,
    Relay,
    RequestResponse,
    RunTool,
    SaveTurn,
    Seed,
    SendAudio,
    ToolEnded,
)
from sessions.events import (
    AgentAudio,
    AgentText,
    CallerAudio,
    CallerCommitted,
    CallEvent,
    CancelWanted,
    ModelLost,
    ModelReady,
    PlaybackReported,
    ResponseEnded,
    ResponseStarted,
    SpeechEnded,
    SpeechStarted,
    ToolOutputTaken,
    ToolWanted,
)
from sessions.keys import COLLECT_KEYS
from sessions.outbox import HELD_AUDIO_MS
from sessions.past import PastToolCall
from sessions.record import Heard, Speaker, Turn, Utterance
from sessions.values import Outcome

SPEECH_LIMIT_MS = 10_000  # of silence, after which a caller who is said to be speaking has stopped


class Referee:
    """Checks the rules at every step; `tools` are the names of those that the gateway runs."""

    def __init__(
        self, call: Call, tools: frozenset[str], *, interrupts: bool, orderly: bool, keys: bool = False
    ) -> None:
        self.call = call
        self.keys = keys  # the caller has some to press
        self.interrupts = interrupts  # the model stops when it hears the caller
        self.orderly = orderly  # the model's events come in order
        self.tools = tools
        self.open = False
        self.generation = 0
        self.ended = False
        self.ended_ms = 0
        self.seen: set[str] = set()  # responses
        self.over: set[str] = set()
        self.beside: set[str] = set()
        self.running: str | None = None  # the conversation's response, as the call can know
        self.asked: str | None = None
        self.speaks_since_ms: int | None = None
        self.wanted: dict[str, str] = {}  # call id -> response
        self.ran: set[str] = set()
        self.told: dict[int, list[str]] = {0: []}  # generation -> what its conversation was given: calls, items
        self.client_rounds: set[str] = set()  # responses with a client's call in them
        self.untaken: set[str] = set()
        self.seeded = False  # a call with its result was told since the last response began
        self.covered: set[str] = set()  # responses whose results need no further answer
        self.covers: dict[str, set[str]] = {}  # by the response that answered them
        self.peace = True  # no answer was ever cut short
        self.reports: dict[str, tuple[int, int]] = {}  # item -> reported, sent by then
        self.sent: dict[str, int] = {}  # item -> samples of the agent's
        self.cut: set[str] = set()  # responses that were cut short, or are over: they say nothing more
        self.client_cancels = False  # the commands follow from a cancel of the client's
        self.cut_soon: str | None = None  # a request that its client cancelled before it began
        self.sound_in: list[int] = []  # first samples of caller frames
        self.sound_out: list[int] = []
        self.saved: dict[int, Turn] = {}
        self.tools_over: set[str] = set()
        self.usage = 0  # output tokens
        self.first_ms: dict[str, int] = {}  # item -> when its first sound was sent
        self.last_ms = 0  # when the last sound was sent
        self.cut_ms: dict[str, int] = {}  # item -> when the caller spoke over it, or might have

    def happened(self, event: CallEvent, now_ms: int, out: list[Command]) -> None:
        """The call took an event and gave these commands."""
        if self.ended:
            self._only_saves(out)
            return
        self._before(event, now_ms)
        self.client_cancels = isinstance(event, CancelWanted)
        self._commands(out, now_ms)
        self._after(event, out)
        self._step(out, now_ms)

    def passed(self, now_ms: int, out: list[Command]) -> None:
        """A deadline came, and the call gave these commands."""
        if self.ended:
            self._only_saves(out)
            return
        self.client_cancels = False
        self._commands(out, now_ms)
        self._step(out, now_ms)

    # ---- what went in

    def _before(self, event: CallEvent, now_ms: int) -> None:
        match event:
            case CallerAudio():
                self.sound_in.append(event.frame.start_sample)
            case CallerCommitted():
                self.speaks_since_ms = None
            case SpeechStarted() if self.open:
                self.speaks_since_ms = now_ms
                self.peace = self.peace and self.running is None
                if self.interrupts:
                    self.cut |= self.seen - self.beside
                    self.cut_ms = {**dict.fromkeys(self.sent, now_ms), **self.cut_ms}
            case SpeechEnded() if self.open:
                self.speaks_since_ms = None
            case ResponseStarted() if self.open:
                self._started(event)
            case ResponseEnded() if self.open:
                self._ended(event)
            case ToolOutputTaken() if self.open:
                self.untaken.discard(event.call_id)
            case ModelReady():
                self.open = True
            case CancelWanted() if self.open and event.response_id is not None:
                self.cut |= {event.response_id} & self.seen
            case CancelWanted() if self.open and self.running is not None:
                self.cut.add(self.running)
            case CancelWanted() if self.open:
                self.cut_soon = self.asked
            case AgentAudio() if self.open and event.response_id not in self.cut:
                self.sent[event.item_id] = self.sent.get(event.item_id, 0) + event.frame.samples
                self.first_ms.setdefault(event.item_id, now_ms)
                self.last_ms = now_ms
            case PlaybackReported():
                if event.item_id in self.sent:
                    self.reports[event.item_id] = (event.heard_ms, self.sent[event.item_id] // 8)
            case _:
                pass

    def _started(self, event: ResponseStarted) -> None:
        if event.response_id in self.seen:
            return
        self.seen.add(event.response_id)
        if event.out_of_band:
            self.beside.add(event.response_id)
        elif event.response_id not in self.over:
            if self.cut_soon is not None and self.cut_soon == self.asked:
                self.cut.add(event.response_id)
                self.cut_soon = None
            self.running, self.asked = event.response_id, None
            seeded, self.seeded = self.seeded, False
            if not self.untaken and not seeded:
                told = self.told[self.generation]
                missing = {response for call_id, response in self.wanted.items() if call_id not in told}
                done = {response for response in self.wanted.values() if response in self.over} - missing
                self.covers[event.response_id] = done - self.covered
                self.covered |= self.covers[event.response_id]

    def _ended(self, event: ResponseEnded) -> None:
        if event.response_id not in self.over and event.usage is not None:
            self.usage += event.usage.output_text
        self.seen.add(event.response_id)
        self.over.add(event.response_id)
        self.cut.add(event.response_id)
        if event.response_id == self.running:
            self.running = None
        if event.outcome is not Outcome.COMPLETED:
            self.peace = False
            self.covered -= self.covers.pop(event.response_id, set())

    # ---- what came out

    def _commands(self, out: list[Command], now_ms: int) -> None:
        for command in out:
            match command:
                case RequestResponse() if not command.request.out_of_band:
                    self._request(command, now_ms)
                case RunTool():
                    assert command.call_id not in self.ran, "a tool was run twice"
                    self.ran.add(command.call_id)
                case AddToolOutput():
                    self._tell(command.call_id)
                    if command.call_id in self.ran:
                        self.untaken.add(command.call_id)
                case Seed():
                    self.seeded = True
                    for past in command.past:
                        self._tell(past.call_id if isinstance(past, PastToolCall) else past.item_id)
                case AddItem():
                    call = isinstance(command.entry, PastToolCall)
                    self._tell(f"call:{command.entry.item_id}" if call else command.entry.item_id)
                case DeleteItem():
                    self._tell(f"delete:{command.item_id}")
                case SendAudio():
                    self.sound_out.append(command.frame.start_sample)
                case DialModel():
                    self._dialled(command)
                case Play():
                    assert command.response_id not in self.cut, "a response that was cut short was heard"
                case Relay() if isinstance(command.event, AgentText):
                    assert command.event.response_id not in self.cut, "a response that was cut short had words"
                case CancelResponse() if not self.client_cancels and command.response_id is not None:
                    self.cut.add(command.response_id)
                case ToolEnded():
                    self.tools_over.add(command.call_id)
                case EndCall():
                    assert not self.ended
                    self.ended, self.ended_ms = True, now_ms
                case SaveTurn():
                    self.saved[command.index] = deepcopy(self.call.turns[command.index])
                case _:
                    pass

    def _dialled(self, command: DialModel) -> None:
        self.generation = command.attempt
        self.told[self.generation] = []
        self.untaken.clear()
        self.open = False
        self.running = self.asked = self.speaks_since_ms = self.cut_soon = None
        self.over |= self.seen
        self.cut |= self.seen

    def _tell(self, name: str) -> None:
        assert name not in self.told[self.generation], f"the model was told of {name} twice"
        self.told[self.generation].append(name)

    def _request(self, command: RequestResponse, now_ms: int) -> None:
        assert self.open, "asked where there is no leg"
        assert self.running is None, f"asked while {self.running} runs"
        assert self.asked is None, f"asked while {self.asked} is asked for"
        self.asked = command.request.request_id
        if not command.request.request_id.startswith("pb"):
            held = {call_id for call_id in self.ran - self.tools_over if self.wanted[call_id] in self.over}
            assert not held, "a client's request went before the results of tools"
            return
        speaks = self.speaks_since_ms is not None and now_ms < self.speaks_since_ms + SPEECH_LIMIT_MS
        assert not speaks, "asked while the caller speaks"
        follows = (command.request.metadata or {}).get("n")
        if not self.orderly:
            return
        assert follows not in self.client_rounds, "asked where the client will"
        assert follows not in self.covered, f"the results of {follows} were answered already"

    def refused(self, request_id: str) -> None:
        """The model refuses this request."""
        if self.asked == request_id:
            self.asked = None

    def _after(self, event: CallEvent, out: list[Command]) -> None:
        ran = [command.call_id for command in out if isinstance(command, RunTool)]
        if isinstance(event, ToolWanted) and self.open and event.response_id not in self.beside:
            new = event.call_id not in self.wanted
            if new:
                self.wanted[event.call_id] = event.response_id
            if event.name not in self.tools and new:
                self.client_rounds.add(event.response_id)
            due = [event.call_id] if new and event.name in self.tools else []
            if due and event.name == COLLECT_KEYS and self.keys:
                self.ran.add(event.call_id)  # by the call itself
                due = []
            # A response whose beginning has not come may be taken for one beside the conversation, which runs no tool.
            assert ran == due or (not ran and event.response_id not in self.seen)
        else:
            assert not ran
        if isinstance(event, ModelReady):
            self.seeded = False  # a leg that is given the past at its start knows it from its first response on
        elif isinstance(event, ModelLost):
            self.open = False

    def _step(self, out: list[Command], now_ms: int) -> None:
        deadline_ms = self.call.deadline_ms
        assert (deadline_ms is None) == self.ended == (self.call.end_reason is not None)
        if self.ended:
            last = max(index for index, command in enumerate(out) if isinstance(command, EndCall))
            kinds = {type(command).__name__ for command in out[last + 1 :]}
            assert kinds <= {"StopTool", "DropModel", "SaveTurn", "Relay", "ToolEnded"}, kinds
        held = len(self.sound_in) - len(self.sound_out)
        assert held >= 0
        for turn in self.call.turns:
            assert turn.end_ms is None or turn.index in self.saved, "a finished turn was not written"
        for turn in self.call.turns[:-1]:
            assert turn.end_ms is not None

    def _only_saves(self, out: list[Command]) -> None:
        for command in out:
            assert isinstance(command, SaveTurn), command
            self.saved[command.index] = deepcopy(self.call.turns[command.index])

    # ---- at the end

    def final(self, now_ms: int) -> None:
        """The call is over: the record is complete and saved, and equals what was heard."""
        assert self.ended
        turns = self.call.turns
        for turn in turns:
            assert turn.end_ms is not None
            assert self.saved.get(turn.index) == turn, "the last change of a turn was not written"
        assert [turn.index for turn in turns] == list(range(len(turns)))
        begins = [turn.begin_ms for turn in turns]
        assert begins == sorted(begins)
        said = [entry for turn in turns for entry in turn.entries if isinstance(entry, Utterance)]
        caller = [entry.begin_ms for entry in said if entry.speaker is Speaker.CALLER]
        assert caller == sorted(caller), "the caller's words are out of order"
        assert len({entry.item_id for entry in said}) == len(said)
        spans = {span.item_id: span for span in self.call.played(now_ms)}
        for entry in said:
            assert 0 <= entry.heard_ms <= entry.sent_ms
            if entry.speaker is Speaker.AGENT and entry.spoken:
                span = spans.get(entry.item_id)
                assert entry.heard_ms == (span.heard_ms if span is not None else 0)
                assert entry.text.startswith(entry.heard_text.rstrip()) or not entry.heard_text
                self._heard(entry, now_ms)
        self._sound()
        self._summary(now_ms)

    def _heard(self, entry: Utterance, now_ms: int) -> None:
        item_id = entry.item_id
        if item_id in self.reports:
            heard_ms, sent_ms = self.reports[item_id]
            assert (entry.heard_ms, entry.heard) == (max(0, min(heard_ms, sent_ms)), Heard.REPORTED)
        elif item_id in self.sent:
            ended_ms = self.cut_ms.get(item_id, self.ended_ms)
            assert entry.heard_ms <= max(0, ended_ms - self.first_ms[item_id]), "heard sooner than it can have sounded"
            in_peace = self.peace and not self.reports and not self.cut_ms and self.generation == 0
            if in_peace and self.ended_ms - self.last_ms >= sum(self.sent.values()) // 8 and self.orderly:
                assert entry.heard_ms == entry.sent_ms

    def _sound(self) -> None:
        assert self.sound_out == sorted(self.sound_out), "caller sound is out of order"
        assert set(self.sound_out) <= set(self.sound_in)
        assert len(set(self.sound_out)) == len(self.sound_out)

    def _summary(self, now_ms: int) -> None:
        summary = self.call.summary(now_ms)
        assert summary.turns == len(self.call.turns)
        assert summary.end_reason == self.call.end_reason
        assert summary.usage.output_text == self.usage >= sum(turn.usage.output_text for turn in self.call.turns)
        assert summary.redials == self.generation
        assert summary.duration_ms >= 0
        assert 0 <= summary.dropped_audio_ms <= summary.caller_audio_ms
        if self.open and summary.dropped_audio_ms:
            assert len(self.sound_in) * 20 - len(self.sound_out) * 20 <= summary.dropped_audio_ms + HELD_AUDIO_MS
