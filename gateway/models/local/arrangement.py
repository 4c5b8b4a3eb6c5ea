"""What is being arranged in one conversation, step by step: slots are asked for, consent is asked for, it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.models.local.moves import Move, ToolCall
from gateway.models.local.patterns import Value
from gateway.models.local.rules import CONFIRM, OPEN, Dialogue, Offer, Rule, Understood
from gateway.models.local.templates import arguments_of, filled
from gateway.models.local.wording import Wording


@dataclass(slots=True)
class Form:
    """Something the caller wants, while its slots are being filled."""

    rule: Rule
    slots: dict[str, Value]
    question: str = ""
    changing: bool = False  # the caller said no to the confirmation


class Arrangement:
    """The form that is being filled or the offer that was made, and the state in which the caller answers to it."""

    def __init__(self, dialogue: Dialogue, wording: Wording) -> None:
        self._dialogue = dialogue
        self._wording = wording
        self._form: Form | None = None
        self._offer: tuple[Offer, dict[str, Value]] | None = None
        self.state = OPEN  # the name of the grammar of what may be said now

    @property
    def question(self) -> str:
        """What was asked last for the form; "" where there is none."""
        return self._form.question if self._form is not None else ""

    def begin(self, rule: Rule, found: Mapping[str, Value]) -> Move:
        """Start this form; if it is the one being filled, add to it."""
        known = self._form.slots if self._form is not None and self._form.rule is rule else {}
        self._offer = None
        self._form = Form(rule, {**known, **found})
        return self._next_step("")

    def resume(self, rule: Rule, slots: dict[str, Value], lead: str) -> Move:
        """Go on with a form whose tool said no, in the words of `lead`."""
        self._form = Form(rule, slots)
        return self._next_step(lead)

    def offer(self, offer: Offer, slots: dict[str, Value]) -> None:
        """A result came with this offer, and the caller is asked for a yes. The form is done with."""
        self._offer = (offer, slots)
        self._form = None
        self.state = CONFIRM

    def answered(self, meant: Understood) -> Move:
        """The caller gave slots, called one by its name, or said yes or no."""
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
            return self.forget(None)
        form.changing = True
        form.question = self._dialogue.texts.change
        return self._wording.say(form.question)

    def forget(self, rule: Rule | None) -> Move:
        """Drop it, by the rule that the caller asked with, or by a second no."""
        texts = self._dialogue.texts
        had = self._form is not None or self._offer is not None
        self._form = self._offer = None
        self.state = OPEN
        if not had:
            return self._wording.say(texts.nothing_to_forget)
        return self._wording.say(self._wording.variant(rule) if rule is not None and rule.say else texts.forgotten)

    def _offer_answered(self, consent: Value | None) -> Move:
        offer, self._offer = self._offer, None
        self.state = OPEN
        if offer is not None and consent is not None and consent.plain is True:
            return self.begin(self._dialogue.rule(offer[0].rule), offer[1])
        return self._wording.say(self._dialogue.texts.more)

    def _next_step(self, lead: str) -> Move:
        """Ask for what is missing, then for consent, then do it."""
        form = self._form
        assert form is not None
        missing = next((need for need in form.rule.needs if need.slot not in form.slots), None)
        if missing is not None:
            self.state = missing.slot
            form.question = filled(missing.ask, form.slots, None)
            if lead.endswith("?"):  # the tool has asked already, and knows better what
                return self._wording.say(lead)
        elif form.rule.confirm is not None:
            self.state = CONFIRM
            form.question = filled(form.rule.confirm, form.slots, None)
        else:
            return self._done(form)
        return self._wording.say(f"{lead} {form.question}".strip())

    def _done(self, form: Form) -> Move:
        self._form = None
        self.state = OPEN
        rule = form.rule
        if rule.call is None:
            return self._wording.say(filled(self._wording.variant(rule), form.slots, None))
        arguments = json.dumps(arguments_of(rule.call, form.slots), ensure_ascii=False)
        text = filled(rule.before, form.slots, None)
        if text:
            self._wording.last = text
        return Move(text, ToolCall(rule.call.tool, arguments, rule, form.slots))
