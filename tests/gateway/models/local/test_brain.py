"""The offline model in virtual time: its brain with the turn finder, speech to text and answers, in whole calls."""

from __future__ import annotations

import audioop
import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Protocol

import pytest
from support.local.local_world import LocalCall, front_desk, front_desk_brains, spoken

from audio.formats import PCM16_24K, PCMU_8K
from audio.resampling import resample_in_place
from sessions.ports import JsonObject


class Begin(Protocol):
    """Begins a call."""

    def __call__(self, *, manual_turns: bool = False, format: str = "audio/pcm") -> LocalCall: ...


@pytest.fixture
def begin() -> Iterator[Begin]:
    make = front_desk_brains()
    calls: list[LocalCall] = []

    def begun(*, manual_turns: bool = False, format: str = "audio/pcm") -> LocalCall:
        calls.append(LocalCall(make, manual_turns=manual_turns, format=format))
        return calls[-1]

    yield begun
    for call in calls:  # returns their decoders to the pool
        call.brain.close()


def silence(ms: int) -> bytes:
    return bytes(PCM16_24K.bytes_for_ms(ms))


def message(role: str, kind: str, **fields: str) -> JsonObject:
    return {"type": "message", "role": role, "content": [{"type": kind, **fields}]}


def test_a_table_is_booked_by_voice(begin: Begin) -> None:
    call = begin()
    for line in (
        "I'd like to book a table",
        "two people",
        "tomorrow",
        "half past seven",
        "my name is Carter",
        "yes please",
    ):
        call.hear(spoken(line))
    assert call.turns.said == [
        "i'd like to book a table",
        "two people",
        "tomorrow",
        "half past seven",
        "my name is carter",
        "yes please",
    ]
    assert [response.text for response in call.turns.responses[:4]] == [
        "For how many people?",
        "For what day?",
        "At what time?",
        "Under what name?",
    ]
    ((_, name, arguments),) = call.turns.responses[-1].calls
    assert name == "book_table"
    assert json.loads(arguments) == {"date": "tomorrow", "time": "19:30", "party_size": 2, "name": "Carter"}
    assert call.tool_gives(sentence="Booked for two.", booking_id=1).text.startswith("Booked for two.")


def test_the_transcript_comes_before_the_answer(begin: Begin) -> None:
    call = begin()
    seen: list[int] = []
    original = call.turns.transcribed

    def transcribed(item_id: str, text: str) -> None:
        seen.append(len(call.turns.responses[-1].sound))
        original(item_id, text)

    call.turns.transcribed = transcribed  # type: ignore[method-assign]
    call.hear(spoken("tell me a joke"))
    assert seen == [0]
    assert call.turns.responses[-1].sound


def test_telephone_sound_is_understood(begin: Begin) -> None:
    call = begin(format="audio/pcmu")
    pcm16 = b"".join(resample_in_place([spoken("what are your opening hours")], 24000, 8000))
    call.hear(audioop.lin2ulaw(pcm16, 2), PCMU_8K)
    assert call.turns.said == ["what are your opening hours"]
    assert call.turns.responses[0].text.startswith("We are open from noon")


def test_speech_outside_the_grammar_is_asked_again(begin: Begin) -> None:
    call = begin()
    call.hear(spoken("the quick brown fox jumps over the lazy dog"))
    assert call.turns.said == [""]
    assert call.turns.responses[0].text == front_desk().texts.not_understood[0]


def test_a_barge_in_ends_the_synthesis(begin: Begin) -> None:
    call = begin()
    answer = call.type("What are your opening hours?")
    call.advance(100)
    made = len(answer.sound)
    assert not answer.finished
    call.hear(spoken("never mind"))
    assert answer.ended
    assert not answer.finished
    assert len(answer.sound) <= 2 * made
    assert call.turns.responses[-1].text == front_desk().texts.nothing_to_forget


def test_a_greeting_is_spoken_unchanged_and_can_be_repeated(begin: Begin) -> None:
    call = begin()
    given: JsonObject = {"content": [{"type": "text", "text": "Hello, Harbour Restaurant."}]}
    greeting = call.turns.ask({"pre_generated_assistant_message": given})
    call.advance(100)
    assert greeting.finished
    assert greeting.text == "Hello, Harbour Restaurant."
    assert call.type("Pardon?").text == "Hello, Harbour Restaurant."


def test_a_typed_message_gets_a_text_answer_without_sound(begin: Begin) -> None:
    call = begin()
    call.brain.item_added(message("user", "input_text", text="Where are you?"), 0)
    answer = call.turns.ask(text_only=True)
    assert answer.text.startswith("We are at twelve Quay Street")
    assert not answer.sound


def test_pictures_are_declined_politely(begin: Begin) -> None:
    call = begin()
    call.brain.item_added(message("user", "input_image", image_url="data:image/png;base64,AAAA"), 0)
    assert call.turns.ask(text_only=True).text == front_desk().texts.no_pictures


def test_a_committed_turn_is_the_speech_until_the_commit(begin: Begin) -> None:
    call = begin(manual_turns=True)
    call.hear(spoken("what's on")[: PCM16_24K.bytes_for_ms(900)] + silence(200))
    call.brain.cleared()
    call.hear(spoken("how are you today"))
    assert not call.turns.notes
    call.brain.committed("item_mine", call.turns.now_ms)
    assert call.turns.notes == [("said", "how are you today")]
    assert call.turns.ask(text_only=True).text.startswith("Very well")


def test_a_committed_turn_without_speech_is_not_understood(begin: Begin) -> None:
    call = begin(manual_turns=True)
    call.hear(silence(400))
    call.brain.committed("item_mine", call.turns.now_ms)
    assert call.turns.ask(text_only=True).text == front_desk().texts.not_understood[0]


def test_recorded_sound_is_recognised(begin: Begin) -> None:
    call = begin()
    sound = b64encode(spoken("tell me a joke")).decode()
    call.brain.item_added(message("user", "input_audio", audio=sound), 0)
    answer = call.turns.ask(text_only=True)
    assert not answer.text
    call.advance(1000)
    assert call.turns.said == ["tell me a joke"]
    assert "Why did the lobster" in answer.text


def test_history_restores_the_dialogue_s_state(begin: Begin) -> None:
    call = begin()
    for role, kind, text in (
        ("user", "input_text", "book a table for two tomorrow"),
        ("assistant", "output_text", "At what time?"),
        ("user", "input_text", "half past seven"),
        ("assistant", "output_text", "Under what name?"),
    ):
        call.brain.item_added(message(role, kind, text=text), 0)
    assert (
        call.type("Smith", text_only=True).text == "A table for two, tomorrow at 7:30 PM, under Smith. Shall I book it?"
    )


def test_the_result_of_a_call_in_the_history_is_answered_by_its_rule(begin: Begin) -> None:
    call = begin()
    call.brain.item_added(message("user", "input_text", text="do you have a table for two tomorrow at seven"), 0)
    past: JsonObject = {"type": "function_call", "call_id": "c9", "name": "find_tables", "arguments": "{}"}
    call.brain.item_added(past, 0)
    output: JsonObject = {
        "type": "function_call_output",
        "call_id": "c9",
        "output": '{"sentence": "Yes.", "free": true}',
    }
    call.brain.item_added(output, 0)
    assert call.turns.ask(text_only=True).text == "Yes. Shall I book it for you?"


def test_an_out_of_band_answer_does_not_change_the_conversation(begin: Begin) -> None:
    call = begin()
    call.type("book a table")
    out_of_band: JsonObject = {"conversation": "none", "input": [message("user", "input_text", text="Where are you?")]}
    assert "Quay Street" in call.turns.ask(out_of_band, text_only=True).text
    assert call.type("four").text == "For what day?"


def test_an_answer_without_anything_new_offers_help(begin: Begin) -> None:
    assert begin().turns.ask(text_only=True).text == front_desk().texts.more


def test_a_closed_call_is_quiet(begin: Begin) -> None:
    call = begin()
    answer = call.type("What are your opening hours?")
    call.brain.close()
    made = len(answer.sound)
    assert call.brain.deadline_ms is None
    call.advance(10_000)
    assert len(answer.sound) == made
