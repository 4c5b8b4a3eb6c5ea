"""The checks of `patchbay call` before it makes the call."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest

from gateway.cli.call import (
    UsedWrongly,
    check_folder,
    check_key,
    check_timeout,
    check_url,
    last_line,
    realtime_url,
    tls_for,
)
from gateway.softphone.report import CallReport, ProblemRow, TurnRow


def test_a_recording_is_saved_only_into_an_existing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_folder(Path("call.wav"))
    check_folder(tmp_path / "call.wav")
    with pytest.raises(UsedWrongly, match=r"--save none/call.wav: there is no folder none"):
        check_folder(Path("none/call.wav"))
    with pytest.raises(UsedWrongly, match="is a folder; name a file in it"):
        check_folder(tmp_path)


@pytest.mark.parametrize("timeout_s", [float("nan"), float("inf"), -1.0, 0.0, 1e308])
def test_a_timeout_must_be_positive_and_finite(timeout_s: float) -> None:
    check_timeout(0.5)
    with pytest.raises(UsedWrongly, match=f"--timeout {re.escape(f'{timeout_s:g}')}: must be a number of seconds"):
        check_timeout(timeout_s)


@pytest.mark.parametrize("key", ["ключ", "hush hush", " hush", "hush\n", "hush\udcff"])
def test_a_key_that_no_request_can_carry_is_refused_and_not_shown(key: str) -> None:
    for good in (None, "", "pb_0123", "ek_" + "a" * 5000):
        check_key(good)
    with pytest.raises(UsedWrongly, match=r"^--key \(or PATCHBAY_API_KEY\): a key consists of visible ASCII") as caught:
        check_key(key)
    assert key.strip() not in str(caught.value)


@pytest.mark.parametrize("url", ["bogus", "ftp://x", "http://", "http://:8080", "http://x:99999", "http://.."])
def test_an_address_without_a_possible_gateway_is_refused(url: str) -> None:
    for good in ("http://127.0.0.1:8080", "wss://voice.example/pb/", "HTTPS://[::1]"):
        check_url(good)
    with pytest.raises(UsedWrongly, match=f"^--url {re.escape(url)} .or PATCHBAY_URL.: must .* one such as http://"):
        check_url(url)


def test_a_secret_in_an_address_is_not_shown() -> None:
    for url in ("https://me:hush@x", "bogus://me:hush@x", "https://x/?key=hush"):
        with pytest.raises(UsedWrongly, match=r"^--url \(or PATCHBAY_URL\): must ") as caught:
            check_url(url)
        assert "hush" not in str(caught.value)


def test_a_certificate_is_verified_unless_the_check_is_skipped(tmp_path: Path) -> None:
    assert tls_for("https://voice.example", None, False) is None
    context = tls_for("wss://voice.example", None, True)
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(
    ("url", "ca", "insecure", "why"),
    [
        ("https://x", "none.pem", False, "--ca none.pem: No such file"),
        ("https://x", "text.pem", False, "--ca text.pem: holds no PEM certificate"),
        ("https://x", "text.pem", True, "give only one of them"),
        ("http://x", "text.pem", False, "--ca text.pem: http://x has no certificate"),
        ("http://x", None, True, "--insecure: http://x has no certificate"),
    ],
)
def test_unusable_options_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, ca: str | None, insecure: bool, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pem").write_text("not a certificate\n")
    with pytest.raises(UsedWrongly, match=why):
        tls_for(url, None if ca is None else Path(ca), insecure)


def test_the_socket_path_follows_the_gateways_address() -> None:
    url = realtime_url("https://voice.example/pb/", "front-desk")
    assert url == "wss://voice.example/pb/v1/realtime?model=front-desk&greeting=1&server_tools=show"


def test_the_last_line_has_no_full_stop_inside() -> None:
    report = CallReport("desk", "sess_1", ended="The call has reached its budget.")
    assert "ended: The call has reached its budget; both sides saved in c.wav" in told(report, failed=False)
    assert "ended: The call has reached its budget (slow); both sides" in told(report, failed=True)


def told(report: CallReport, *, failed: bool) -> str:
    report.turns = [] if failed else [TurnRow(1, "yes", 0)]
    report.problems = [ProblemRow("slow", None)]
    return last_line(report, Path("c.wav"))
