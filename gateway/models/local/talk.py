"""One call's conversation by the rules: what the caller said goes in, what to say and which tool to call comes out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from gateway.models.local.patterns import Row, Slot, Value, Word, fit
from gateway.models.local.results import Result, read_result
from gateway.models.local.rules import CONFIRM, OPEN, Action, CallSpec, Dialogue, Offer, Rule, Understood
from gateway.models.local.words import words_of
from sessions.ports import Json

_PLACE = re.compile(r"\{([a-z_]+(?:\.[a-z_]+)*)\}")
_PUNCTUATION = str.maketrans(dict.fromkeys('.,;:!?"()', " "))
MANY_MISSES = 3  # in a row, after which help is offered
LONGEST_TYPED_WORDS = 3  # of a slot that takes typed words as they are


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool to be called for a rule. `arguments` is a JSON text."""

    tool: str
    arguments: str
    rule: Rule
    slots: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Move:
    """An answer: sentences (or ""), then a tool call (or none)."""

    say: str
    call: ToolCall | None = None


@dataclass(slots=True)
class _Form:
    """Something the caller wants, while its slots are being filled."""

    rule: Rule
    slots: dict[str, Value]
    question: str = ""
    changing: bool = False  # the caller said no to the confirmation


class Talk:
    """The state of one conversation: a form being filled, an offer made, tools under way, what was said last."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._form: _Form | None = None
        self._offer: tuple[Offer, dict[str, Value]] | None = None
        self._state = OPEN
        self._calls: dict[str, ToolCall] = {}
        self._said = ""
        self._told: dict[str, int] = {}  # how often each rule has spoken, for its variants
        self._misses = 0

    @property
    def state(self) -> str:
        """The name of the grammar of what may be said now."""
        return self._state

    def spoken(self, text: str) -> Move:
        """Answer what the recogniser heard, a whole sentence of the state's grammar."""
        return self._answer(self._dialogue.understand(words_of(text), self._state))

    def written(self, text: str) -> Move:
        """Answer free text: typed, or from a recogniser without a grammar."""
        words = words_of(text)
        meant = self._dialogue.understand(words, self._state) or self._dialogue.find(words, self._state)
        return self._answer(meant or _typed_value(self._dialogue, self._state, text, words))

    def not_understood(self) -> Move:
        """Answer speech that fits nothing."""
        return self._answer(None)

    def greeted(self, text: str) -> None:
        """The agent has said this by itself."""
        self._said = text

    def called(self, call_id: str, call: ToolCall) -> None:
        """The tool call of a move got this id."""
        self._calls[call_id] = call

    def tool_answered(self, call_id: str, output: str) -> Move:
        """Go on with a tool's result."""
        result = read_result(output)
        call = self._calls.pop(call_id, None)
        if call is None:
            return self._said_as(result.sentence)
        rule, slots = call.rule, dict(call.slots)
        if result.failed:
            return self._tool_failed(rule, slots, result)
        text = _filled(self._variant(rule), slots, result)
        if rule.offer is not None and (rule.offer.when is None or result.field(rule.offer.when)):
            self._offer = (rule.offer, slots)
            self._form = None
            self._state = CONFIRM
            text = f"{text} {_filled(rule.offer.ask, slots, result)}"
        return self._said_as(text) if text.strip() else Move("")

    def _tool_failed(self, rule: Rule, slots: dict[str, Value], result: Result) -> Move:
        if not result.refused:  # it broke, which another time of the day would not mend
            return self._said_as(f"{self._dialogue.texts.tool_failed} {result.sentence}".strip())
        text = _filled(rule.on_error or "{result}", slots, result)
        if rule.retry is None:
            return self._said_as(text)
        slots.pop(rule.retry, None)
        self._form = _Form(rule, slots)
        return self._next_step(text)

    def _answer(self, meant: Understood | None) -> Move:
        if meant is None:
            return self._missed()
        self._misses = 0
        if meant.rule is None:
            return self._fill(meant)
        rule = meant.rule
        if rule.action is Action.REPEAT:
            return Move(self._said)
        if rule.action is Action.FORGET:
            return self._forget(rule)
        if rule.is_form:
            slots = dict(self._form.slots) if self._form is not None and self._form.rule is rule else {}
            return self._begin(rule, slots | dict(meant.found))
        text = _filled(self._variant(rule), dict(meant.found), None)
        question = self._form.question if self._form is not None else ""
        return self._said_as(f"{text} {question}".strip())

    def _begin(self, rule: Rule, slots: dict[str, Value]) -> Move:
        self._offer = None
        self._form = _Form(rule, slots)
        return self._next_step("")

    def _fill(self, meant: Understood) -> Move:
        found = dict(meant.found)
        consent = found.pop(self._dialogue.yes_no.name, None)
        if self._form is None:
            return self._offer_answered(consent)
        form = self._form
        if meant.called is not None:
            form.slots.pop(meant.called, None)
        form.slots |= found
        if consent is None:
            form.changing = False
            return self._next_step("")
        if consent.plain is True and not form.changing:
            return self._done(form)
        if consent.plain is True:  # to "what shall I change?"
            form.changing = False
            return self._next_step("")
        if form.changing:
            return self._forget(None)
        form.changing = True
        form.question = self._dialogue.texts.change
        return self._said_as(form.question)

    def _offer_answered(self, consent: Value | None) -> Move:
        offer, self._offer = self._offer, None
        self._state = OPEN
        if offer is not None and consent is not None and consent.plain is True:
            return self._begin(self._dialogue.rule(offer[0].rule), offer[1])
        return self._said_as(self._dialogue.texts.more)

    def _next_step(self, lead: str) -> Move:
        """Ask for what is missing, then for consent, then do it."""
        form = self._form
        assert form is not None
        missing = next((need for need in form.rule.needs if need.slot not in form.slots), None)
        if missing is not None:
            self._state = missing.slot
            form.question = _filled(missing.ask, form.slots, None)
            if lead.endswith("?"):  # the tool has asked already, and knows better what
                return self._said_as(lead)
        elif form.rule.confirm is not None:
            self._state = CONFIRM
            form.question = _filled(form.rule.confirm, form.slots, None)
        else:
            return self._done(form)
        return self._said_as(f"{lead} {form.question}".strip())

    def _done(self, form: _Form) -> Move:
        self._form = None
        self._state = OPEN
        rule = form.rule
        if rule.call is None:
            return self._said_as(_filled(self._variant(rule), form.slots, None))
        arguments = json.dumps(_arguments(rule.call, form.slots), ensure_ascii=False)
        text = _filled(rule.before, form.slots, None)
        if text:
            self._said = text
        return Move(text, ToolCall(rule.call.tool, arguments, rule, form.slots))

    def _forget(self, rule: Rule | None) -> Move:
        texts = self._dialogue.texts
        had = self._form is not None or self._offer is not None
        self._form = self._offer = None
        self._state = OPEN
        if not had:
            return self._said_as(texts.nothing_to_forget)
        return self._said_as(self._variant(rule) if rule is not None and rule.say else texts.forgotten)

    def _missed(self) -> Move:
        self._misses += 1
        texts = self._dialogue.texts
        if self._misses % MANY_MISSES == 0 and texts.help:
            return Move(texts.help)
        text = texts.not_understood[(self._misses - 1) % len(texts.not_understood)]
        question = self._form.question if self._form is not None else ""
        return Move(f"{text} {question}".strip())

    def _variant(self, rule: Rule) -> str:
        told = self._told.get(rule.name, 0)
        self._told[rule.name] = told + 1
        return rule.say[told % len(rule.say)] if rule.say else ""

    def _said_as(self, text: str) -> Move:
        self._said = text
        return Move(text)


def _typed_value(dialogue: Dialogue, state: str, text: str, words: tuple[str, ...]) -> Understood | None:
    """The last words of an answer as the slot's value, where the slot takes any: `my name is Kowalski`."""
    use = dialogue.uses.get(state)
    plain = text.translate(_PUNCTUATION).split()
    if use is None or not use.typed:
        return None
    for count in range(1, LONGEST_TYPED_WORDS + 1):
        value = Value(" ".join(plain[-count:]), " ".join(plain[-count:]))
        slot = Slot(state, Row(tuple(map(Word, words[-count:]))), partial(_always, value))
        if len(words) >= count and fit(use.answers, words, dialogue.slots | {state: slot}) is not None:
            return Understood(None, None, ((state, value),))
    return None


def _filled(template: str, slots: Mapping[str, Value], result: Result | None) -> str:
    def place(match: re.Match[str]) -> str:
        name, _, path = match[1].partition(".")
        if name == "result" and result is not None:
            return str(result.field(path) or "") if path else result.sentence
        return slots[name].spoken if name in slots else ""

    return " ".join(_PLACE.sub(place, template).split())


def _always(value: Value, _: tuple[str, ...]) -> Value:
    return value


def _arguments(call: CallSpec, slots: Mapping[str, Value]) -> dict[str, Json]:
    """The call's arguments; those that consist of a slot that was not filled are left out."""
    arguments: dict[str, Json] = {}
    for name, template in call.arguments:
        match template:
            case str() if (whole := _PLACE.fullmatch(template)) is not None:
                if whole[1] in slots:
                    arguments[name] = slots[whole[1]].plain
            case str():
                arguments[name] = _PLACE.sub(lambda m: str(slots[m[1]].plain) if m[1] in slots else "", template)
            case _:
                arguments[name] = template
    return arguments
