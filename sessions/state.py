"""What a call knows: its rules, and the parts that keep its state. The decisions in the other files work on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sessions.account_book import AccountBook
from sessions.accounts import UNKNOWN_TARGET, ModelTarget
from sessions.agent import BUDGET_GOODBYE, PhoneRules, ToolRule
from sessions.budget import UNLIMITED, Allowance, Budget
from sessions.call_end import CallEnd
from sessions.caller_facts import UNKNOWN_CALLER, CallerFacts
from sessions.commands import Command, ModelCommand, NoteProblem, Refuse
from sessions.costs import UNPRICED, Pricing
from sessions.heard_text import HeardText
from sessions.keys import Keypad
from sessions.leg_knowledge import LegKnowledge
from sessions.link import OPEN, Link, LinkState
from sessions.meter import Meter
from sessions.past import Past
from sessions.playback import PlaybackLedger
from sessions.ports import Ids
from sessions.problems import ORDINARY, ModelProblem
from sessions.record import Turn
from sessions.response_states import Responses
from sessions.responses import ResponseQueue
from sessions.setup import ModelSetup
from sessions.timing import CallTimeouts, DueTimes, Stopwatch
from sessions.tool_book import ToolBook
from sessions.tool_calls import ToolLedger
from sessions.transcript import Transcript
from sessions.turns import AnswerBook, TurnBook


@dataclass(frozen=True, slots=True)
class CallRules:
    """What the agent's file and the kind of caller decide for a call. Times in milliseconds."""

    server_tools: Mapping[str, ToolRule]  # by the name that the model is given
    greeting: str | None
    client_plays: bool  # the client owns playback and truncation, as a Realtime client does
    length_ms: int
    idle_ms: int | None
    greeting_wait_ms: int = 500
    dial_limit_ms: int = 10_000
    redial_limit_ms: int = 5_000
    own_answer_wait_ms: int = 1_500  # for a model that answers by itself to begin
    stall_limit_ms: int = 30_000  # without a sign of a running response, after which its leg counts as dead
    speech_limit_ms: int = 10_000  # of silence, after which a caller said to be speaking has stopped
    caller: CallerFacts = UNKNOWN_CALLER
    phone: PhoneRules | None = None  # of a caller who can press keys
    target: ModelTarget = UNKNOWN_TARGET
    pricing: Pricing = UNPRICED
    cost_nano: int | None = None  # what the call may cost, in nano-dollars; None: no limit
    budget_goodbye: str = BUDGET_GOODBYE
    allowance: Allowance = UNLIMITED


@dataclass(slots=True)
class CallState:
    """One call's whole state. `out` collects the commands of the event that is being handled."""

    rules: CallRules
    setup: ModelSetup
    ids: Ids
    timeouts: CallTimeouts
    book: TurnBook
    answers: AnswerBook
    accounts: AccountBook
    tool_book: ToolBook
    transcript: Transcript
    ledger: PlaybackLedger
    heard_text: HeardText
    keypad: Keypad
    out: list[Command] = field(default_factory=list)
    queue: ResponseQueue = field(default_factory=ResponseQueue)
    responses: Responses = field(default_factory=Responses)
    tools: ToolLedger = field(default_factory=ToolLedger)
    watch: Stopwatch = field(default_factory=Stopwatch)
    meter: Meter = field(default_factory=Meter)
    link: Link = field(default_factory=Link)
    knowledge: LegKnowledge = field(default_factory=LegKnowledge)
    due: DueTimes = field(default_factory=DueTimes)
    budget: Budget = field(default_factory=Budget)
    end: CallEnd = field(default_factory=CallEnd)
    caller_speaks: bool = False

    def to_model(
        self, command: ModelCommand, tells: str | None = None, event_id: str | None = None, *, ours: bool = False
    ) -> bool:
        """Send a command to the model, or keep it until the model's leg is open.

        `tells` is the item or call that the command brings to the model. Returns False where there is no room for it:
        then the client is told, under `event_id`. For a command that is `ours` there is always room.
        """
        if self.link.state is OPEN:
            self.out.append(command)
        elif self.link.state is not LinkState.GONE and not self.link.outbox.add(command, tells, ours=ours):
            self.out.append(Refuse("rate_limit_exceeded", "Too much was sent before the model was ready.", event_id))
            return False
        return True

    def add(self, command: Command | None) -> None:
        """Add a command to those of this event, if there is one."""
        if command is not None:
            self.out.append(command)

    def note(self, problem: ModelProblem | None, about: str, turn: Turn | None) -> None:
        """Note a problem that the model reports, in this turn if it belongs to one; ordinary races are no problems."""
        if problem is None or problem.code in ORDINARY:
            return
        self.meter.problem(problem)
        if turn is not None:
            turn.problem = problem
            self.book.touch(turn)
        self.out.append(NoteProblem(problem, about))

    def knows(self, item_id: str) -> bool:
        """Whether an item of this id was said, or added by the client: the model refuses a second one."""
        return item_id in self.transcript.places or item_id in self.knowledge.history

    def write(self, entry: Past) -> None:
        """Keep an item of the client's that is no part of the record, for a later leg."""
        self.knowledge.write(entry, self.book.latest_item)

    def over(self) -> bool:
        """Whether the call has ended."""
        return self.end.reason is not None
