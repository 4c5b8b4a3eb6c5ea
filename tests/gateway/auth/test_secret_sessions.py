from __future__ import annotations

from gateway.auth.secret_sessions import settable_fields, without_agent_fields

REQUESTED = {
    "type": "realtime",
    "model": "one",
    "instructions": "x",
    "audio": {"input": {"transcription": None, "turn_detection": None}, "output": {"voice": "ash"}},
}


def test_only_fields_that_a_client_may_set_are_kept() -> None:
    audio = {"input": {"turn_detection": None}, "output": {"voice": "ash"}}
    assert settable_fields(REQUESTED, frozenset()) == {"type": "realtime", "audio": audio}
    with_instructions = settable_fields(REQUESTED, frozenset({"instructions"}))
    assert with_instructions == {"type": "realtime", "instructions": "x", "audio": audio}
    assert settable_fields(REQUESTED, frozenset({"transcription"})) == {"type": "realtime", "audio": REQUESTED["audio"]}


def test_audio_fields_of_one_side_only_are_unchanged() -> None:
    for audio in ({"output": {"voice": "ash"}}, {"input": None}, None):
        assert settable_fields({"audio": audio}, frozenset()) == {"audio": audio}


def test_the_agents_fields_are_not_shown() -> None:
    shown = without_agent_fields({"instructions": "x", "prompt": {"id": "p"}, "tracing": "auto", "model": "one"})
    assert shown == {"instructions": "", "prompt": None, "tracing": None, "model": "one"}
