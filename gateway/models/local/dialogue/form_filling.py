"""Form filling in one conversation: the slots are asked for, then the caller's consent, then the tool is called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.models.local.dialogue.patterns import Value
from gateway.models.local.dialogue.replies import Reply, ToolCall
from gateway.models.local.dialogue.rules import CONFIRM, OPEN, Dialogue, Offer, Rule, Understood
from gateway.models.local.dialogue.templates import arguments_of, filled
from gateway.models.local.dialogue.wording import Wording


@dataclass(slots=True)
class Form:
    """A rule that the caller has started, while its slots are being filled."""

    rule: Rule
    slots: dict[str, Value]
    question: str = ""
    changing: bool = False  # the caller refused the confirmation and was asked what to change


class FormFilling:
    """One conversation's open form or offer, and the dialogue's state in which the caller answers it."""

    def __init__(self, dialogue: Dialogue, wording: Wording) -> None:
        self._dialogue = dialogue
        self._wording = wording
        self._form: Form | None = None
        self._offer: tuple[Offer, dict[str, Value]] | None = None
        self.state = OPEN  # the name of the grammar for the caller's next sentence

    @property
    def question(self) -> str:
        """The last question of the form; "" where no form is open."""
        return self._form.question if self._form is not None else ""

    def begin(self, rule: Rule, found: Mapping[str, Value]) -> Reply:
        """Start this form; if it is open already, add the slots that were found."""
        known = self._form.slots if self._form is not None and self._form.rule is rule else {}
        self._offer = None
        self._form = Form(rule, {**known, **found})
        return self._next_step("")

    def resume(self, rule: Rule, slots: dict[str, Value], lead: str) -> Reply:
        """Reopen a form whose tool refused the request; the reply begins with `lead`."""
        self._form = Form(rule, slots)
        return self._next_step(lead)

    def offer(self, offer: Offer, slots: dict[str, Value]) -> None:
        """Close the form, and remember an offer that the caller is about to be asked to accept."""
        self._offer = (offer, slots)
        self._form = None
        self.state = CONFIRM

    def answered(self, meant: Understood) -> Reply:
        """Reply to a caller who gave slots, named a slot, or said yes or no."""
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
        if consent.plain is True:  # "yes" in answer to "What shall I change?"
            form.changing = False
            return self._next_step("")
        if form.changing:
            return self.forget(None)
        form.changing = True
        form.question = self._dialogue.texts.change
        return self._wording.say(form.question)

    def forget(self, rule: Rule | None) -> Reply:
        """Drop the form or offer: by a rule whose action is `forget`, or (None) after a second no."""
        texts = self._dialogue.texts
        was_open = self._form is not None or self._offer is not None
        self._form = self._offer = None
        self.state = OPEN
        if not was_open:
            return self._wording.say(texts.nothing_to_forget)
        return self._wording.say(self._wording.variant(rule) if rule is not None and rule.say else texts.forgotten)

    def _offer_answered(self, consent: Value | None) -> Reply:
        offer, self._offer = self._offer, None
        self.state = OPEN
        if offer is not None and consent is not None and consent.plain is True:
            return self.begin(self._dialogue.rule(offer[0].rule), offer[1])
        return self._wording.say(self._dialogue.texts.more)

    def _next_step(self, lead: str) -> Reply:
        """Ask for the next missing slot, then for consent, then close the form with its tool call."""
        form = self._form
        assert form is not None
        missing = next((need for need in form.rule.needs if need.slot not in form.slots), None)
        if missing is not None:
            self.state = missing.slot
            form.question = filled(missing.ask, form.slots, None)
            if lead.endswith("?"):  # the tool's sentence asks already, and more precisely
                return self._wording.say(lead)
        elif form.rule.confirm is not None:
            self.state = CONFIRM
            form.question = filled(form.rule.confirm, form.slots, None)
        else:
            return self._done(form)
        return self._wording.say(f"{lead} {form.question}".strip())

    def _done(self, form: Form) -> Reply:
        self._form = None
        self.state = OPEN
        rule = form.rule
        if rule.call is None:
            return self._wording.say(filled(self._wording.variant(rule), form.slots, None))
        arguments = json.dumps(arguments_of(rule.call, form.slots), ensure_ascii=False)
        text = filled(rule.before, form.slots, None)
        if text:
            self._wording.last = text
        return Reply(text, ToolCall(rule.call.tool, arguments, rule, form.slots))
