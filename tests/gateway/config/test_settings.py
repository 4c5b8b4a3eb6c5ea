from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.destinations import NAMES as DESTINATION_NAMES
from gateway.config.destinations import OTLP, SIGNALS
from gateway.config.names import DESTINATIONS, OWN_NAMES
from gateway.config.settings import LocalEndpoint, LocalModels, Settings, SettingsError, load_settings

KEY = "pb_0123456789"
ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / ".env.example"


def refused(folder: Path, environ: dict[str, str], **overrides: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, folder, **overrides)
    return str(caught.value)


def test_nothing_set_means_the_embedded_defaults(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.1", 8080, "info")
    assert settings.require_tls
    assert settings.api_key_entries == ()
    assert settings.max_message_bytes == 4 * 1024 * 1024
    assert settings.retention_days is None
    assert settings.local.chat is None


def test_relative_paths_count_from_the_folder(tmp_path: Path) -> None:
    settings = load_settings({"PATCHBAY_AGENTS_DIR": "mine", "PATCHBAY_DATA_DIR": "/var/lib/pb"}, tmp_path)
    assert settings.agents_dir == tmp_path / "mine"
    assert settings.plugins_dir == tmp_path / "plugins"
    assert settings.store_url == "sqlite:///var/lib/pb/patchbay.db"


def test_a_store_that_is_set_is_used(tmp_path: Path) -> None:
    assert load_settings({"PATCHBAY_STORE": "sqlite://:memory:"}, tmp_path).store_url == "sqlite://:memory:"


def test_the_place_of_recordings_is_read_with_its_key(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path).blobs_url == f"folder://{tmp_path}/data/blobs"
    key = "QW4gYWNjb3VudCdzIGtleSwgaW4gYmFzZTY0Lg=="
    environ = {"PATCHBAY_BLOBS": "azblob://acme1/calls?create=1", "PATCHBAY_BLOB_KEY": key}
    settings = load_settings(environ, tmp_path)
    assert settings.blobs_url == "azblob://acme1/calls?create=1"
    assert key not in repr(settings)
    without = {"PATCHBAY_BLOBS": "azblob://acme1/calls?create=1"}
    assert "PATCHBAY_BLOBS" in refused(tmp_path, without)
    assert "create=1 needs a key" in refused(tmp_path, without)
    assert refused(tmp_path, {"PATCHBAY_BLOB_KEY": "no base64!"}) == (
        "PATCHBAY_BLOB_KEY: must be a key of the storage account, in base64 as the portal shows it"
    )
    assert refused(tmp_path, {"PATCHBAY_BLOBS": "s3://x"}).startswith("PATCHBAY_BLOBS: must be one of folder://PATH")


def test_arguments_win_over_the_environment_that_over_env_file_and_that_over_yaml(tmp_path: Path) -> None:
    (tmp_path / "patchbay.yaml").write_text("port: 1\nmax_calls: 1\ndrain_s: 1\nredial_limit_ms: 1\n")
    (tmp_path / ".env").write_text("PATCHBAY_PORT=2\nPATCHBAY_MAX_CALLS=2\nPATCHBAY_DRAIN_S=2\n")
    settings = load_settings({"PATCHBAY_PORT": "3", "PATCHBAY_MAX_CALLS": "3"}, tmp_path, port=4)
    assert (settings.port, settings.max_calls, settings.drain_s, settings.redial_limit_ms) == (4, 3, 2.0, 1)


def test_nested_settings_are_merged_from_all_sources(tmp_path: Path) -> None:
    (tmp_path / "patchbay.yaml").write_text("local:\n  chat: {base_url: 'http://127.0.0.1:1/v1/', model: small}\n")
    settings = load_settings({"PATCHBAY_LOCAL__CHAT__MODEL": "large", "PATCHBAY_LOCAL__CHAT__API_KEY": "k"}, tmp_path)
    chat = settings.local.chat
    assert chat is not None
    assert (chat.base_url, chat.model) == ("http://127.0.0.1:1/v1", "large")
    assert chat.api_key is not None
    assert chat.api_key.get_secret_value() == "k"


def test_names_that_others_have_made_common_are_honoured(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY='sk-${literal}'\nSOMETHING_ELSE=1\n")
    settings = load_settings(
        {"OPENAI_BASE_URL": "wss://model.example/v1", "AZURE_OPENAI_ENDPOINT": "https://a.openai.azure.com/"}, tmp_path
    )
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "sk-${literal}"
    assert settings.openai_base_url == "wss://model.example/v1"
    assert settings.azure_openai_endpoint == "https://a.openai.azure.com"
    assert OWN_NAMES["azure_scope"] == "PATCHBAY_AZURE_SCOPE"


def test_an_empty_variable_is_an_unset_one(tmp_path: Path) -> None:
    settings = load_settings({"PATCHBAY_PORT": "", "OPENAI_API_KEY": " "}, tmp_path)
    assert (settings.port, settings.openai_api_key) == (8080, None)


def test_lists_are_written_with_commas_or_as_yaml_lists(tmp_path: Path) -> None:
    (tmp_path / "patchbay.yaml").write_text(
        "allowed_origins: [https://a.example, https://b.example]\napi_keys: [k1, k2]"
    )
    settings = load_settings({"PATCHBAY_TRUSTED_PROXIES": "10.0.0.0/8, ::1"}, tmp_path)
    assert settings.allowed_origins == ("https://a.example", "https://b.example")
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.api_key_entries == ("k1", "k2")
    assert load_settings({"PATCHBAY_API_KEYS": "k1,\nacme:k2,"}, tmp_path).api_key_entries == ("k1", "acme:k2")


def test_plugins_can_be_switched_off(tmp_path: Path) -> None:
    assert load_settings({"PATCHBAY_PLUGINS_DIR": "none"}, tmp_path).plugins_dir is None
    (tmp_path / "patchbay.yaml").write_text("plugins_dir: null\n")
    assert load_settings({}, tmp_path).plugins_dir is None


def test_files_that_are_named_must_be_there_wherever_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "patchbay.yaml").write_text("\nmcp_config: servers.json\n")
    path = f"{tmp_path}/servers.json"
    assert refused(tmp_path, {}) == (
        f"{tmp_path}/patchbay.yaml:2: mcp_config: there is no file {path}; create it (docs/tools.md), or unset this"
    )
    (tmp_path / "servers.json").write_text("{}")
    (tmp_path / "mine").mkdir()
    settings = load_settings({"PATCHBAY_PLUGINS_DIR": "mine"}, tmp_path)
    assert (settings.mcp_config, settings.plugins_dir) == (tmp_path / "servers.json", tmp_path / "mine")


def test_what_a_caller_on_the_same_machine_sets_is_no_setting_of_the_server(tmp_path: Path) -> None:
    callers = {"PATCHBAY_URL": "https://voice.example", "PATCHBAY_API_KEY": KEY}
    assert load_settings(callers, tmp_path) == load_settings({}, tmp_path)


def test_secrets_are_shown_nowhere(tmp_path: Path) -> None:
    settings = load_settings({"PATCHBAY_API_KEYS": KEY, "OPENAI_API_KEY": "sk-1", "PATCHBAY_PORT": "1"}, tmp_path)
    assert KEY not in repr(settings)
    assert "sk-1" not in repr(settings)
    message = refused(tmp_path, {"PATCHBAY_API_KEYS": "BAD:secret!", "PATCHBAY_CLIENT_SECRET_KEY": "too-short"})
    assert "secret!" not in message
    assert "too-short" not in message
    assert message.count("\n") == 1


def test_every_fault_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "patchbay.yaml").write_text(
        "drain_s: 5\n\nlocal:\n  chat:\n    base_url: http://x/v1\n    colour: red\n"
    )
    (tmp_path / ".env").write_text("PATCHBAY_MAX_CALLS=0\n")
    lines = refused(tmp_path, {"PATCHBAY_MAX_MESSAGE_BYTES": "1"}).splitlines()
    assert lines == [
        f"{tmp_path}/.env:1: PATCHBAY_MAX_CALLS: must be greater than or equal to 1",
        "PATCHBAY_MAX_MESSAGE_BYTES: must be greater than or equal to 65536",
        f"{tmp_path}/patchbay.yaml:5: local.chat.model: is missing; set it too",
        f"{tmp_path}/patchbay.yaml:6: local.chat.colour: there is no such setting; take it out",
    ]


def test_names_that_are_no_settings_are_told_together_with_bad_values(tmp_path: Path) -> None:
    (tmp_path / "patchbay.yaml").write_text("prot: {a: 1}\ndrain_s: soon\n")
    lines = refused(tmp_path, {"PATCHBAY_ZZZZ__A": "1", "PATCHBAY_MAX_CALLS": "0"}, port=-1).splitlines()
    assert [line.partition(": there is no")[0].partition(": must")[0] for line in lines] == [
        f"{tmp_path}/patchbay.yaml:1: prot",
        "PATCHBAY_ZZZZ__A",
        "port",
        "PATCHBAY_MAX_CALLS",
        f"{tmp_path}/patchbay.yaml:2: drain_s",
    ]


def test_names_that_are_no_settings_are_told_together_with_files_that_are_not_there(tmp_path: Path) -> None:
    gone = {"PATCHBAY_MCP_CONFIG": "a.json", "PATCHBAY_PLUGINS_DIR": "b", "PATCHBAY_MODEL_CA": "c.pem"}
    lines = refused(tmp_path, {**gone, "PATCHBAY_PROT": "1"}).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "PATCHBAY_PROT",
        "PATCHBAY_MODEL_CA",
        "PATCHBAY_MCP_CONFIG",
        "PATCHBAY_PLUGINS_DIR",
    ]


def test_all_that_does_not_go_together_is_told_at_once(tmp_path: Path) -> None:
    lines = refused(tmp_path, {"PATCHBAY_TLS_CERT": "a.pem", "PATCHBAY_HOST": "0.0.0.0"}).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["PATCHBAY_TLS_CERT", "PATCHBAY_HOST"]


def test_a_part_of_the_environment_that_is_missing_is_named_as_one_would_set_it(tmp_path: Path) -> None:
    message = refused(tmp_path, {"PATCHBAY_LOCAL__SPEECH__MODEL": "voice-1"})
    assert message == "PATCHBAY_LOCAL__SPEECH__BASE_URL: is missing; set it too"


def test_unknown_names_are_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    (tmp_path / "patchbay.yaml").write_text("host: 127.0.0.1\nprot: 1\n")
    lines = refused(tmp_path, {"PATCHBAY_MAX_CALL": "1", "PATCHBAY_ZZZZ": "1", "PATH": "/bin"}).splitlines()
    assert lines == [
        f"{tmp_path}/patchbay.yaml:2: prot: there is no such setting; did you mean port?",
        "PATCHBAY_MAX_CALL: there is no such setting; did you mean PATCHBAY_MAX_CALLS?",
        "PATCHBAY_ZZZZ: there is no such setting; take it out; docs/settings.md lists all settings",
    ]


def test_a_common_name_with_our_prefix_is_refused(tmp_path: Path) -> None:
    assert "is called OPENAI_API_KEY here" in refused(tmp_path, {"PATCHBAY_OPENAI_API_KEY": "x"})


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_setting(tmp_path: Path) -> None:
    links = {
        "PATCHBAY_SERVICE_HOST": "10.0.0.1",
        "PATCHBAY_SERVICE_PORT_HTTP": "8080",
        "PATCHBAY_PORT_8080_TCP_ADDR": "10.0.0.1",
        "PATCHBAY_REDIS_PORT_6379_TCP": "tcp://10.0.0.2:6379",
    }
    assert load_settings(links, tmp_path) == load_settings({}, tmp_path)
    for name in ("PATCHBAY_PORT", "PATCHBAY_AUDIOSOCKET_PORT"):
        assert "enableServiceLinks" in refused(tmp_path, {name: "tcp://10.0.0.1:8080"})
    (tmp_path / "patchbay.yaml").write_text("port: x")
    assert "enableServiceLinks" not in refused(tmp_path, {})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "voice.example"])
def test_beyond_this_machine_keys_are_needed(tmp_path: Path, host: str) -> None:
    message = refused(tmp_path, {"PATCHBAY_HOST": host})
    assert message.startswith("PATCHBAY_HOST: without API keys")
    assert "set PATCHBAY_API_KEYS" in message
    assert load_settings({"PATCHBAY_HOST": host, "PATCHBAY_API_KEYS": KEY}, tmp_path).host == host


def test_a_loopback_host_needs_no_keys(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        assert load_settings({"PATCHBAY_HOST": host}, tmp_path).host == host


def test_certificate_and_key_go_together_and_must_exist(tmp_path: Path) -> None:
    assert "set PATCHBAY_TLS_KEY too" in refused(tmp_path, {"PATCHBAY_TLS_CERT": "a.pem"})
    assert "set PATCHBAY_TLS_CERT too" in refused(tmp_path, {"PATCHBAY_TLS_KEY": "a.pem"})
    both = {"PATCHBAY_TLS_CERT": "a.pem", "PATCHBAY_TLS_KEY": "a.pem"}
    assert refused(tmp_path, both).startswith(f"PATCHBAY_TLS_CERT: there is no file {tmp_path}/a.pem")
    (tmp_path / "a.pem").write_text("")
    assert "PATCHBAY_TLS_CERT: the file must hold a certificate chain" in refused(tmp_path, both)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("OPENAI_BASE_URL", "ftp://x", "must be a URL"),
        ("OPENAI_BASE_URL", "https://user:pass@x", "must hold no user name"),
        ("OPENAI_BASE_URL", "https://x:99999", "must be a URL"),
        ("PATCHBAY_PUBLIC_URL", "wss://x", "must be a URL"),
        ("PATCHBAY_TRUSTED_PROXIES", "proxy.example", "an address or a network"),
        ("PATCHBAY_ALLOWED_ORIGINS", "shop.example", "as browsers send it"),
        ("PATCHBAY_ALLOWED_ORIGINS", "https://shop.example/page", "as browsers send it"),
        ("PATCHBAY_ALLOWED_ORIGINS", "https://shop.example:70000", "as browsers send it"),
        ("PATCHBAY_STORE", "postgres://x", "sqlite://"),
        ("PATCHBAY_STORE", "sqlite://", "must name a file"),
        ("PATCHBAY_STORE", "cosmos://x", "must name one database and one container"),
        ("PATCHBAY_STORE", "cosmos://x/db/calls?AccountKey=secret", "may hold only regions and create"),
        ("PATCHBAY_STORE", "cosmos+http://x/db/calls", "cosmos+http sends documents in the clear"),
        ("PATCHBAY_STORE", "cosmos+http://127.0.0.1:8081/db/calls", "set PATCHBAY_COSMOS_KEY"),
        ("PATCHBAY_STORE", "cosmos://x/db/calls?create=1", "create=1 needs the account's key"),
        ("PATCHBAY_COSMOS_KEY", "not base64", "is no base64"),
        ("PATCHBAY_MCP_CONFIG", "nowhere.json", "there is no file"),
        ("PATCHBAY_PLUGINS_DIR", "nowhere", "there is no folder"),
        ("PATCHBAY_LOG_LEVEL", "loud", "'debug', 'info'"),
        ("PATCHBAY_REQUIRE_TLS", "perhaps", "must be a valid boolean"),
        ("PATCHBAY_LOCAL", "x", "must hold settings by name"),
        ("PATCHBAY_CLIENT_SECRET_KEY", "short", "must have at least 32 characters"),
        ("PATCHBAY_DRAIN_S", "nan", "must be a finite number"),
        ("PATCHBAY_DRAIN_S", "-inf", "must be a finite number"),
        ("PATCHBAY_DRAIN_S", "86401", "must be less than or equal to 86400"),
        ("PATCHBAY_DRAIN_S", "1e999", "must be a finite number"),
        ("PATCHBAY_DRAIN_S", "true", "must be a valid number"),
        ("PATCHBAY_MAX_CALLS", "1e999", "must be a valid integer"),
        ("PATCHBAY_MAX_CALLS", "nan", "must be a valid integer"),
        ("PATCHBAY_MAX_CALLS", "2.5", "must be a valid integer"),
        ("PATCHBAY_MODEL_CA", "none.pem", "there is no file"),
    ],
)
def test_bad_values_are_refused(tmp_path: Path, name: str, value: str, why: str) -> None:
    message = refused(tmp_path, {name: value})
    assert message.startswith(f"{name}: ")
    assert why in message


def test_a_text_that_the_file_leaves_empty_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "patchbay.yaml").write_text("host: ''\nopenai_api_key: ''\n")
    assert refused(tmp_path, {}).splitlines() == [
        f"{tmp_path}/patchbay.yaml:1: host: must not be empty",
        f"{tmp_path}/patchbay.yaml:2: openai_api_key: must not be empty",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "max_calls: true", "max_calls: .inf", "max_calls: .nan", "max_calls: 1e999", "max_calls: 1.5", "max_calls: [1]",
        "port: false", "drain_s: true", "drain_s: .inf", "drain_s: -.inf", "drain_s: .nan", "drain_s: 1.0e999",
        "retention_days: false", "redial_limit_ms: false", f"max_calls: {'9' * 299}", f"max_calls: {'9' * 5000}",
    ],
)  # fmt: skip
def test_what_is_no_number_in_the_file_is_refused_where_one_is_wanted(tmp_path: Path, text: str) -> None:
    (tmp_path / "patchbay.yaml").write_text(text)
    assert refused(tmp_path, {}).startswith(f"{tmp_path}/patchbay.yaml:1: {text.partition(':')[0]}: ")


def test_a_name_may_stand_once_in_a_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PATCHBAY_PORT=1\nA=1\nA=2\nOPENAI_API_KEY=a\nPATCHBAY_PORT=1\nOPENAI_API_KEY=b\n")
    assert refused(tmp_path, {}).splitlines() == [
        f"{tmp_path}/.env:5: PATCHBAY_PORT: stands here twice, first in line 1; remove one",
        f"{tmp_path}/.env:6: OPENAI_API_KEY: stands here twice, first in line 4; remove one",
    ]


def test_all_lines_that_are_no_assignments_are_told_at_once_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"\n\nPATCHBAY_PORT 1\n{KEY}\n\nA=1\nPATCHBAY_PROT=2\nPATCHBAY_MAX_CALLS=0\n")
    told = "is no assignment; write NAME=value, close each quote, and begin a comment with #"
    assert refused(tmp_path, {}).splitlines() == [
        f"{tmp_path}/.env:3: {told}",
        f"{tmp_path}/.env:4: {told}",
        f"{tmp_path}/.env:7: PATCHBAY_PROT: there is no such setting; did you mean PATCHBAY_PORT?",
        f"{tmp_path}/.env:8: PATCHBAY_MAX_CALLS: must be greater than or equal to 1",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("port: [", ":1: is not YAML"),
        ("- port", ":1: must hold settings"),
        ("port: 1\nport: 2\n", ":2: port: stands here twice"),
    ],
)
def test_a_bad_yaml_file_is_refused_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "patchbay.yaml").write_text(text)
    assert refused(tmp_path, {}).startswith(f"{tmp_path}/patchbay.yaml{why}")


def test_files_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PATCHBAY_PORT=\xff")
    assert "is not UTF-8" in refused(tmp_path, {})
    (tmp_path / "patchbay.yaml").write_bytes(b"port: \xff")
    assert "patchbay.yaml:1: is not UTF-8" in refused(tmp_path, {})


def test_what_is_no_plain_file_or_too_large_is_refused(tmp_path: Path) -> None:
    for name in (".env", "patchbay.yaml"):
        path = tmp_path / name
        os.mkfifo(path)
        assert refused(tmp_path, {}) == f"{path}: cannot be read: is a named pipe; put a plain file there"
        path.unlink()
        path.symlink_to("/dev/zero")
        assert refused(tmp_path, {}) == f"{path}: cannot be read: is a device; put a plain file there"
        path.unlink()
        path.touch()
        os.truncate(path, 2 << 30)
        assert "cannot be read: has 2147483648 bytes; at most 1048576 are read" in refused(tmp_path, {})
        path.unlink()
    (tmp_path / "patchbay.yaml").write_text("# here\nport: " + "[" * 100_000)
    assert refused(tmp_path, {}).startswith(f"{tmp_path}/patchbay.yaml:2: ")


def test_blanks_without_end_in_the_env_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=b\nC=d" + " " * 500_000 + "e\n")
    assert refused(tmp_path, {}) == f"{tmp_path}/.env: holds 200 blanks in a row in line 2; remove them"


def test_an_empty_yaml_file_sets_nothing(tmp_path: Path) -> None:
    for text in ("# nothing yet\n", "{}\n"):
        (tmp_path / "patchbay.yaml").write_text(text)
        assert load_settings({}, tmp_path).port == 8080


def test_an_argument_at_fault_is_named_as_one(tmp_path: Path) -> None:
    assert refused(tmp_path, {}, port=70000) == "port: must be less than or equal to 65535"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1


def test_the_settings_load_no_heavy_part() -> None:
    heavy = ("numpy", "fastapi", "uvicorn", "typer")
    script = f"import sys, gateway.config.settings; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_each_setting_is_listed_in_the_docs_and_the_example() -> None:
    for place in (ROOT / "docs/settings.md", EXAMPLE):
        text = place.read_text()
        for name in Settings.model_fields.keys() - {DESTINATIONS}:  # which are set by names of others
            assert OWN_NAMES[name] in text, f"{place.name} lacks {OWN_NAMES[name]}"
    listed = (ROOT / "docs/telemetry.md").read_text()
    of_signals = tuple(f"{OTLP}{signal}_" for signal in SIGNALS)
    for name in [name for name in DESTINATION_NAMES if not name.startswith(of_signals)]:
        assert f"`{name.upper()}`" in listed
    text = EXAMPLE.read_text()
    for part in LocalModels.model_fields:
        for name in LocalEndpoint.model_fields.keys() - ({"voice"} if part != "speech" else set()):
            assert f"# PATCHBAY_LOCAL__{part}__{name}=".upper() in text


def test_the_example_without_its_marks_can_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text((ROOT / "mcp.json").read_text())
    text = re.sub("^# ?", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(text)
    line = text.splitlines().index("PATCHBAY_API_KEYS=") + 1
    assert refused(tmp_path, {}).startswith(f"{tmp_path}/.env:{line}: PATCHBAY_API_KEYS: holds no key")
    (tmp_path / ".env").write_text(text.replace("PATCHBAY_API_KEYS=", f"PATCHBAY_API_KEYS={KEY}"))
    settings = load_settings({}, tmp_path)
    for name in ("chat", "transcription", "speech"):
        endpoint = getattr(settings.local, name)
        assert (endpoint.base_url.startswith("http://127.0.0.1:"), bool(endpoint.model)) == (True, True)
    assert (settings.port, settings.max_calls, settings.drain_s) == (8080, 400, 30.0)
    assert settings.trusted_proxies == ("10.0.0.0/8",)
    assert (settings.openai_api_key, settings.api_key_entries, settings.tls_cert) == (None, (KEY,), None)
