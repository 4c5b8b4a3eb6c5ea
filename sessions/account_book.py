"""Keeps the account of one call: its responses and what they used, the caller's stretches of speech, its dials."""

from __future__ import annotations

from sessions.accounts import Dial, DialCause, LegError, ModelTarget, ResponseOrigin, ResponseUse, SpeechStretch
from sessions.costs import UNPRICED, Pricing, cost_of, cost_of_transcription
from sessions.record import Turn, Utterance
from sessions.turns import TurnBook
from sessions.usage import TokenUsage, TranscriptionUsage, add_transcription, add_usage
from sessions.values import ModelSession

MAX_TURN_RESPONSES = 32
MAX_TURN_STRETCHES = 64
MAX_DIALS = 32
MAX_TRANSCRIPTION_MODELS = 8


class Costs:
    """Adds up what is known of a cost, and remembers whether a part of it is unknown."""

    __slots__ = ("known_nano", "unknown")

    def __init__(self) -> None:
        self.known_nano = 0
        self.unknown = False

    def add(self, cost_nano: int | None) -> None:
        """Add one cost; None is an unknown one."""
        if cost_nano is None:
            self.unknown = True
        else:
            self.known_nano += cost_nano

    @property
    def total_nano(self) -> int | None:
        """The whole cost; None if a part of it is unknown."""
        return None if self.unknown else self.known_nano


class AccountBook:
    """Notes what happens to the responses, the speech and the dials of a call in its turns."""

    __slots__ = (
        "_book",
        "_open_stretch",
        "_pricing",
        "_running",
        "_transcribed",
        "costs",
        "dials",
        "outside",
        "target",
    )

    def __init__(self, book: TurnBook, target: ModelTarget, pricing: Pricing = UNPRICED) -> None:
        self._book = book
        self._pricing = pricing
        self._running: dict[str, tuple[Turn, ResponseUse]] = {}  # responses that have not ended
        self._open_stretch: tuple[Turn, SpeechStretch] | None = None
        self._transcribed: dict[str, tuple[TranscriptionUsage, Costs]] = {}  # by model
        self.target = target  # the model that is dialled next
        self.dials: list[Dial] = []
        self.costs = Costs()  # of the whole call
        self.outside = TokenUsage()  # of responses beside the conversation

    # ---- dials

    def dialled(self, now_ms: int) -> None:
        """A leg is being opened."""
        cause = DialCause.LOST if self.dials else DialCause.START
        if len(self.dials) < MAX_DIALS:
            dial = Dial(cause, len(self.dials), self.target, self._book.since_start_ms(now_ms))
            self.dials.append(dial)

    def ready(self, session: ModelSession | None, now_ms: int) -> None:
        """The newest leg is open."""
        dial = self._newest_dial
        if dial is not None and dial.ready_ms is None:
            dial.ready_ms = self._book.since_start_ms(now_ms)
            if session is not None:
                dial.model_session, dial.served = session.session_id, session.model

    def lost(self, error: LegError, now_ms: int) -> None:
        """The newest leg is lost, or could not be opened."""
        dial = self._newest_dial
        if dial is not None and dial.lost_ms is None:
            dial.lost_ms, dial.error = self._book.since_start_ms(now_ms), error

    @property
    def model(self) -> str:
        """The model of the newest leg, as `KIND/NAME`."""
        dial = self._newest_dial
        return self.target.model if dial is None else dial.target.model

    @property
    def _newest_dial(self) -> Dial | None:
        return self.dials[-1] if self.dials else None

    # ---- responses

    def began(self, turn: Turn, response_id: str, origin: ResponseOrigin, asked_ms: int | None, now_ms: int) -> None:
        """A response of the conversation begins; `asked_ms` is in `now_ms`, None if the model began it by itself."""
        use = ResponseUse(
            response_id,
            origin,
            leg=max(0, len(self.dials) - 1),
            asked_ms=None if asked_ms is None else self._book.since_start_ms(asked_ms),
            begin_ms=self._book.since_start_ms(now_ms),
        )
        self._running[response_id] = (turn, use)
        if len(turn.responses) < MAX_TURN_RESPONSES:
            turn.responses.append(use)

    def by_model(self, response_id: str) -> None:
        """The model had begun this response by itself: the request for it was refused."""
        running = self._running.get(response_id)
        if running is not None:
            running[1].origin, running[1].asked_ms = ResponseOrigin.MODEL, None

    def sounded(self, response_id: str, at_ms: int) -> None:
        """The first audible sample of a response sounds, or its first words are there."""
        running = self._running.get(response_id)
        if running is not None and running[1].first_sound_ms is None:
            running[1].first_sound_ms = self._book.since_start_ms(at_ms)

    def ended(self, response_id: str, outcome: str, reason: str | None, usage: TokenUsage | None, now_ms: int) -> None:
        """A response is over; one that is not known to run was beside the conversation."""
        running = self._running.pop(response_id, None)
        if running is None:
            if usage is not None:
                self.outside = add_usage(self.outside, usage)
            self.costs.add(self._cost(usage, self._newest_dial))
            return
        turn, use = running
        use.end_ms, use.outcome, use.reason, use.usage = self._book.since_start_ms(now_ms), outcome, reason, usage
        use.cost_nano = self._cost(usage, self.dials[use.leg] if self.dials else None)
        self._spend(turn, use.cost_nano)

    def close(self, beside: int) -> None:
        """The call is over: nobody says any more what the responses used that still run, `beside` of them beside it."""
        for turn, use in self._running.values():
            use.cost_nano = self._cost(None, self.dials[use.leg] if self.dials else None)
            self._spend(turn, use.cost_nano)
        self._running.clear()
        for _ in range(beside):
            self.costs.add(self._cost(None, self._newest_dial))

    # ---- the caller

    def speech_began(self, turn: Turn, at_ms: int) -> None:
        """The caller began to speak at this time."""
        self.speech_ended(at_ms)
        stretch = SpeechStretch(max(0, self._book.since_start_ms(at_ms)))
        if len(turn.speech) < MAX_TURN_STRETCHES:
            turn.speech.append(stretch)
            self._open_stretch = (turn, stretch)

    def speech_ended(self, at_ms: int) -> None:
        """The caller's speech ended at this time; harmless if none is known to have begun."""
        open_stretch, self._open_stretch = self._open_stretch, None
        if open_stretch is not None:
            turn, stretch = open_stretch
            stretch.end_ms = max(stretch.begin_ms, self._book.since_start_ms(at_ms))
            self._book.touch(turn)

    def transcribed(self, turn: Turn, said: Utterance, usage: TranscriptionUsage) -> None:
        """The model that transcribes has said what it used for this utterance."""
        if said.transcription is not None:
            return
        said.transcription, said.transcription_cost_nano = usage, self._transcription_cost(usage)
        self._spend(turn, said.transcription_cost_nano)
        if usage.model not in self._transcribed and len(self._transcribed) >= MAX_TRANSCRIPTION_MODELS:
            return
        so_far, costs = self._transcribed.get(usage.model, (TranscriptionUsage(usage.model), Costs()))
        costs.add(said.transcription_cost_nano)
        self._transcribed[usage.model] = (add_transcription(so_far, usage), costs)

    @property
    def transcriptions(self) -> tuple[tuple[TranscriptionUsage, int | None], ...]:
        """What transcription used, by model, and what it cost."""
        return tuple((usage, costs.total_nano) for usage, costs in self._transcribed.values())

    # ---- money

    def _spend(self, turn: Turn, cost_nano: int | None) -> None:
        self.costs.add(cost_nano)
        turn.cost_nano = None if cost_nano is None or turn.cost_nano is None else turn.cost_nano + cost_nano
        self._book.touch(turn)

    def _cost(self, usage: TokenUsage | None, dial: Dial | None) -> int | None:
        """What a response costs that ran on this dial."""
        return cost_of(usage, self._pricing.price_of(dial.target.model if dial is not None else self.target.model))

    def _transcription_cost(self, usage: TranscriptionUsage) -> int | None:
        """What a transcription costs, in a session of the model that was dialled last."""
        return cost_of_transcription(usage, self._pricing.transcription_of(self.model, usage.model))
