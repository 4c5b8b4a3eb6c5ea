"""What is stored of a turn has no keys that are secret, and the turn itself keeps them."""

from __future__ import annotations

import orjson
import pytest

from sessions.record import Speaker, ToolUse, Turn, Utterance
from sessions.secret_keys import MAX_SEARCHED, SecretKeys, shown


def said(item_id: str, text: str, speaker: Speaker = Speaker.AGENT) -> Utterance:
    return Utterance(item_id, speaker, text, text, spoken=True, begin_ms=0)


def test_a_turn_without_secrets_is_stored_as_it_is() -> None:
    turn = Turn(0, 0, entries=[said("a", "1234")])
    assert SecretKeys().stored(turn) is turn


def test_of_a_message_and_of_a_result_only_the_number_is_stored() -> None:
    secrets = SecretKeys()
    secrets.keep("keys_1", "4711", "[4 keys]")
    secrets.keep("call_1", "12", '{"digits":"[2 keys]"}')
    collected = ToolUse("call_1", "item_1", "collect_digits", '{"count":2}', True, 0, output='{"digits":"12"}')
    running = ToolUse("call_2", "item_2", "find", "{}", True, 0)
    turn = Turn(3, 0, entries=[said("keys_1", "4711", Speaker.CALLER), collected, running])
    stored = secrets.stored(turn)
    message, result, open_use = stored.entries
    assert isinstance(message, Utterance)
    assert (message.text, message.heard_text) == ("[4 keys]", "[4 keys]")
    assert isinstance(result, ToolUse)
    assert (result.arguments, result.output) == ('{"count":2}', '{"digits":"[2 keys]"}')
    assert isinstance(open_use, ToolUse)
    assert open_use.output is None
    assert (stored.index, collected.output) == (3, '{"digits":"12"}')
    assert [entry.text for entry in turn.entries if isinstance(entry, Utterance)] == ["4711"]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("Your number is 4711.", "Your number is [4 keys]."),
        ("4 7 1 1, is that right?", "[4 keys], is that right?"),
        ("47-11 or 4, 7, 1, 1", "[4 keys] or [4 keys]"),
        ("14711 and 47112 and 4710", "14711 and 47112 and 4710"),
        ("*99# was it", "[4 keys] was it"),
        ("a 12", "a 12"),  # too short to be looked for
    ],
)
def test_the_same_keys_are_found_in_what_is_said(text: str, stored: str) -> None:
    secrets = SecretKeys()
    for name, keys in (("a", "4711"), ("b", "*99#"), ("c", "12")):
        secrets.keep(name, keys, shown(keys))
    (entry,) = secrets.stored(Turn(0, 0, entries=[said("x", text)])).entries
    assert isinstance(entry, Utterance)
    assert (entry.text, entry.heard_text) == (stored, stored)


@pytest.mark.parametrize(
    ("arguments", "stored"),
    [
        ('{"pin": "4711"}', {"pin": "[4 keys]"}),
        ('{"pin": 4711, "people": 2, "sure": true, "note": null}',
         {"pin": "[4 keys]", "people": 2, "sure": True, "note": None}),
        ('{"deep": [{"4711": 1.5}]}', {"deep": [{"[4 keys]": 1.5}]}),
    ],
)  # fmt: skip
def test_json_stays_json(arguments: str, stored: object) -> None:
    secrets = SecretKeys()
    secrets.keep("a", "4711", "[4 keys]")
    assert orjson.loads(secrets.hide_in_json(arguments)) == stored


def test_what_is_no_json_is_searched_as_text_and_what_has_no_secret_is_left_alone() -> None:
    secrets = SecretKeys()
    secrets.keep("a", "4711", "[4 keys]")
    assert secrets.hide_in_json('{"pin": 4711') == '{"pin": [4 keys]'
    assert secrets.hide_in_json('{"b" : 1 }') == '{"b" : 1 }'
    assert secrets.output("other", "PIN 4711 is right") == "PIN [4 keys] is right"


def test_of_two_that_begin_alike_the_longer_one_is_found() -> None:
    secrets = SecretKeys()
    secrets.keep("a", "471", "[3 keys]")
    secrets.keep("b", "471108", "[6 keys]")
    assert secrets.hide("471108 471") == "[6 keys] [3 keys]"


def test_only_so_many_are_looked_for() -> None:
    secrets = SecretKeys()
    for number in range(1_000, 1_001 + MAX_SEARCHED):
        secrets.keep(str(number), str(number), "[4 keys]")
    assert secrets.hide("1000") == "[4 keys]"
    assert secrets.hide(str(1_000 + MAX_SEARCHED)) == str(1_000 + MAX_SEARCHED)


def test_one_key_is_one_key() -> None:
    assert (shown("5"), shown("55"), shown("")) == ("[1 key]", "[2 keys]", "[0 keys]")
