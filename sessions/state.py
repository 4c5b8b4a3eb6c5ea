"""What a call knows: its rules, and the parts that keep its state. The handlers beside this file work on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sessions.agent import ToolRule
from sessions.commands import (
    AddToolOutput,
    Command,
    Configure,
    ModelCommand,
    NoteProblem,
    PassToModel,
    Refuse,
    Seed,
    SendAudio,
)
from sessions.events import DeleteWanted, ResponseRequest
from sessions.hearing import Hearing
from sessions.jobs import ToolLedger
from sessions.past import Past
from sessions.playback import PlaybackLedger
from sessions.ports import Ids
from sessions.problems import ORDINARY, OTHER, ModelProblem
from sessions.record import Turn
from sessions.responses import ResponseQueue
from sessions.setup import ModelSetup
from sessions.talk import Talk
from sessions.timing import Limits, Stopwatch
from sessions.tool_book import ToolBook
from sessions.turns import AnswerBook, TurnBook
from sessions.usage import TokenUsage
from sessions.written import WrittenItems

HELD_AUDIO_MS = 10_000  # caller sound kept while the model's leg is being opened; past it the oldest goes
HELD_FRAMES = 2_000  # the same, for sound in crumbs
HELD_COMMANDS = 1_000  # other messages kept meanwhile
MAX_PROBLEMS = 16  # kinds of them that are kept apart in a record
HELD_BYTES = 32 * 1024 * 1024  # of those messages


@dataclass(frozen=True, slots=True)
class CallRules:
    """What the agent's file and the kind of caller decide for a call. Times in milliseconds."""

    server_tools: Mapping[str, ToolRule]  # by the name that the model knows
    greeting: str | None
    client_plays: bool  # the client owns playback and truncation, as a Realtime client does
    length_ms: int
    idle_ms: int | None
    greeting_wait_ms: int = 500
    dial_limit_ms: int = 10_000
    redial_limit_ms: int = 5_000
    own_answer_wait_ms: int = 1_500  # how long a model that answers by itself is given to begin
    stall_limit_ms: int = 30_000  # a response that brings nothing for so long shows that its leg is dead
    speech_limit_ms: int = 10_000  # a caller said to be speaking who is inaudible for so long has stopped


class Line(Enum):
    """The state of the model's leg."""

    IDLE = "idle"  # not asked for yet
    DIALLING = "dialling"
    OPEN = "open"
    GONE = "gone"


_ALWAYS_HELD = frozenset({AddToolOutput, Seed, Configure})  # ours, and few


class Held:
    """What waits for a model's leg that is not open: in order, with bounds on sound and on all else."""

    def __init__(self) -> None:
        self.told: set[str] = set()  # items and calls that the waiting commands will tell the model of
        self._queue: deque[ModelCommand] = deque()
        self._frames = 0
        self._audio_us = 0
        self._dropped_us = 0
        self._commands = 0
        self._command_bytes = 0

    @property
    def dropped_ms(self) -> int:
        """How much caller sound was lost for want of room."""
        return self._dropped_us // 1000

    def sound(self, command: SendAudio) -> None:
        """Keep caller sound; past the bound the oldest goes, but the newest frame is kept however long it is."""
        self._queue.append(command)
        self._frames += 1
        self._audio_us += _length_us(command)
        while self._frames > 1 and (self._audio_us > HELD_AUDIO_MS * 1000 or self._frames > HELD_FRAMES):
            self._drop_oldest_sound()

    def add(self, command: ModelCommand, tells: str | None) -> bool:
        """Keep any other command. False if there is no room for it."""
        if type(command) is Configure and self._queue and type(self._queue[-1]) is Configure:
            self._queue[-1] = command  # nothing came between: the earlier one would have no effect
            return True
        if type(command) not in _ALWAYS_HELD:
            size = len(command.wire.text) if type(command) is PassToModel else 0
            if self._commands >= HELD_COMMANDS or self._command_bytes + size > HELD_BYTES:
                return False
            self._commands += 1
            self._command_bytes += size
        self._queue.append(command)
        if tells is not None:
            self.told.add(tells)
        return True

    def take(self) -> list[ModelCommand]:
        """All that was kept, in order; none remains."""
        taken = list(self._queue)
        self._queue.clear()
        self.told.clear()
        self._frames = self._audio_us = self._commands = self._command_bytes = 0
        return taken

    def _drop_oldest_sound(self) -> None:
        for index, command in enumerate(self._queue):
            if type(command) is SendAudio:
                del self._queue[index]
                length_us = _length_us(command)
                self._frames -= 1
                self._audio_us -= length_us
                self._dropped_us += length_us
                return


def _length_us(command: SendAudio) -> int:
    return command.frame.samples * 1_000_000 // command.frame.format.rate_hz


@dataclass(slots=True)
class Meter:
    """The call's sums. Sound is counted in samples at the rate that came last."""

    caller_samples: int = 0
    caller_rate_hz: int = 1
    agent_samples: int = 0
    agent_rate_hz: int = 1
    usage: TokenUsage = field(default_factory=TokenUsage)
    redials: int = 0
    problems: dict[ModelProblem, int] = field(default_factory=dict)  # that the model has reported

    def problem(self, problem: ModelProblem) -> None:
        """The model reports one more."""
        if problem not in self.problems and len(self.problems) >= MAX_PROBLEMS:
            problem = ModelProblem(OTHER, OTHER)
        self.problems[problem] = self.problems.get(problem, 0) + 1

    def caller_rate(self, rate_hz: int) -> None:
        """Caller sound comes at another rate from here on."""
        self.caller_samples = self.caller_samples * rate_hz // self.caller_rate_hz
        self.caller_rate_hz = rate_hz

    def agent_rate(self, rate_hz: int) -> None:
        """Agent speech comes at another rate from here on."""
        self.agent_samples = self.agent_samples * rate_hz // self.agent_rate_hz
        self.agent_rate_hz = rate_hz


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """An item of the client's that the model has neither taken nor refused."""

    item_id: str
    new: bool  # the first of its id: what is kept of it goes if the model refuses it
    again: Past | None  # what it tells, if it is not the first of its id: that may have been deleted


@dataclass(slots=True)
class CallState:
    """One call's whole state. `out` collects the commands of the event that is being handled."""

    rules: CallRules
    setup: ModelSetup
    ids: Ids
    started_ms: int
    limits: Limits
    book: TurnBook
    answers: AnswerBook
    tool_book: ToolBook
    talk: Talk
    ledger: PlaybackLedger
    hearing: Hearing
    out: list[Command] = field(default_factory=list)
    queue: ResponseQueue = field(default_factory=ResponseQueue)
    tools: ToolLedger = field(default_factory=ToolLedger)
    watch: Stopwatch = field(default_factory=Stopwatch)
    meter: Meter = field(default_factory=Meter)
    held: Held = field(default_factory=Held)
    written: WrittenItems = field(default_factory=WrittenItems)
    line: Line = Line.IDLE
    dial_until_ms: int = 0
    generation: int = 0  # of the model's leg, counted by dials
    answered_since_dial: bool = True  # a leg that is lost again before it answered is not dialled again
    listen_first: bool = False  # the caller was speaking when the leg was lost: the next one hears the rest first
    responses: dict[str, bool] = field(default_factory=dict)  # every response seen; True while it runs
    beside: set[str] = field(default_factory=set)  # those that are out of band
    beside_asked: dict[str, ResponseRequest] = field(default_factory=dict)  # the same, not begun yet
    silenced: set[str] = field(default_factory=set)  # those cut short: what they still say goes no further
    cancelled_request: str | None = None  # the client cancelled what it had asked for before it began
    unsilenced: list[str] = field(default_factory=list)  # those begun since the last barge-in, which silences them
    cancelled: str | None = None  # the response that was cancelled because nobody takes its speech
    live_item: str | None = None  # the item whose speech goes straight on
    live_response: str = ""  # the response that it belongs to
    progress_ms: int = 0  # when the running response last brought something that is not sound
    unconfirmed: dict[str, Unconfirmed] = field(default_factory=dict)  # items, by what their errors would name
    deleting: dict[str, DeleteWanted] = field(default_factory=dict)  # by item, what the model has not answered
    deleted: set[str] = field(default_factory=set)  # items that no leg is to be told of again
    untaken: set[str] = field(default_factory=set)  # tool outputs sent that the model has not acknowledged
    seeded: set[str] = field(default_factory=set)  # those told with their call, which may never be acknowledged
    active_knows_all: bool = True  # the running response began after all tool outputs so far had been taken
    client_calls: set[str] = field(default_factory=set)  # functions of the client's own that it has not answered
    item_generation: dict[str, int] = field(default_factory=dict)
    caller_speaks: bool = False
    own_answer_until_ms: int | None = None  # the model is about to answer by itself
    greeting_due_ms: int | None = None
    settle_at_ms: int | None = None  # when all speech sent will have been played, to be noted then
    leave_at_ms: int | None = None  # the agent hung up: when the call ends at the latest
    leave_wanted: bool = False  # the agent hung up, and has a goodbye to say
    leaving: bool = False  # it is said
    end_reason: str | None = None
    ended_ms: int | None = None
    wound_up: bool = False

    def to_model(self, command: ModelCommand, tells: str | None = None, event_id: str | None = None) -> bool:
        """Send to the model, or keep until its leg is open. False where there is no room: the client is told.

        `tells` is the item or call that it brings to the model, `event_id` the client's name for it.
        """
        if self.line is Line.OPEN:
            self.out.append(command)
        elif self.line is not Line.GONE and not self.held.add(command, tells):
            self.out.append(Refuse("rate_limit_exceeded", "Too much was sent before the model was ready.", event_id))
            return False
        return True

    def add(self, command: Command | None) -> None:
        """One more command, if it is one."""
        if command is not None:
            self.out.append(command)

    def note(self, problem: ModelProblem | None, about: str, turn: Turn | None) -> None:
        """The model reports a problem, in this turn if it is one's; ordinary races are none."""
        if problem is None or problem.code in ORDINARY:
            return
        self.meter.problem(problem)
        if turn is not None:
            turn.problem = problem
            self.book.touch(turn)
        self.out.append(NoteProblem(problem, about))

    def silence_all(self) -> None:
        """Every response begun so far is cut short; those beside the conversation are not heard anyway."""
        self.silenced.update(self.unsilenced)
        self.unsilenced.clear()

    def of_this_leg(self, item_id: str) -> bool:
        """Whether the present leg knows this item whole; one dialled later was told only what was heard of it."""
        return self.item_generation.get(item_id, self.generation) == self.generation

    def knows(self, item_id: str) -> bool:
        """Whether an item of this id was said, or written by the client: a second one is refused by the model."""
        return item_id in self.talk.places or item_id in self.written

    def write(self, entry: Past) -> None:
        """Keep an item of the client's that is no part of the record, for a later leg."""
        self.item_generation[entry.item_id] = self.generation
        self.written.add(entry, self.book.latest_item)

    def over(self) -> bool:
        """Whether the call has ended."""
        return self.end_reason is not None
