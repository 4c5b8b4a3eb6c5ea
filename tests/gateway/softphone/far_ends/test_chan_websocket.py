"""The far end of Asterisk's WebSocket channel: its queue and levels, marks, flushes, and what it checks."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.softphone.far_ends.chan_websocket import ChanWebsocketFarEnd

FRAME = b"\x10" * 160


def events(messages: list[bytes]) -> list[dict[str, Any]]:
    found = [orjson.loads(message) for message in messages]
    assert all(event.pop("channel_id") == "c1" for event in found)
    return found


def command(name: str, **more: Any) -> bytes:
    return orjson.dumps({"command": name, **more})


def test_it_begins_with_the_format_and_tells_of_keys() -> None:
    made = ChanWebsocketFarEnd("c1")
    (start,) = events(made.begin())
    assert (start["event"], start["format"], start["optimal_frame_size"]) == ("MEDIA_START", "ulaw", 160)
    assert events(made.press("#")) == [{"event": "DTMF_END", "digit": "#"}]
    with pytest.raises(ValueError, match="no key"):
        made.press("12")


def test_a_mark_is_echoed_when_everything_before_it_has_been_played() -> None:
    made = ChanWebsocketFarEnd("c1")
    made.binary(FRAME * 10, 0)
    assert made.text(command("MARK_MEDIA", correlation_id="m1"), 50) == []
    assert made.wake_ms == 200
    assert made.on_time(199) == []
    assert events(made.on_time(200)) == [{"event": "MEDIA_MARK_PROCESSED", "correlation_id": "m1"}]
    assert made.ear.heard(1000) == FRAME * 10
    assert made.faults == []


def test_a_flush_drops_sound_and_marks_without_a_word_and_says_that_the_queue_is_empty_if_asked() -> None:
    made = ChanWebsocketFarEnd("c1")
    made.binary(FRAME * 10, 0)
    made.text(command("MARK_MEDIA", correlation_id="m1"), 0)
    assert made.text(command("REPORT_QUEUE_DRAINED"), 60) == []
    assert events(made.text(command("FLUSH_MEDIA"), 60)) == [{"event": "QUEUE_DRAINED"}]
    assert made.on_time(1000) == []
    assert made.ear.heard(1000) == FRAME * 3


def test_a_frame_that_is_being_played_is_played_to_its_end_and_is_not_in_the_queue() -> None:
    made = ChanWebsocketFarEnd("c1")
    made.binary(FRAME * 10, 0)
    (status,) = events(made.text(command("GET_STATUS"), 65))
    assert status["queue_length"] == 6
    assert made.text(command("FLUSH_MEDIA"), 65) == []
    made.binary(FRAME, 70)
    assert made.ear.heard(1000) == FRAME * 5
    assert made.ear.held_ms(70) == 30


def test_a_pause_keeps_sound_and_marks_until_it_is_ended_and_a_flush_does_not_end_it() -> None:
    made = ChanWebsocketFarEnd("c1")
    made.binary(FRAME * 4, 0)
    made.text(command("MARK_MEDIA", correlation_id="m1"), 0)
    made.text(command("PAUSE_MEDIA"), 25)
    made.text(command("PAUSE_MEDIA"), 26)
    made.binary(FRAME, 30)
    (status,) = events(made.text(command("GET_STATUS"), 500))
    assert (status["queue_length"], status["media_paused"], made.wake_ms) == (3, True, None)
    assert made.on_time(500) == []
    assert made.ear.heard(500) == FRAME * 2
    made.text(command("CONTINUE_MEDIA"), 500)
    assert events(made.on_time(540)) == [{"event": "MEDIA_MARK_PROCESSED", "correlation_id": "m1"}]
    assert made.ear.heard(1000) == FRAME * 5
    made.text(command("PAUSE_MEDIA"), 1000)
    made.text(command("REPORT_QUEUE_DRAINED"), 1000)
    made.binary(FRAME * 3, 1000)
    assert made.text(command("FLUSH_MEDIA"), 1000) == []
    made.binary(FRAME, 1001)
    made.text(command("CONTINUE_MEDIA"), 1100)
    assert events(made.on_time(1120)) == [{"event": "QUEUE_DRAINED"}]
    assert made.ear.heard(2000) == FRAME * 6
    assert made.text(command("CONTINUE_MEDIA"), 2000) == []
    assert made.faults == []


def test_the_queue_asks_for_a_pause_then_for_more_and_loses_what_does_not_fit() -> None:
    made = ChanWebsocketFarEnd("c1")
    assert made.binary(FRAME * 400, 0) + made.binary(FRAME * 400, 0) == []
    assert events(made.binary(FRAME * 100, 0)) == [{"event": "MEDIA_XOFF"}]
    made.binary(FRAME * 100, 0)
    assert made.faults == []
    made.binary(FRAME, 0)
    assert made.faults == ["more sound than the queue holds, which is lost"]
    (status,) = events(made.text(command("GET_STATUS"), 0))
    assert (status["queue_length"], status["queue_full"]) == (1000, True)
    assert made.on_time(4000) == []
    assert made.wake_ms is not None
    assert events(made.on_time(made.wake_ms + 1)) == [{"event": "MEDIA_XON"}]


def test_a_frame_that_is_not_whole_is_dropped() -> None:
    made = ChanWebsocketFarEnd("c1")
    made.binary(FRAME + FRAME[:100], 0)
    assert made.faults == ["sound that is not whole frames of 20 ms"]
    assert made.ear.heard(1000) == FRAME


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (command("MARK_MEDIA", correlation_id="m" * 100), "more than 128 bytes"),
        (b"MARK_MEDIA m1", "not JSON"),
        (command("get_status"), "does not know"),
        (command("FLUSH_MEDIA", why="x"), "does not know"),
        (b"[]", "does not know"),
    ],
)
def test_a_wrong_command_is_a_fault_and_does_nothing(text: bytes, fault: str) -> None:
    made = ChanWebsocketFarEnd("c1")
    made.binary(FRAME * 10, 0)
    made.text(text, 0)
    assert len(made.faults) == 1
    assert fault in made.faults[0]
    assert made.ear.held_ms(0) == 200
    assert made.close_code is None


def test_a_hang_up_and_a_message_that_is_too_long_close_the_socket() -> None:
    made = ChanWebsocketFarEnd("c1")
    made.text(command("HANGUP"), 0)
    assert (made.hung_up, made.close_code, made.faults) == (True, 1000, [])
    made = ChanWebsocketFarEnd("c1")
    made.binary(bytes(65_501), 0)
    assert (made.hung_up, made.close_code) == (False, 1009)
