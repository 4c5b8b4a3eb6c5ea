"""Compiles an agent's `offline:` section into a dialogue; `docs/local-model.md` describes every key.

Keys: `slots`, `rules`, and optionally `texts`, `speech`, `pronunciations`, `before`, `after`. An error names the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.config.section import FieldProblem, Section, plain
from gateway.models.local.dialogue.patterns import NOTHING, Choice, Node, PatternError, Slot, blanks, parse
from gateway.models.local.dialogue.rules import Action, CallSpec, Dialogue, Need, Offer, Rule, SlotUse, Speech, Texts
from gateway.models.local.dialogue.slots import Day, date_slot, list_slot, number_slot, time_slot, yes_no_slot
from gateway.runtime.fairness import let_other_threads_run
from sessions.ports import JsonObject

_KEYS = ("slots", "rules", "texts", "speech", "pronunciations", "before", "after")
_SLOT_KEYS = ("type", "from", "to", "values", "answers", "changes", "called", "ask", "typed")
_RULE_KEYS = (
    "name", "phrases", "say", "before", "needs", "confirm", "call", "on_error", "retry", "offer", "action",
)  # fmt: skip
_SLOT_TYPES = ("number", "date", "time", "list")
# A slot for numbers can have ten thousand phrases, and each slot is compiled.
MAX_SLOTS = 100
_BEFORE = ("um", "well", "okay", "hi", "hello")
_AFTER = ("please", "thanks", "thank you")
_PLACE = re.compile(r"\{([^{}]*)\}")
_CLOCK = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")
YES_NO = "yes_no"


class DialogueError(FieldProblem):
    """An `offline:` section cannot be used; `field` is the path of the mistake in it, such as `rules[2].say`."""


def compile_dialogue(offline: JsonObject) -> Dialogue:
    """Make a dialogue of an agent's `offline:` section. Raises DialogueError."""
    root = Section(offline, "", DialogueError)
    root.only(_KEYS)
    specs = root.members("slots")
    if len(specs) > MAX_SLOTS:
        root.fail("slots", f"has {len(specs)} slots; at most {MAX_SLOTS} are taken")
    slots = {name: _slot(name, spec) for name, spec in specs.items()}
    uses = {name: _slot_use(name, spec, slots) for name, spec in specs.items()}
    asks = {name: spec.text("ask", "") for name, spec in specs.items()}
    rows = root.sections("rules")
    if not rows:
        root.fail("rules", "at least one rule is needed")
    rules = []
    for at, row in enumerate(rows):
        let_other_threads_run(at)
        rules.append(_rule(row, uses, asks))
    _check_names(tuple(rules), rows)
    return Dialogue(
        rules=tuple(rules),
        uses=uses,
        yes_no=yes_no_slot(YES_NO),
        texts=_texts(root.section("texts")) if root.has("texts") else Texts(),
        speech=_speech(root.section("speech")) if root.has("speech") else Speech(),
        pronunciations=_pronunciations(root),
        before=_phrases(root, "before", {}, _BEFORE),
        after=_phrases(root, "after", {}, _AFTER),
    )


def _check_names(rules: tuple[Rule, ...], rows: Sequence[Section]) -> None:
    names: dict[str, int] = {}
    for at, rule in enumerate(rules):
        if rule.name in names:
            rows[at].fail("name", f"{rule.name!r} is the name of rules[{names[rule.name]}] already")
        names[rule.name] = at
    offered = {rule.offer.rule for rule in rules if rule.offer is not None}
    for rule, row in zip(rules, rows, strict=True):
        if rule.offer is not None and rule.offer.rule not in names:
            row.fail("offer.rule", f"there is no rule {rule.offer.rule!r}")
        if rule.phrases == NOTHING and rule.name not in offered:
            row.fail("phrases", "a rule needs phrases, or another rule that offers it")


# ---- slots


def _slot_use(name: str, spec: Section, slots: Mapping[str, Slot]) -> SlotUse:
    answers = _phrases(spec, "answers", slots, (f"{{{name}}}",))
    if name not in blanks(answers):
        spec.fail("answers", f"no phrase has {{{name}}} in it")
    return SlotUse(
        slot=slots[name],
        answers=answers,
        changes=_phrases(spec, "changes", slots),
        called=_phrases(spec, "called", {}),
        typed=spec.flag("typed", False),
    )


def _slot(name: str, spec: Section) -> Slot:
    if not re.fullmatch(r"[a-z][a-z_]*", name) or name in (YES_NO, "result"):
        spec.fail("", "a slot's name is lower-case letters and _, and not yes_no or result")
    spec.only(_SLOT_KEYS)
    match spec.choice("type", _SLOT_TYPES, "list"):
        case "number":
            first, last = spec.whole("from", 0, 9999, 0), spec.whole("to", 0, 9999, 20)
            if first > last:
                spec.fail("to", "must be at least `from`")
            return number_slot(name, first, last)
        case "date":
            return date_slot(name)
        case "time":
            return time_slot(name, Day(_minute(spec, "from", 11 * 60), _minute(spec, "to", 22 * 60)))
    return _list_slot(name, spec)


def _list_slot(name: str, spec: Section) -> Slot:
    rows: dict[str, Sequence[str]] = {}
    if isinstance(spec.value.get("values"), Mapping):
        values = spec.section("values")
        for value in values.value:
            rows[value] = _sentences(values, value)
            if _phrases(values, value, {}) == NOTHING:
                values.fail(value, "a value needs at least one phrase")
    else:
        names = _sentences(spec, "values")
        for at, value in enumerate(names):
            _phrase(value.lower(), spec, f"values[{at}]", {})
        rows = {value: [value.lower()] for value in names}
    if not rows:
        spec.fail("values", "a list needs at least one value")
    return list_slot(name, rows)


def _minute(spec: Section, key: str, default: int) -> int:
    text = spec.text(key, None)
    if text is None:
        return default
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        spec.fail(key, f"{text!r} is not a time of the day; write one like 18:30")
    return int(clock[1]) * 60 + int(clock[2])


# ---- rules


def _rule(row: Section, uses: Mapping[str, SlotUse], asks: Mapping[str, str]) -> Rule:
    row.only(_RULE_KEYS)
    row.require("name", "write a name of its own for the rule")
    action = row.choice("action", tuple(Action), "")
    rule = Rule(
        name=row.filled_text("name", ""),
        phrases=_phrases(row, "phrases", {name: use.slot for name, use in uses.items()}),
        say=_sentences(row, "say"),
        before=row.text("before", ""),
        needs=_needs(row, uses, asks),
        confirm=row.filled_text("confirm", None),
        call=_call(row.section("call"), uses) if row.has("call") else None,
        on_error=row.filled_text("on_error", None),
        retry=row.filled_text("retry", None),
        offer=_offer(row.section("offer")) if row.has("offer") else None,
        action=Action(action) if action else None,
    )
    _check_rule(rule, row, uses)
    return rule


def _check_rule(rule: Rule, row: Section, uses: Mapping[str, SlotUse]) -> None:
    if rule.retry is not None and rule.retry not in {need.slot for need in rule.needs}:
        row.fail("retry", "must be one of the slots that the rule needs")
    if rule.call is None:
        for key in ("before", "on_error", "retry", "offer"):
            if getattr(rule, key):
                row.fail(key, "means something only beside `call`")
        if not rule.say and rule.action is None:
            row.fail("say", "a rule without `call` and `action` needs something to say")
    texts = [("say", text) for text in rule.say]
    texts += [("before", rule.before), ("confirm", rule.confirm or ""), ("on_error", rule.on_error or "")]
    texts += [("offer.ask", rule.offer.ask if rule.offer else "")]
    texts += [(f"needs[{at}].ask", need.ask) for at, need in enumerate(rule.needs)]
    for key, text in texts:
        _check_places(text, row, key, uses, results=rule.call is not None)


def _check_places(text: str, section: Section, key: str, uses: Mapping[str, SlotUse], *, results: bool) -> None:
    """Refuse an unknown `{place}` in a text; `results`: whether `{result}` is known."""
    for match in _PLACE.finditer(text):
        name = match[1]
        if name in uses or (results and name.partition(".")[0] == "result"):
            continue
        known = ", ".join(f"{{{slot}}}" for slot in uses) + (", {result}" if results else "")
        section.fail(key, f"{match[0]} is not known here; there are {known or 'no slots'}")


def _needs(row: Section, uses: Mapping[str, SlotUse], asks: Mapping[str, str]) -> tuple[Need, ...]:
    needs = []
    for at, item in enumerate(row.items("needs")):
        key = f"needs[{at}]"
        if isinstance(item, Mapping):
            need = Section(item, row.path_of(key), DialogueError)
            need.only(("slot", "ask"))
            need.require("slot", "write the slot's name")
            slot, ask = need.text("slot", ""), need.text("ask", "")
        elif isinstance(item, str):
            slot, ask = item, ""
        else:
            row.fail(key, "must be a slot's name, or {slot, ask}")
        if slot not in uses:
            row.fail(key, f"there is no slot {slot!r}")
        ask = ask or asks[slot]
        if not ask:
            row.fail(key, f"there is no question for {slot!r}; write `ask` here or under slots.{slot}")
        needs.append(Need(slot, ask))
    return tuple(needs)


def _call(call: Section, uses: Mapping[str, SlotUse]) -> CallSpec:
    call.only(("tool", "arguments"))
    call.require("tool", "write the tool's name")
    arguments = call.section_or_empty("arguments")
    for name, value in arguments.value.items():
        if isinstance(value, str):
            _check_places(value, arguments, name, uses, results=False)
    values = tuple((name, plain(value)) for name, value in arguments.value.items())
    return CallSpec(call.filled_text("tool", ""), values)


def _offer(offer: Section) -> Offer:
    offer.only(("ask", "rule", "when"))
    offer.require("ask", "write the question")
    offer.require("rule", "write the rule's name")
    return Offer(offer.filled_text("ask", ""), offer.filled_text("rule", ""), offer.text("when", "") or None)


# ---- the rest


def _texts(row: Section) -> Texts:
    row.only(tuple(Texts.__dataclass_fields__))
    again = _sentences(row, "not_understood", Texts().not_understood)
    if not again:
        row.fail("not_understood", "needs at least one sentence")
    keys = [key for key in row.value if key != "not_understood" and row.has(key)]
    texts: dict[str, Any] = {key: row.filled_text(key, "") for key in keys}
    return Texts(not_understood=again, **texts)


def _speech(row: Section) -> Speech:
    row.only(tuple(Speech.__dataclass_fields__))
    base = Speech()
    return Speech(
        voice=row.text("voice", base.voice),
        words_per_minute=row.whole("words_per_minute", 80, 450, base.words_per_minute),
        pitch=row.whole("pitch", 0, 99, base.pitch),
    )


def _pronunciations(root: Section) -> dict[str, str]:
    pronunciations = root.texts_by_name("pronunciations")
    for word, phones in pronunciations.items():
        if not phones.strip():
            root.fail(f"pronunciations.{word}", "is empty; write the word's sounds")
    return pronunciations


def _sentences(section: Section, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
    """The texts under a key, which holds one text or a list of them; none may be empty."""
    if not section.has(key):
        return tuple(default)
    if not isinstance(section.value[key], list):
        return (section.filled_text(key, ""),)
    texts = section.texts(key)
    for at, text in enumerate(texts):
        if not text.strip():
            section.fail(f"{key}[{at}]", "is empty; write a text, or take it out")
    return tuple(texts)


def _phrases(section: Section, key: str, slots: Mapping[str, Slot], default: Sequence[str] = ()) -> Node:
    texts = _sentences(section, key, default)
    many = isinstance(section.value.get(key), list)
    nodes = [_phrase(text, section, f"{key}[{at}]" if many else key, slots) for at, text in enumerate(texts)]
    if not nodes:
        return NOTHING
    return nodes[0] if len(nodes) == 1 else Choice(tuple(nodes))


def _phrase(text: str, section: Section, key: str, slots: Mapping[str, Slot]) -> Node:
    try:
        node = parse(text)
    except PatternError as error:
        section.fail(key, str(error))
    unknown = sorted(blanks(node) - set(slots))
    if unknown:
        section.fail(key, f"there is no slot {unknown[0]!r} to be used here")
    return node
