"""Control messages of Asterisk's WebSocket channel, in JSON and in plain text."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.callers.asterisk.ws_messages import MAX_COMMAND_BYTES, command, read_control
from sessions.errors import WireError


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b'{"event":"MEDIA_XOFF","channel_id":"C"}', ("MEDIA_XOFF", {"event": "MEDIA_XOFF", "channel_id": "C"}, True)),
        (b"MEDIA_XOFF", ("MEDIA_XOFF", {}, False)),
        (b"DTMF_END digit:1 channel_id:C", ("DTMF_END", {"digit": "1", "channel_id": "C"}, False)),
        (b"MEDIA_MARK_PROCESSED 0-1", ("MEDIA_MARK_PROCESSED", {"correlation_id": "0-1"}, False)),
        (
            b"MEDIA_MARK_PROCESSED channel_id:C correlation_id:0-1",
            ("MEDIA_MARK_PROCESSED", {"channel_id": "C", "correlation_id": "0-1"}, False),
        ),
        (b"MEDIA_START channel:WebSocket/a/0x1:2", ("MEDIA_START", {"channel": "WebSocket/a/0x1:2"}, False)),
        (b" XON  \r\n", ("XON", {}, False)),
    ],
)
def test_both_forms_are_read(message: bytes, expected: tuple[str, dict[str, Any], bool]) -> None:
    assert read_control(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"  ",
        "\u00a0".encode(),
        b"[]",
        b'"MEDIA_XON"',
        b"{",
        b"{}",
        b'{"event":7}',
        b"_",
        b"\xff\xfe",
        b"a-b c",
        b" {}",
    ],
)
def test_what_is_no_event_is_malformed_and_not_repeated(message: bytes) -> None:
    with pytest.raises(WireError) as raised:
        read_control(message)
    assert len(message.strip()) < 4 or message.decode("latin-1") not in str(raised.value)


def test_commands_come_in_both_forms() -> None:
    assert command("FLUSH_MEDIA", json=True) == b'{"command":"FLUSH_MEDIA"}'
    assert command("FLUSH_MEDIA", json=False) == b"FLUSH_MEDIA"
    assert command("MARK_MEDIA", json=True, correlation_id="0-1") == b'{"command":"MARK_MEDIA","correlation_id":"0-1"}'
    assert command("MARK_MEDIA", json=False, correlation_id="0-1") == b"MARK_MEDIA 0-1"


def test_a_command_that_asterisk_would_drop_is_an_error_of_ours() -> None:
    with pytest.raises(AssertionError):
        command("MARK_MEDIA", json=True, correlation_id="x" * MAX_COMMAND_BYTES)
