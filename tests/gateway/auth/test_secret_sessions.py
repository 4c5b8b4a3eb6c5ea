from __future__ import annotations

from gateway.auth.secret_sessions import counted, without_the_agents

WISH = {
    "type": "realtime",
    "model": "one",
    "instructions": "x",
    "audio": {"input": {"transcription": None, "turn_detection": None}, "output": {"voice": "ash"}},
}


def test_only_what_a_client_may_set_counts() -> None:
    audio = {"input": {"turn_detection": None}, "output": {"voice": "ash"}}
    assert counted(WISH, frozenset()) == {"type": "realtime", "audio": audio}
    assert counted(WISH, frozenset({"instructions"})) == {"type": "realtime", "instructions": "x", "audio": audio}
    assert counted(WISH, frozenset({"transcription"})) == {"type": "realtime", "audio": WISH["audio"]}


def test_a_wish_for_sound_of_one_side_only_stays_as_it_is() -> None:
    for audio in ({"output": {"voice": "ash"}}, {"input": None}, None):
        assert counted({"audio": audio}, frozenset()) == {"audio": audio}


def test_what_the_agent_is_told_is_shown_to_nobody() -> None:
    shown = without_the_agents({"instructions": "x", "prompt": {"id": "p"}, "tracing": "auto", "model": "one"})
    assert shown == {"instructions": "", "prompt": None, "tracing": None, "model": "one"}
