from __future__ import annotations

import errno
import json
import os
import shlex
import sys
from io import StringIO

import pytest

from gateway.cli.announce import error_line, print_error, print_ready, ready_at, welcome

AGENTS = ("desk", "front-desk")


def command(text: str) -> list[str]:
    """The command in the last line, split as a shell would."""
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


def test_a_name_that_is_not_text_is_printed_as_text() -> None:
    line = error_line("agents/b\udcff.yaml: ключ")
    assert json.loads(line.encode()) == {"error": {"message": "agents/b\\udcff.yaml: ключ"}}


def test_programs_get_one_json_object_in_one_line() -> None:
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


def test_the_command_names_the_key_variable_and_accepts_a_self_signed_certificate() -> None:
    text = welcome(ready_at("0.0.0.0", 9, ("desk",), tls=True), "my programs/patchbay", keys=True)
    assert "with one of its keys in PATCHBAY_API_KEY:" in text
    assert command(text)[:6] == [
        "my programs/patchbay", "call", "desk", "--url", "https://127.0.0.1:9", "--insecure",
    ]  # fmt: skip


def test_an_error_is_printed_for_a_person_or_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("no", as_json=False)
    print_error("né", as_json=True)
    out, err = capsys.readouterr()
    assert (out, err) == ('{"error": {"message": "né"}}\n', "patchbay: no\n")
    assert json.loads(error_line('"\n')) == {"error": {"message": '"\n'}}


class FullDisk(StringIO):
    """A standard output that accepts nothing."""

    def flush(self) -> None:
        """Fail once something was written."""
        if self.getvalue():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_server_that_cannot_print_its_address_still_serves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stdout", FullDisk())
    print_ready("Patchbay is up\n")
    assert [record.message for record in caplog.records] == ["the address could not be printed"]
    print_ready("and what comes later goes nowhere\n")
    sys.stdout.close()
