"""Slips in writing the server's keys: either the start stops, or nobody comes in without the key that was meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Caller, Entrance
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules
from gateway.auth.requests import Refusal, UpgradeRequest, read_request
from gateway.config.settings import SettingsError, load_settings

KEY = "pb_0123456789"
NAME = "PATCHBAY_API_KEYS"


class StoppedClock:
    def now_ms(self) -> int:
        return 0

    def wall_s(self) -> float:
        return 0.0


def request(**headers: str) -> UpgradeRequest:
    raw = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()
    ]
    return read_request("/v1/realtime", b"model=a", raw, peer="127.0.0.1", secure=False)


def is_shut(folder: Path, environ: dict[str, str] | None = None) -> str:
    """Why the server does not start, or `in force` where it does and lets in nobody but the key's owner."""
    try:
        settings = load_settings(environ or {}, folder)
    except SettingsError as error:
        told = str(error)
        return "the key is shown" if KEY in told else told
    keys = read_keys(settings.api_key_entries)
    door = Entrance(OriginRules(credentials=bool(keys)), keys, ClientSecrets(b"s" * 32), StoppedClock())
    assert isinstance(door.let_in(request(), client_secrets=True), Refusal), "anybody comes in"
    assert isinstance(door.let_in(request(authorization=f"Bearer {KEY}"), client_secrets=True), Caller)
    return "in force"


GOOD = [
    f"{NAME}={KEY}",
    f"export {NAME}={KEY}",
    f"  {NAME} = {KEY}  ",
    f"{NAME}\t=\t{KEY}\t",
    f"{NAME}='{KEY}'",
    f'{NAME}="{KEY}"',
    f"{NAME}={KEY} # of the shop",
    f"{NAME}=shop:{KEY}",
    f"{NAME}={KEY},",
    f'{NAME}="other,\n{KEY}"',
    f"\ufeff{NAME}={KEY}",
    f"\u00a0{NAME}\u00a0=\u00a0{KEY}\u00a0",
    f"OTHER=a\r\n{NAME}={KEY}\r\nNEXT=b\r\n",
    f"OTHER=a\r{NAME}={KEY}\r",
    f"OTHER=a\\\n{NAME}={KEY}",
    f"PATCHBAY_API_KEY={KEY}\n{NAME}={KEY}",
]

SLIPS = [
    f"{NAME} {KEY}",
    f"{NAME}: {KEY}",
    f"{NAME}:{KEY}",
    f"{NAME}:={KEY}",
    f"{NAME}->{KEY}",
    NAME,
    f"export {NAME}",
    f"set {NAME}={KEY}",
    f"setenv {NAME} {KEY}",
    f"Export {NAME}={KEY}",
    f"ENV {NAME}={KEY}",
    f"$env:{NAME}='{KEY}'",
    f"${NAME}={KEY}",
    f"patchbay_api_keys={KEY}",
    f"Patchbay_Api_Keys={KEY}",
    f"patchbay_API_KEYS={KEY}",
    f"{NAME}='{KEY}",
    f'{NAME}="{KEY}',
    f'{NAME}={KEY}"',
    f"{NAME}=\u201c{KEY}\u201d",
    f"{NAME}=`{KEY}`",
    f"{NAME}=\"'{KEY}'\"",
    f"{NAME}=\u200b{KEY}",
    f"\u200b{NAME}={KEY}",
    f"{NAME}\u200b={KEY}",
    f"{NAME}=\0{KEY}",
    f"{NAME}\0={KEY}",
    f"PATCHBAY_API_KEY={KEY}",
    f"PATCHBAY_APIKEYS={KEY}",
    f"PATCHBAY-API-KEYS={KEY}",
    f"PATCHBAY.API.KEYS={KEY}",
    f"PATCHBAY_API_KEYS_={KEY}",
    f"_PATCHBAY_API_KEYS={KEY}",
    f"PATCHBAY__API_KEYS={KEY}",
    f"PATCHBAY_KEYS={KEY}",
    f"PATCHBAY_API_KEYS__A={KEY}",
    f"PATHBAY_API_KEYS={KEY}",
    f"PATCHBY_API_KEYS={KEY}",
    f"PATCBHAY_API_KEYS={KEY}",
    f"PATCH_BAY_API_KEYS={KEY}",
    f"\u0420ATCHBAY_API_KEYS={KEY}",
    f"API_KEYS={KEY}",
    f"-{NAME}={KEY}",
    f"- {NAME}={KEY}",
    f"* {NAME}={KEY}",
    f"*{NAME}={KEY}",
    f"+{NAME}={KEY}",
    f"{NAME}={KEY}\n{NAME}=other",
    f"{NAME}=\n{KEY}",
    f"{NAME}=\\\n{KEY}",
    f"{NAME} \\\n={KEY}",
    f'{{"{NAME}": "{KEY}"}}',
    f'{NAME}=["{KEY}"]',
    f'{NAME}={{"shop": "{KEY}"}}',
    f"{NAME}=",
    f"{NAME}=''",
    f'{NAME}=""',
    f'{NAME}="  "',
    f"{NAME}=,",
    f"{NAME}=' , ,'",
    f"{NAME}= # {KEY}",
    f"{NAME}=shop:",
    f"{NAME}=${{KEY}}",
    f"{NAME}=$KEY",
    f"{NAME}=$(cat key)",
    f"{NAME}=<{KEY}>",
    f"{NAME}={{{{ key }}}}",
    f"//{NAME}={KEY}",
    f"// {NAME}={KEY}",
    f"; {NAME}={KEY}",
    f";{NAME}={KEY}",
    f"rem {NAME}={KEY}",
    f"PATCHBAY_AZURE_SCOPE=x {NAME}={KEY}",
    f"PATCHBAY_PORT=8080 {NAME}={KEY}",
    f"OTHER=1 {NAME}={KEY}",
    f"OTHER=1; export {NAME}={KEY}",
    f"OTHER=1\u2028{NAME}={KEY}",
    f"OTHER=1\x0b{NAME}={KEY}",
    f"OTHER='1 {NAME}={KEY}\nNEXT=it's",
    f'OTHER="1\n{NAME}={KEY}\nNEXT="',
    f'{NAME}="{KEY}\nDEBUG=1\nNEXT="',
]


@pytest.mark.parametrize("text", GOOD, ids=ascii)
def test_a_key_that_is_written_well_is_in_force(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_bytes(text.encode())
    assert is_shut(tmp_path) == "in force"


@pytest.mark.parametrize("text", SLIPS, ids=ascii)
def test_a_slip_in_writing_the_keys_stops_the_start_and_names_the_line(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_bytes(f"# our keys\n\n{text}\n".encode())
    told = is_shut(tmp_path)
    assert f"{tmp_path}/.env:" in told
    if "\0" not in text:
        assert any(f"{tmp_path}/.env:{line}: " in told for line in (3, 4))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_keys_in_a_file_of_another_encoding_stop_the_start(tmp_path: Path, encoding: str) -> None:
    (tmp_path / ".env").write_bytes(f"{NAME}={KEY}\n".encode(encoding))
    assert "is not UTF-8 text" in is_shut(tmp_path)


def test_a_file_of_keys_that_is_no_file_stops_the_start(tmp_path: Path) -> None:
    for name in (".env", "patchbay.yaml"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
        assert f"{tmp_path}/{name}: is a link that leads nowhere" in is_shut(tmp_path)
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
        assert f"{tmp_path}/{name}: cannot be read: is a folder; put a plain file there" in is_shut(tmp_path)
        (tmp_path / name).rmdir()
        (tmp_path / name).symlink_to(tmp_path / name)
        assert f"{tmp_path}/{name}: cannot be read: Too many levels" in is_shut(tmp_path)
        (tmp_path / name).unlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_of_keys_that_may_not_be_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{NAME}={KEY}\n")
    (tmp_path / ".env").chmod(0)
    assert "cannot be read: Permission denied" in is_shut(tmp_path)


@pytest.mark.parametrize("name", [".env.txt", "patchbay.yml", "patchbay.yaml.txt"])
def test_a_file_whose_name_is_nearly_right_stops_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(f"{NAME}={KEY}\n")
    assert f"{tmp_path}/{name}: is not read; rename it to" in is_shut(tmp_path)


@pytest.mark.parametrize("value", ["", " ", ",", " , ", "''", '""', "\n", "${KEYS}", "$(KEYS)", '"pb_1"', '["pb_1"]'])
def test_keys_that_the_environment_leaves_empty_stop_the_start(tmp_path: Path, value: str) -> None:
    assert is_shut(tmp_path, {NAME: value}).startswith(f"{NAME}: ")
    (tmp_path / ".env").write_text(f"{NAME}={KEY}\n")
    assert is_shut(tmp_path, {NAME: value}).startswith(f"{NAME}: ")


@pytest.mark.parametrize(
    "name",
    [
        "patchbay_api_keys", "Patchbay_Api_Keys", "PATCHBAY-API-KEYS", "PATCHBAY.API.KEYS", "PATCHBAY_API_KEYS ",
        " PATCHBAY_API_KEYS", "PATHBAY_API_KEYS", "PATCHBAY_APIKEYS", "PATCHBAYAPIKEYS",
    ],
)  # fmt: skip
def test_a_name_in_the_environment_that_is_nearly_right_stops_the_start(tmp_path: Path, name: str) -> None:
    assert "did you mean PATCHBAY_API_KEYS?" in is_shut(tmp_path, {name: KEY})


@pytest.mark.parametrize(
    "text",
    [
        "api_keys:", "api_keys: ''", "api_keys: []", "api_keys: ['']", "api_keys: [null]", "api_keys: {}",
        "api_keys: {shop: pb_0123456789}", "api_keys: 12345678", "api_keys: [1.50]", "api_keys: [[pb_0123456789]]",
        "api_keys: true", "apikeys: pb_0123456789", "API_KEYS: pb_0123456789", "PATCHBAY_API_KEYS: pb_0123456789",
        "PATCHBAY_API_KEYS=pb_0123456789", "api_keys pb_0123456789", "api-keys: pb_0123456789",
        "- api_keys: pb_0123456789", "keys:\n  api_keys: pb_0123456789", "\tapi_keys: pb_0123456789",
        "host: 127.0.0.1\n---\napi_keys: pb_0123456789", "api_keys: &a pb_0123456789\nclient_secret_key: *a",
        "log_level: |\n  info\n  api_keys: pb_0123456789", "api_keys:\napi_keys: pb_0123456789",
    ],
)  # fmt: skip
def test_a_slip_in_the_yaml_file_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "patchbay.yaml").write_text(text)
    assert is_shut(tmp_path).startswith(f"{tmp_path}/patchbay.yaml:")


@pytest.mark.parametrize(
    "text", [f"api_keys: {KEY}", f"api_keys: [{KEY}]", f"api_keys:\n- {KEY}", f"api_keys: '{KEY}'"]
)
def test_a_key_in_the_yaml_file_is_in_force(tmp_path: Path, text: str) -> None:
    (tmp_path / "patchbay.yaml").write_text(text)
    assert is_shut(tmp_path) == "in force"


def test_names_of_others_are_left_alone(tmp_path: Path) -> None:
    text = (
        "# PATCHBAY_API_KEYS=\nA=\nspring.url=x\nMY-NAME=1\nRUN=\"-e PATCHBAY_PORT=1\"\nPEM='a\nB=\nc'\nAPI_KEY=1\n"
        "A=2\nSTAGING_PATCHBAY_API_KEYS=k\nPATCH=1\nOPENAI_ORG=o\n_=x\nNEXT=1 # PATCHBAY_PORT=2\n"
    )
    (tmp_path / ".env").write_text(text)
    links = {"MY_PATCHBAY_PORT": "tcp://10.0.0.1:80", "MYPATCHBAY_PORT": "tcp://10.0.0.1:80", "PATCHBAY": "1"}
    assert load_settings(links, tmp_path).api_key_entries == ()
