"""Compiles an agent's `offline:` section; every fault is a `DialogueError` that names the field.

Keys: `slots`, `rules`, and optionally `texts`, `speech`, `pronunciations`, `before`, `after`. `docs/local-model.md`
explains each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.models.local.patterns import NOTHING, Choice, Node, PatternError, Slot, blanks, parse
from gateway.models.local.rules import Action, CallSpec, Dialogue, Need, Offer, Rule, SlotUse, Speech, Texts
from gateway.models.local.slots import Day, date_slot, list_slot, number_slot, time_slot, yes_no_slot
from gateway.yielding import let_others_run
from sessions.ports import Json, JsonObject

_KEYS = frozenset(["slots", "rules", "texts", "speech", "pronunciations", "before", "after"])
_SLOT_KEYS = frozenset(["type", "from", "to", "values", "answers", "changes", "called", "ask", "typed"])
_RULE_KEYS = frozenset(
    ["name", "phrases", "say", "before", "needs", "confirm", "call", "on_error", "retry", "offer", "action"],
)
MAX_SLOTS = 100  # a slot for numbers can have ten thousand phrases
_BEFORE = ("um", "well", "okay", "hi", "hello")
_AFTER = ("please", "thanks", "thank you")
_PLACE = re.compile(r"\{([^{}]*)\}")
_CLOCK = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")
YES_NO = "yes_no"


class DialogueError(ValueError):
    """An `offline:` section that cannot be used; `field` is the path of the fault in it, such as `rules.2.say`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


def compile_dialogue(offline: JsonObject) -> Dialogue:
    """Make a dialogue of an agent file's `offline:` section. Raises DialogueError."""
    _known(offline, _KEYS, "")
    specs = _object(offline.get("slots", {}), "slots")
    if len(specs) > MAX_SLOTS:
        raise DialogueError("slots", f"has {len(specs)} slots; at most {MAX_SLOTS} are taken")
    slots = {name: _slot(name, _object(spec, f"slots.{name}")) for name, spec in specs.items()}
    uses = {name: _slot_use(name, _object(spec, f"slots.{name}"), slots) for name, spec in specs.items()}
    asks = {name: _text(spec, "ask", f"slots.{name}", "") for name, spec in specs.items() if isinstance(spec, Mapping)}
    rows = _list(offline.get("rules"), "rules")
    if not rows:
        raise DialogueError("rules", "at least one rule is needed")
    rules = []
    for at, row in enumerate(rows):
        let_others_run(at)
        rules.append(_rule(_object(row, f"rules.{at}"), f"rules.{at}", uses, asks))
    _check_names(tuple(rules))
    pronunciations = _object(offline.get("pronunciations", {}), "pronunciations")
    return Dialogue(
        rules=tuple(rules),
        uses=uses,
        yes_no=yes_no_slot(YES_NO),
        texts=_texts(_object(offline.get("texts", {}), "texts")),
        speech=_speech(_object(offline.get("speech", {}), "speech")),
        pronunciations={word: _text(pronunciations, word, "pronunciations") for word in pronunciations},
        before=_phrases(offline.get("before", _BEFORE), "before", {}),
        after=_phrases(offline.get("after", _AFTER), "after", {}),
    )


def _check_names(rules: tuple[Rule, ...]) -> None:
    names: dict[str, int] = {}
    for at, rule in enumerate(rules):
        if rule.name in names:
            raise DialogueError(f"rules.{at}.name", f"{rule.name!r} is the name of rules.{names[rule.name]} already")
        names[rule.name] = at
    for at, rule in enumerate(rules):
        if rule.offer is not None and rule.offer.rule not in names:
            raise DialogueError(f"rules.{at}.offer.rule", f"there is no rule {rule.offer.rule!r}")
        if rule.phrases == NOTHING and not any(r.offer is not None and r.offer.rule == rule.name for r in rules):
            raise DialogueError(f"rules.{at}.phrases", "a rule needs phrases, or another rule that offers it")


# ---- slots


def _slot_use(name: str, spec: JsonObject, slots: Mapping[str, Slot]) -> SlotUse:
    field = f"slots.{name}"
    answers = _phrases(spec.get("answers", [f"{{{name}}}"]), f"{field}.answers", slots)
    if name not in blanks(answers):
        raise DialogueError(f"{field}.answers", f"no phrase has {{{name}}} in it")
    typed = spec.get("typed", False)
    if not isinstance(typed, bool):
        raise DialogueError(f"{field}.typed", "must be true or false")
    return SlotUse(
        slot=slots[name],
        answers=answers,
        changes=_phrases(spec.get("changes", []), f"{field}.changes", slots),
        called=_phrases(spec.get("called", []), f"{field}.called", {}),
        typed=typed,
    )


def _slot(name: str, spec: JsonObject) -> Slot:
    field = f"slots.{name}"
    if not re.fullmatch(r"[a-z][a-z_]*", name) or name in (YES_NO, "result"):
        raise DialogueError(field, "a slot's name is lower-case letters and _, and not yes_no or result")
    _known(spec, _SLOT_KEYS, field)
    match spec.get("type", "list"):
        case "number":
            first, last = _whole(spec, "from", field, 0), _whole(spec, "to", field, 20)
            if not 0 <= first <= last <= 9999:
                raise DialogueError(f"{field}.to", "must be at least `from`, and at most 9999")
            return number_slot(name, first, last)
        case "date":
            return date_slot(name)
        case "time":
            return time_slot(name, Day(_minute(spec, "from", field, 11 * 60), _minute(spec, "to", field, 22 * 60)))
        case "list":
            return _list_slot(name, spec.get("values"), field)
    raise DialogueError(f"{field}.type", "must be number, date, time or list")


def _list_slot(name: str, values: Json, field: str) -> Slot:
    rows: dict[str, Sequence[str]] = {}
    if isinstance(values, Mapping):
        for plain, phrases in values.items():
            rows[str(plain)] = _strings(phrases, f"{field}.values.{plain}")
    else:
        rows = {plain: [plain.lower()] for plain in _strings(values, f"{field}.values")}
    if not rows:
        raise DialogueError(f"{field}.values", "a list needs at least one value")
    for plain, row in rows.items():
        if _phrases(row, f"{field}.values.{plain}", {}) == NOTHING:
            raise DialogueError(f"{field}.values.{plain}", "a value needs at least one phrase")
    return list_slot(name, rows)


def _minute(spec: JsonObject, key: str, field: str, default: int) -> int:
    if key not in spec:
        return default
    text = _text(spec, key, field)
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        raise DialogueError(f"{field}.{key}", f'{text!r} is not a time of the day; write one like "18:30", in quotes')
    return int(clock[1]) * 60 + int(clock[2])


# ---- rules


def _rule(row: JsonObject, field: str, uses: Mapping[str, SlotUse], asks: Mapping[str, str]) -> Rule:
    _known(row, _RULE_KEYS, field)
    slots = {name: use.slot for name, use in uses.items()}
    phrases = _phrases(row.get("phrases", []), f"{field}.phrases", slots)
    needs = tuple(
        _need(need, f"{field}.needs.{at}", uses, asks)
        for at, need in enumerate(_list(row.get("needs"), f"{field}.needs"))
    )
    call = _call(_object(row["call"], f"{field}.call"), f"{field}.call", uses) if "call" in row else None
    rule = Rule(
        name=_text(row, "name", field),
        phrases=phrases,
        say=_strings(row.get("say", []), f"{field}.say"),
        before=_text(row, "before", field, ""),
        needs=needs,
        confirm=_text(row, "confirm", field) if "confirm" in row else None,
        call=call,
        on_error=_text(row, "on_error", field) if "on_error" in row else None,
        retry=_text(row, "retry", field) if "retry" in row else None,
        offer=_offer(_object(row["offer"], f"{field}.offer"), f"{field}.offer") if "offer" in row else None,
        action=_action(row, field),
    )
    _check_rule(rule, field, uses)
    return rule


def _check_rule(rule: Rule, field: str, uses: Mapping[str, SlotUse]) -> None:
    if rule.retry is not None and rule.retry not in {need.slot for need in rule.needs}:
        raise DialogueError(f"{field}.retry", "must be one of the slots that the rule needs")
    if rule.call is None:
        for key, used in (
            ("before", rule.before),
            ("on_error", rule.on_error),
            ("retry", rule.retry),
            ("offer", rule.offer),
        ):
            if used:
                raise DialogueError(f"{field}.{key}", "means something only beside `call`")
        if not rule.say and rule.action is None:
            raise DialogueError(f"{field}.say", "a rule without `call` and `action` needs something to say")
    texts = [(f"{field}.say", text) for text in rule.say]
    texts += [(f"{field}.before", rule.before), (f"{field}.confirm", rule.confirm or "")]
    texts += [(f"{field}.on_error", rule.on_error or ""), (f"{field}.offer.ask", rule.offer.ask if rule.offer else "")]
    texts += [(f"{field}.needs.{at}.ask", need.ask) for at, need in enumerate(rule.needs)]
    for where, text in texts:
        _check_places(text, where, uses, results=rule.call is not None)


def _check_places(text: str, field: str, uses: Mapping[str, SlotUse], *, results: bool) -> None:
    for match in _PLACE.finditer(text):
        name = match[1]
        if name in uses or (results and name.partition(".")[0] == "result"):
            continue
        known = ", ".join(f"{{{slot}}}" for slot in uses) + (", {result}" if results else "")
        raise DialogueError(field, f"{match[0]} is not known here; there are {known or 'no slots'}")


def _need(need: Json, field: str, uses: Mapping[str, SlotUse], asks: Mapping[str, str]) -> Need:
    if isinstance(need, Mapping):
        _known(need, frozenset(("slot", "ask")), field)
        slot, ask = _text(need, "slot", field), _text(need, "ask", field, "")
    elif isinstance(need, str):
        slot, ask = need, ""
    else:
        raise DialogueError(field, "must be a slot's name, or {slot, ask}")
    if slot not in uses:
        raise DialogueError(field, f"there is no slot {slot!r}")
    if not (ask or asks.get(slot)):
        raise DialogueError(field, f"how to ask for {slot!r} is said neither here nor in slots.{slot}.ask")
    return Need(slot, ask or asks[slot])


def _call(row: JsonObject, field: str, uses: Mapping[str, SlotUse]) -> CallSpec:
    _known(row, frozenset(("tool", "arguments")), field)
    arguments = _object(row.get("arguments", {}), f"{field}.arguments")
    for name, value in arguments.items():
        if isinstance(value, str):
            _check_places(value, f"{field}.arguments.{name}", uses, results=False)
    return CallSpec(_text(row, "tool", field), tuple(arguments.items()))


def _offer(row: JsonObject, field: str) -> Offer:
    _known(row, frozenset(("ask", "rule", "when")), field)
    return Offer(_text(row, "ask", field), _text(row, "rule", field), _text(row, "when", field, "") or None)


def _action(row: JsonObject, field: str) -> Action | None:
    if "action" not in row:
        return None
    text = _text(row, "action", field)
    if text not in set(Action):
        raise DialogueError(f"{field}.action", f"must be one of {', '.join(Action)}")
    return Action(text)


# ---- the rest


def _texts(row: JsonObject) -> Texts:
    _known(row, frozenset(Texts.__dataclass_fields__), "texts")
    again = _strings(row.get("not_understood", Texts().not_understood), "texts.not_understood")
    if not again:
        raise DialogueError("texts.not_understood", "needs at least one sentence")
    texts: dict[str, Any] = {key: _text(row, key, "texts") for key in row if key != "not_understood"}
    return Texts(not_understood=again, **texts)


def _speech(row: JsonObject) -> Speech:
    _known(row, frozenset(Speech.__dataclass_fields__), "speech")
    pace, pitch = _whole(row, "words_per_minute", "speech", 170), _whole(row, "pitch", "speech", 50)
    if not 80 <= pace <= 450:
        raise DialogueError("speech.words_per_minute", "must be from 80 to 450")
    if not 0 <= pitch <= 99:
        raise DialogueError("speech.pitch", "must be from 0 to 99")
    return Speech(_text(row, "voice", "speech", "en-us"), pace, pitch)


def _phrases(value: Json, field: str, slots: Mapping[str, Slot]) -> Node:
    nodes: list[Node] = []
    for at, text in enumerate(_strings(value, field)):
        try:
            node = parse(text)
        except PatternError as error:
            raise DialogueError(f"{field}.{at}", str(error)) from error
        unknown = sorted(blanks(node) - set(slots))
        if unknown:
            raise DialogueError(f"{field}.{at}", f"there is no slot {unknown[0]!r} to be used here")
        nodes.append(node)
    if not nodes:
        return NOTHING
    return nodes[0] if len(nodes) == 1 else Choice(tuple(nodes))


def _known(row: JsonObject, keys: frozenset[str], field: str) -> None:
    for key in row:
        if key not in keys:
            where = f"{field}.{key}" if field else str(key)
            raise DialogueError(where, f"unknown key; there are {', '.join(sorted(keys))}")


def _object(value: Json, field: str) -> JsonObject:
    if not isinstance(value, Mapping):
        raise DialogueError(field, "must be a mapping")
    return value


def _list(value: Json, field: str) -> Sequence[Json]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise DialogueError(field, "must be a list")
    return value


def _strings(value: Json, field: str) -> tuple[str, ...]:
    """One string or a list of them."""
    rows = (value,) if isinstance(value, str) else _list(value, field)
    texts = tuple(row for row in rows if isinstance(row, str) and row.strip())
    if len(texts) != len(rows):
        raise DialogueError(field, "must be a text, or a list of texts (quote words such as yes, no, on and off)")
    return texts


def _text(row: JsonObject, key: str, field: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise DialogueError(f"{field}.{key}", "must be a text" if key in row else "is missing")
    return value


def _whole(row: JsonObject, key: str, field: str, default: int) -> int:
    value = row.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DialogueError(f"{field}.{key}", "must be a whole number")
    return value
