"""The commands as functions of their arguments: what they print, and their exit codes."""

from __future__ import annotations

import json
from io import BytesIO, TextIOWrapper

import pytest

from gateway.auth.keys import read_keys
from gateway.cli.commands import run
from gateway.cli.output import out

Captured = pytest.CaptureFixture[str]


def ran(captured: Captured, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    try:
        code = run(list(arguments))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    printed = captured.readouterr()
    return code, printed.out, printed.err


def test_a_created_key_is_printed_as_an_entry_of_the_setting(capsys: Captured) -> None:
    for arguments, tenant in ((("--tenant", "shop"), "shop"), ((), "default")):
        code, printed, _ = ran(capsys, "keys", "create", *arguments, "--json")
        made = json.loads(printed)
        assert (code, read_keys([made["entry"]]).tenant_of(made["key"])) == (0, tenant)


@pytest.mark.parametrize("tenant", ["a:b:c", "The Shop", "", "sha256", "_boots"])
def test_a_tenant_that_an_entry_cannot_hold_gets_no_key(capsys: Captured, tenant: str) -> None:
    code, printed, wrong = ran(capsys, "keys", "create", "--tenant", tenant)
    assert (code, printed) == (2, "")
    assert wrong.startswith(f"patchbay: --tenant {tenant!r}: ")
    code, printed, wrong = ran(capsys, "keys", "create", "--tenant", tenant, "--json")
    assert (code, wrong) == (2, "")
    assert json.loads(printed)["error"]["message"].startswith(f"--tenant {tenant!r}: ")


def test_words_are_printed_as_they_are(capsys: Captured) -> None:
    out.print("a:b:c [bold]d")
    assert capsys.readouterr().out == "a:b:c [bold]d\n"
    assert "--barge-in 5:100:" in ran(capsys, "call", "desk", "--text", "a", "--barge-in", "5:100")[2]


@pytest.mark.parametrize("port", ["70000", "-1", "80.5"])
def test_a_model_refuses_a_port_that_does_not_exist(capsys: Captured, port: str) -> None:
    code, printed, _ = ran(capsys, "model", "--script", "none.yaml", "--port", port, "--json")
    assert (code, "--port" in json.loads(printed)["error"]["message"]) == (2, True)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--timeout", "nan"), ("--timeout", "0"), ("--key", "ключ"), ("--url", "bogus"), ("--url", "ftp://x")],
)
def test_a_call_with_an_unusable_option_is_not_made(capsys: Captured, option: str, value: str) -> None:
    code, printed, wrong = ran(capsys, "call", "desk", "--text", "hello", option, value)
    assert (code, printed) == (2, "")
    assert wrong.startswith(f"patchbay: {option} ")
    assert "ключ" not in wrong


@pytest.mark.parametrize(
    "arguments", [("d\udcffsk", "--text", "a"), ("desk", "--text", "\udcff"), ("desk", "text:\udcff")]
)
def test_arguments_that_are_not_text_are_refused(capsys: Captured, arguments: tuple[str, ...]) -> None:
    code, printed, wrong = ran(capsys, "call", *arguments, "--json")
    assert (code, wrong) == (2, "")
    assert "is not UTF-8 text" in json.loads(printed)["error"]["message"]


def test_a_character_that_the_terminal_cannot_show_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = BytesIO()
    monkeypatch.setattr("sys.stdout", TextIOWrapper(printed, "latin-1", write_through=True))
    assert run(["keys", "create", "--tenant", "ключ", "--json"]) == 2
    assert json.loads(printed.getvalue())["error"]["message"].startswith("--tenant 'ключ'")


def test_a_key_from_the_environment_is_checked_too(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_API_KEY", "hush hush")
    code, printed, wrong = ran(capsys, "call", "desk", "--text", "hello", "--json")
    assert (code, wrong, "hush" in printed, "PATCHBAY_API_KEY" in printed) == (2, "", False, True)
