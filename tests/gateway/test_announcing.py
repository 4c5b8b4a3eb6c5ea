from __future__ import annotations

import errno
import json
import os
import shlex
import sys
from io import StringIO

import pytest

from gateway.announcing import error_line, ready_at, tell_fault, tell_ready, welcome

AGENTS = ("desk", "front-desk")


def command(text: str) -> list[str]:
    """The command in the last line, as a shell takes it."""
    return shlex.split(text.splitlines()[-1])


@pytest.mark.parametrize(
    ("host", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:9"),
        ("0.0.0.0", True, "https://127.0.0.1:9"),
        ("::", False, "http://[::1]:9"),
        ("::1", False, "http://[::1]:9"),
        ("voice.example", True, "https://voice.example:9"),
    ],
)
def test_a_server_is_shown_where_this_machine_reaches_it(host: str, tls: bool, url: str) -> None:
    assert ready_at(host, 9, AGENTS, tls=tls).url == url


def test_a_name_that_is_no_text_is_told_as_text() -> None:
    line = error_line("agents/b\udcff.yaml: ключ")
    assert json.loads(line.encode()) == {"error": {"message": "agents/b\\udcff.yaml: ключ"}}


def test_a_program_reads_one_object_in_one_line() -> None:
    line = ready_at("127.0.0.1", 9, AGENTS, tls=True).line()
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "url": "https://127.0.0.1:9",
        "websocket_url": "wss://127.0.0.1:9/v1/realtime",
        "agents": ["desk", "front-desk"],
    }


def test_the_default_address_needs_no_option() -> None:
    text = welcome(ready_at("127.0.0.1", 8080, AGENTS, tls=False), "./patchbay", keys=False)
    assert "up at http://127.0.0.1:8080  (agents: desk, front-desk)\n" in text
    assert "ws://127.0.0.1:8080/v1/realtime?model=front-desk\n" in text
    assert "PATCHBAY_API_KEY" not in text
    assert command(text)[:5] == ["./patchbay", "call", "front-desk", "--text", "I want to book a table"]


def test_the_command_names_where_its_key_is_looked_for_and_passes_a_certificate_of_ones_own() -> None:
    text = welcome(ready_at("0.0.0.0", 9, ("desk",), tls=True), "my programs/patchbay", keys=True)
    assert "with one of its keys in PATCHBAY_API_KEY:" in text
    assert command(text)[:6] == [
        "my programs/patchbay", "call", "desk", "--url", "https://127.0.0.1:9", "--insecure",
    ]  # fmt: skip


def test_a_fault_is_told_to_who_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    tell_fault("no", as_json=False)
    tell_fault("né", as_json=True)
    out, err = capsys.readouterr()
    assert (out, err) == ('{"error": {"message": "né"}}\n', "patchbay: no\n")
    assert json.loads(error_line('"\n')) == {"error": {"message": '"\n'}}


class FullDisk(StringIO):
    """A standard output that takes nothing."""

    def flush(self) -> None:
        """Fails, once there is something."""
        if self.getvalue():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_server_that_cannot_say_where_it_is_serves_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stdout", FullDisk())
    tell_ready("Patchbay is up\n")
    assert [record.message for record in caplog.records] == ["the address could not be printed"]
    tell_ready("and what comes later goes nowhere\n")
    sys.stdout.close()
