"""What `patchbay call` finds out before it calls."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from gateway.command_call import UsedWrongly, check_folder, realtime_url, tls_for


def test_a_recording_is_saved_into_a_folder_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_folder(Path("call.wav"))
    check_folder(tmp_path / "call.wav")
    with pytest.raises(UsedWrongly, match=r"--save none/call.wav: there is no folder none"):
        check_folder(Path("none/call.wav"))
    with pytest.raises(UsedWrongly, match="is a folder; name a file in it"):
        check_folder(tmp_path)


def test_a_certificate_is_verified_unless_that_is_waived(tmp_path: Path) -> None:
    assert tls_for("https://voice.example", None, False) is None
    context = tls_for("wss://voice.example", None, True)
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(
    ("url", "ca", "insecure", "why"),
    [
        ("https://x", "none.pem", False, "--ca none.pem: No such file"),
        ("https://x", "text.pem", False, "--ca text.pem: holds no certificate in PEM"),
        ("https://x", "text.pem", True, "give one of them"),
        ("http://x", "text.pem", False, "--ca text.pem: http://x has no certificate"),
        ("http://x", None, True, "--insecure: http://x has no certificate"),
    ],
)
def test_options_that_cannot_be_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, ca: str | None, insecure: bool, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pem").write_text("not a certificate\n")
    with pytest.raises(UsedWrongly, match=why):
        tls_for(url, None if ca is None else Path(ca), insecure)


def test_the_socket_lies_below_the_gateways_address() -> None:
    url = realtime_url("https://voice.example/pb/", "front-desk")
    assert url == "wss://voice.example/pb/v1/realtime?model=front-desk&greeting=1&server_tools=show"
