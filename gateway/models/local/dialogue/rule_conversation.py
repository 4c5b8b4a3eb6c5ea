"""One call's conversation by rules: it takes what the caller said, and replies with sentences and tool calls."""

from __future__ import annotations

from functools import partial

from gateway.models.local.dialogue.form_filling import FormFilling
from gateway.models.local.dialogue.patterns import Row, Slot, Value, Word, fit
from gateway.models.local.dialogue.replies import Reply, ToolCall
from gateway.models.local.dialogue.results import Result, read_result
from gateway.models.local.dialogue.rules import Action, Dialogue, Rule, Understood
from gateway.models.local.dialogue.templates import filled
from gateway.models.local.dialogue.wording import Wording
from gateway.models.local.dialogue.words import words_of

_PUNCTUATION = str.maketrans(dict.fromkeys('.,;:!?"()', " "))
LONGEST_TYPED_WORDS = 3  # of the value of a slot that accepts any typed words


class RuleConversation:
    """One conversation: understands the caller, fills forms, and continues with the tools' results."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._wording = Wording(dialogue.texts)
        self._arrangement = FormFilling(dialogue, self._wording)
        self._calls: dict[str, ToolCall] = {}  # calls without a result yet, by id

    @property
    def state(self) -> str:
        """The name of the grammar for the caller's next sentence."""
        return self._arrangement.state

    def spoken(self, text: str) -> Reply:
        """Reply to a recognised sentence, which is a whole sentence of the state's grammar."""
        return self._answer(self._dialogue.understand(words_of(text), self.state))

    def written(self, text: str) -> Reply:
        """Reply to free text: typed, or from a recogniser without a grammar."""
        words = words_of(text)
        meant = self._dialogue.understand(words, self.state) or self._dialogue.find(words, self.state)
        return self._answer(meant or _typed_value(self._dialogue, self.state, text, words))

    def not_understood(self) -> Reply:
        """Reply to speech that was not understood."""
        return self._wording.missed(self._arrangement.question)

    def greeted(self, text: str) -> None:
        """Remember a sentence that the agent spoke without a rule, such as the greeting."""
        self._wording.last = text

    def called(self, call_id: str, call: ToolCall) -> None:
        """The tool call of a reply has got this id."""
        self._calls[call_id] = call

    def tool_answered(self, call_id: str, output: str) -> Reply:
        """Reply to a tool's result."""
        result = read_result(output)
        call = self._calls.pop(call_id, None)
        if call is None:
            return self._wording.say(result.sentence)
        rule, slots = call.rule, dict(call.slots)
        if result.failed:
            return self._tool_failed(rule, slots, result)
        text = filled(self._wording.variant(rule), slots, result)
        if rule.offer is not None and (rule.offer.when is None or result.field(rule.offer.when)):
            self._arrangement.offer(rule.offer, slots)
            text = f"{text} {filled(rule.offer.ask, slots, result)}"
        return self._wording.say(text) if text.strip() else Reply("")

    def _tool_failed(self, rule: Rule, slots: dict[str, Value], result: Result) -> Reply:
        if not result.refused:  # the tool broke down: asking for another value would not help
            return self._wording.say(f"{self._dialogue.texts.tool_failed} {result.sentence}".strip())
        text = filled(rule.on_error or "{result}", slots, result)
        if rule.retry is None:
            return self._wording.say(text)
        slots.pop(rule.retry, None)
        return self._arrangement.resume(rule, slots, text)

    def _answer(self, meant: Understood | None) -> Reply:
        if meant is None:
            return self.not_understood()
        self._wording.understood()
        rule, found = meant.rule, dict(meant.found)
        if rule is None:
            return self._arrangement.answered(meant)
        if rule.action is Action.REPEAT:
            return Reply(self._wording.last)
        if rule.action is Action.FORGET:
            return self._arrangement.forget(rule)
        if rule.is_form:
            return self._arrangement.begin(rule, found)
        text = filled(self._wording.variant(rule), found, None)
        return self._wording.say(f"{text} {self._arrangement.question}".strip())


def _typed_value(dialogue: Dialogue, state: str, text: str, words: tuple[str, ...]) -> Understood | None:
    """Take the last words of an answer as the slot's value, if the slot accepts any words: `my name is Kowalski`."""
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


def _always(value: Value, _: tuple[str, ...]) -> Value:
    return value
