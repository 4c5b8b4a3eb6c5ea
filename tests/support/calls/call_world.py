"""The far ends of a call: a model, a client and tools, with messages that are under way between them and the call.

The model answers by itself after speech, refuses a request that crosses its own answer, is interrupted by speech,
sends sound after a cancel, transcribes late, and loses its leg. Nothing here knows how the call decides.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import orjson
from support.calls.call_driver import (
    TOOLS,
    Driver,
    answered,
    begins,
    caller_audio,
    cancel,
    create,
    ends,
    heard,
    hears,
    holds,
    item,
    lost,
    sounds,
    taken,
    takes,
    transcript,
    truncated,
    typed,
    wants,
    wrote,
    wrote_call,
)
from support.calls.call_referee import Referee

from sessions.commands import (
    AddItem,
    AddToolOutput,
    CancelResponse,
    Command,
    DialModel,
    Refuse,
    Relay,
    RequestResponse,
    RunTool,
    Seed,
    StopTool,
    ToolEnded,
)
from sessions.events import (
    AgentText,
    CallEvent,
    CancelWanted,
    DigitPressed,
    HungUp,
    ModelReady,
    ModelRefused,
    SettingsChanged,
    ToolFinished,
)
from sessions.keys import COLLECT_KEYS
from sessions.past import told_as
from sessions.record import ToolUse, Utterance
from sessions.usage import TokenUsage
from sessions.values import Outcome, ResponseRequest

ACTIVE = "conversation_already_has_active_response"


@dataclass
class Answer:
    """A response of the model's."""

    id: str
    request: ResponseRequest | None
    knows: frozenset[str]  # the tool results in its conversation when it began
    items: int = 0
    says: int = 0
    outcome: Outcome | None = None


@dataclass
class Model:
    """One session of the model: the commands that have reached it, and the events that it has sent."""

    names: World
    answers_by_itself: bool
    inbox: deque[Command] = field(default_factory=deque)
    outbox: deque[CallEvent] = field(default_factory=deque)
    outputs: set[str] = field(default_factory=set)
    active: Answer | None = None
    beside: list[Answer] = field(default_factory=list)
    last: Answer | None = None
    hears: str | None = None
    unwilling: bool = False
    dead: bool = False
    sent: list[CallEvent] = field(default_factory=list)

    def begin(self, request: ResponseRequest | None) -> None:
        answer = Answer(self.names.new("resp"), request, frozenset(self.outputs))
        self.names.answers.append(answer)
        out_of_band = request is not None and request.out_of_band
        if out_of_band:
            self.beside.append(answer)
        else:
            self.active = answer
        # Each response has metadata of its own, by which a request that follows it up is recognised.
        self.outbox.append(begins(answer.id, metadata={"n": answer.id}, out_of_band=out_of_band))

    def end(self, outcome: Outcome) -> None:
        if self.active is not None:
            self.active.outcome = outcome
            self.outbox.append(ends(self.active.id, outcome, TokenUsage(output_text=1)))
            self.last, self.active = self.active, None

    def say(self, answer: Answer, ms: int) -> None:
        if answer.says % 3 == 0:
            answer.items += 1
            self.outbox.append(item(answer.id, f"{answer.id}_{answer.items}"))
        answer.says += 1
        name = f"{answer.id}_{answer.items}"
        self.outbox.append(AgentText(answer.id, name, "some words here ", True, None))
        self.outbox.append(sounds(ms, answer.id, name))
        self.names.spoken.append(name)

    def take(self, command: Command) -> None:
        match command:
            case RequestResponse():
                self._request(command.request)
            case CancelResponse():
                named = command.response_id
                if self.active is not None and named in (None, self.active.id):
                    self.end(Outcome.CANCELLED)
                else:
                    name = "cancel_1" if command.wire is not None else "pb_cancel"
                    self.outbox.append(ModelRefused("response_cancel_not_active", "no", name, None))
            case AddToolOutput():
                self.outputs.add(command.call_id)
                if command.call_id in self.names.referee.ran:
                    self.outbox.append(takes(command.call_id))
            case AddItem() if command.entry.item_id in self.names.key_items():
                self.outputs.add(command.entry.item_id)
                self.outbox.append(holds(command.entry.item_id))
            case Seed():
                self.outputs |= {told_as(past) for past in command.past}
            case _:
                pass

    def _request(self, request: ResponseRequest) -> None:
        if self.unwilling:
            self.unwilling = False
            self.names.unanswered += 1
            self.outbox.append(ModelRefused("server_error", "no", request.request_id, None))
        elif self.active is not None and not request.out_of_band:
            self.outbox.append(ModelRefused(ACTIVE, "no", request.request_id, None))
        else:
            self.begin(request)


class World:
    """Everything around one call; `do` makes one thing happen, in a variant whose number grows with its difficulty."""

    def __init__(self, *, answers: bool, client_plays: bool, faulty: bool, driver: Driver, keys: bool = False) -> None:
        self._made = 0
        self.keys = keys
        self.pressed = ""
        self.faulty = faulty  # events of the model may come in the wrong order
        self.driver = driver
        self.client_plays = client_plays
        self.answers_by_itself = answers
        self.answers: list[Answer] = []
        self.spoken: list[str] = []
        self.unanswered = 0  # requests that the model refused for no reason
        self.running: list[str] = []  # tools
        self.stopped: list[str] = []
        self.named: dict[str, str] = {}  # tool call -> tool
        self.rounds: dict[str, set[str]] = {}  # response -> its tool calls
        self.outputs: set[str] = set()  # calls whose tools have returned
        self.own_calls: list[str] = []  # of the client, not answered
        self.answered: list[str] = []  # of the client
        self.typed: list[str] = []
        self.creates: dict[str, int] = {}  # the client's requests -> how often refused
        self.model = Model(self, answers)
        self.up = False
        self.samples = 0
        self.referee = Referee(driver.call, frozenset(TOOLS), interrupts=answers, orderly=not faulty, keys=keys)
        self.late: list[str] = []  # caller's items without words
        self._perform(driver.commands)

    def new(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}_{self._made}"

    # ---- wires

    def tell(self, *events: CallEvent) -> None:
        """Something reaches the call."""
        for event in events:
            if isinstance(event, ModelRefused) and event.event_id is not None:
                self.referee.refused(event.event_id)
            out = self.driver(event)
            self.referee.happened(event, self.driver.now_ms, out)
            self._perform(out)

    def _perform(self, out: list[Command]) -> None:
        for command in out:
            match command:
                case RunTool():
                    self.running.append(command.call_id)
                case ToolEnded() if command.name == COLLECT_KEYS:
                    self.outputs.add(command.call_id)
                case StopTool():
                    self.stopped.append(command.call_id)
                    self.outputs.add(command.call_id)
                    if command.call_id in self.running:
                        self.running.remove(command.call_id)
                case DialModel():
                    self.up = False
                    self.model = Model(self, self.answers_by_itself)
                case Refuse() if command.event_id in self.creates:
                    self.creates[command.event_id] += 1
                case Relay() if isinstance(command.event, ModelRefused) and command.event.event_id in self.creates:
                    self.creates[command.event.event_id] += 1
                case _ if type(command).__name__ in TO_MODEL:
                    self.model.inbox.append(command)
                case _:
                    pass

    def carry(self) -> None:
        """Let everything that is under way arrive."""
        while self.up and not self.model.dead and (self.model.inbox or self.model.outbox):
            model = self.model
            while model.inbox:
                model.take(model.inbox.popleft())
            while model.outbox and model is self.model:
                event = model.outbox.popleft()
                self.tell(event)
                if not isinstance(event, ModelRefused):  # those are the client's to count
                    model.sent.append(event)

    def wait(self, ms: int) -> None:
        """Time passes."""
        until_ms = self.driver.now_ms + ms
        while self.driver.now_ms < until_ms:
            due_ms = self.driver.call.deadline_ms
            step_ms = until_ms if due_ms is None else min(until_ms, max(due_ms, self.driver.now_ms + 1))
            out = self.driver.wait(step_ms - self.driver.now_ms)
            self.referee.passed(self.driver.now_ms, out)
            self._perform(out)

    # ---- moves

    def do(self, name: str, pick: int) -> None:
        """Make one thing happen, if it is possible now."""
        getattr(self, f"_{name}")(pick)

    def _ready(self, pick: int) -> None:
        if not self.up:
            self.up = True
            self.tell(ModelReady())

    def _speak(self, pick: int) -> None:
        if self.up and self.model.hears is None:
            self.model.hears = self.new("item")
            self.model.outbox.append(hears(self.model.hears))
            if self.answers_by_itself:
                if pick % 2 and self.model.active is not None:
                    self.model.say(self.model.active, 200)  # late sound, after the event that the caller speaks
                self.model.end(Outcome.CANCELLED)
                if pick % 4 == 3 and self.model.last is not None and self.model.last.outcome is Outcome.CANCELLED:
                    self.model.say(self.model.last, 200)

    def _hush(self, pick: int) -> None:
        model = self.model
        if not self.up or model.hears is None:
            return
        model.outbox += (heard(model.hears), taken(model.hears))
        self.late.append(model.hears)
        model.hears = None
        if self.answers_by_itself and pick % 4 != 3 and model.active is None:
            model.begin(None)

    def _transcribe(self, pick: int) -> None:
        if self.up and self.late:
            self.model.outbox.append(transcript(self.late.pop(pick % len(self.late))))

    def _answering(self, pick: int) -> bool:
        """Whether the model is answering; if it is not, the caller says or asks something that it may answer."""
        if self.up and self.model.active is None:
            self._hush(0)
            if self.answers_by_itself and pick % 2 == 0:
                self._speak(0)
                self._hush(0)
            else:
                self._create(0)
                while self.model.inbox:
                    self.model.take(self.model.inbox.popleft())
        return self.up and self.model.active is not None

    def _say(self, pick: int) -> None:
        if self._answering(pick) and self.model.active is not None:
            self.model.say(self.model.active, (40, 400, 4_000)[pick % 3])

    def _call_tool(self, pick: int) -> None:
        if self._answering(pick) and self.model.active is not None:
            self._wanted(self.model.active, list(TOOLS)[pick % 3])

    def _call_client(self, pick: int) -> None:
        if self._answering(pick) and self.model.active is not None:
            self.own_calls.append(self._wanted(self.model.active, "on_screen"))

    def _bye(self, pick: int) -> None:
        if self.up and self.model.active is not None and pick % 4 == 3:
            self._wanted(self.model.active, "hang_up")

    def _wanted(self, answer: Answer, name: str) -> str:
        call_id = self.new("call")
        self.named[call_id] = name
        self.rounds.setdefault(answer.id, set()).add(call_id)
        self.model.outbox.append(wants(name, call_id, answer.id))
        return call_id

    def _end(self, pick: int) -> None:
        outcomes = (Outcome.COMPLETED, Outcome.COMPLETED, Outcome.INCOMPLETE, Outcome.FAILED)
        if self.up:
            self.model.end(outcomes[pick % 4])

    def _beside(self, pick: int) -> None:
        if not self.up or not self.model.beside:
            return
        answer = self.model.beside[0]
        if pick % 3 == 0:
            self.model.outbox.append(wants("find", self.new("call"), answer.id))
        elif pick % 3 == 1:
            self.model.say(answer, 100)
        else:
            self.model.outbox.append(ends(self.model.beside.pop(0).id))

    def _refuse(self, pick: int) -> None:
        self.model.unwilling = not self.unanswered

    def _stall(self, pick: int) -> None:
        self.model.dead = self.up and pick % 4 == 3

    def _twice(self, pick: int) -> None:
        if self.model.sent and self.up:
            self.model.outbox.append(self.model.sent[-1 - pick % min(5, len(self.model.sent))])

    def _swap(self, pick: int) -> None:
        outbox = self.model.outbox
        if self.faulty and len(outbox) > 1:
            at = pick % (len(outbox) - 1)
            outbox[at], outbox[at + 1] = outbox[at + 1], outbox[at]

    def _tool(self, pick: int) -> None:
        if self.running:
            call_id = self.running.pop(pick % len(self.running))
            self.outputs.add(call_id)
            error = "tool_execution_error" if pick % 3 == 2 else None
            hang_up = self.named.get(call_id) == "hang_up" and error is None
            self.tell(ToolFinished(call_id, "the result", error, hang_up))

    def _tool_again(self, pick: int) -> None:
        done = sorted(self.outputs)
        if done:
            self.tell(ToolFinished(done[pick % len(done)], "once more", None, False))

    def _drop(self, pick: int) -> None:
        if pick >= 6:
            self.up = False
            self.model.outbox.clear()
            self.tell(lost(retryable=pick != 7 or not self.up))

    def _type(self, pick: int) -> None:
        self.typed.append(self.new("text"))
        self.tell(typed(self.typed[-1]))

    def _write(self, pick: int) -> None:
        if pick % 2 == 0:
            self.typed.append(self.new("text"))
            self.tell(wrote(self.typed[-1]))
        else:
            self.own_calls.append(self.new("call"))
            self.tell(wrote_call(self.new("item"), self.own_calls[-1]))

    def _create(self, pick: int) -> None:
        name = self.new("create")
        self.creates[name] = 0
        self.tell(create(name))

    def _create_beside(self, pick: int) -> None:
        name = self.new("beside")
        self.creates[name] = 0
        self.tell(create(name, out_of_band=True))

    def _cancel(self, pick: int) -> None:
        target = self.answers[-1].id if self.answers and pick % 2 else None
        self.tell(CancelWanted(target, None, None) if pick % 4 == 2 else cancel(target))

    def _truncate(self, pick: int) -> None:
        if self.spoken and self.client_plays:
            self.tell(truncated(self.spoken[-1 - pick % min(3, len(self.spoken))], pick * 100))

    def _answer(self, pick: int) -> None:
        if self.own_calls:
            call_id = self.own_calls.pop(pick % len(self.own_calls))
            if call_id in self.referee.wanted:  # else its client has not seen it
                self.answered.append(call_id)
            self.tell(answered(call_id))

    def _sound(self, pick: int) -> None:
        for _ in range(pick + 1):
            self.tell(caller_audio(20, loud=pick % 2 == 1, start_sample=self.samples))
            self.samples += 160

    def _press(self, pick: int) -> None:
        if self.keys and self.driver.call.end_reason is None:
            key = "123#4#5*"[pick]
            self.pressed += key
            self.tell(DigitPressed(key))

    def _collect(self, pick: int) -> None:
        if self.keys and self._answering(pick) and self.model.active is not None:
            self._wanted(self.model.active, COLLECT_KEYS)

    def key_items(self) -> dict[str, str]:
        """The messages of keys in the record."""
        turns = self.driver.call.turns
        said = [entry for turn in turns for entry in turn.entries if isinstance(entry, Utterance)]
        return {entry.item_id: entry.text for entry in said if entry.item_id.startswith("pb_")}

    def _no_key_is_lost(self) -> None:
        """Each key is in the record once, but for terminators."""
        turns = self.driver.call.turns
        uses = [entry for turn in turns for entry in turn.entries if isinstance(entry, ToolUse)]
        results = [orjson.loads(use.output) for use in uses if use.name == COLLECT_KEYS and use.output]
        collected = [result["digits"] for result in results if "digits" in result]
        kept = "".join([*self.key_items().values(), *collected]).replace("#", "")
        assert sorted(kept) == sorted(self.pressed.replace("#", "")), "keys were lost, or told twice"

    def _settings(self, pick: int) -> None:
        self.tell(SettingsChanged(self.driver.setup))

    def _hang_up(self, pick: int) -> None:
        if pick == 7:
            self.tell(HungUp("caller_hung_up"))

    # ---- the end

    def finish(self) -> None:
        """Let all that is under way end in order; then nothing may be missing, and the caller hangs up."""
        for _ in range(60):
            if self.driver.call.end_reason is not None:
                break
            self._ready(0)
            self.carry()
            self._hush(3)
            self.model.unwilling = False
            while self.running:
                self._tool(0)
            while self.model.beside:
                self._beside(2)
            self.model.end(Outcome.COMPLETED)
            self.carry()
            self.wait(1_500)
        if self.driver.call.end_reason is None and not self.faulty:
            self._nothing_is_owed()
            self.tell(HungUp("caller_hung_up"))
        self.tell(*(transcript(name, "late words") for name in self.late))
        self.tell(ToolFinished("call_0", "late", None, True), hears("item_late"), begins("resp_late"), lost())
        self.wait(100_000)
        self.referee.final(self.driver.now_ms)
        self._no_key_is_lost()

    def _nothing_is_owed(self) -> None:
        model, told = self.model, self.referee.told[self.referee.generation]
        assert model.active is None, "answers are asked for without end"
        for call_id in self.outputs & self.referee.ran:
            assert told.count(call_id) == 1, "a tool's result did not reach the model"
        for call_id in self.answered:
            assert told.count(call_id) == 1, "the result of a client's function did not reach the model"
        for item_id in self.typed:
            assert told.count(item_id) == 1, "what the client typed did not reach the model"
        for item_id in self.key_items():
            assert told.count(item_id) == 1, "keys did not reach the model"
            assert any(item_id in answer.knows for answer in self.answers), "keys were never answered"
        for name, refused in self.creates.items():
            begun = [answer for answer in self.answers if answer.request and answer.request.request_id == name]
            assert refused <= 1, "a client was refused twice"
            unwatched = model.dead and name.startswith("beside")  # a request beside the conversation has no watchdog
            assert begun or refused or unwatched, "a client's request was lost"
            assert not (begun and refused) or self.referee.generation or self.unanswered
        for response_id, calls in self.rounds.items():
            if response_id in self.referee.client_rounds or not calls & self.referee.ran:
                continue
            known = any(calls & self.referee.ran <= answer.knows for answer in self.answers)
            assert known or any(self.named[call] == "hang_up" for call in calls), "a tool's results were never spoken"


TO_MODEL = ("RequestResponse", "CancelResponse", "TruncateItem", "AddToolOutput", "Seed", "AddItem", "SendAudio")
MOVE_WEIGHTS = {
    **dict.fromkeys(("call_tool", "tool"), 4),
    **dict.fromkeys(("say", "end", "speak", "hush"), 3),
    **dict.fromkeys(("truncate", "swap"), 2),
    **dict.fromkeys(("transcribe", "sound", "type", "create", "ready", "call_client", "answer", "cancel"), 1),
    **dict.fromkeys(("drop", "create_beside", "beside", "tool_again", "write", "refuse", "settings", "bye"), 1),
    **dict.fromkeys(("press",), 3),
    **dict.fromkeys(("collect",), 1),
    **dict.fromkeys(("hang_up", "twice", "stall"), 1),
}
MOVES = [name for name, weight in MOVE_WEIGHTS.items() for _ in range(weight)]
