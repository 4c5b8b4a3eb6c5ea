"""Every setting, from the environment (`PATCHBAY_*`), `.env`, or `patchbay.yaml`; `docs/settings.md` lists them.

The only place that reads the environment for settings. The first of these that has a value wins: arguments, the
environment, `.env`, `patchbay.yaml`, the defaults here.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.auth.keys import read_keys
from gateway.auth.origins import is_loopback
from gateway.auth.requests import read_proxies
from gateway.binding import MAX_PORT
from gateway.half_open import MAX_ADDRESS_HALF_OPEN, MAX_HALF_OPEN
from gateway.model_urls import api_base, azure_resource
from gateway.settings_names import OWN_NAMES
from gateway.settings_sources import Source, SourceFault, explain, read_sources
from gateway.urls import read_plain_url

MIB = 1 << 20
_PATHS = ("data_dir", "agents_dir", "plugins_dir", "tls_cert", "tls_key", "mcp_config", "model_ca")
_FILES = ("tls_cert", "tls_key", "model_ca")
# Quotes and JSON that no shell has taken off, and what stands for a key that nobody has put in: ${KEY}, $(KEY), <KEY>.
_WRAPPED = re.compile(r"""^["'`\[{]|["'`\]}]$|^\$(\w+|\{.*\}|\(.*\))$|^%\w+%$|^<.*>$""")


class SettingsError(ValueError):
    """The settings cannot be used; the message names each setting at fault, where it was read, and what to do."""


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part for line in value.splitlines() for part in map(str.strip, line.split(",")) if part)


def _split(value: object) -> object:
    return _parts(value) if isinstance(value, str) else value


def _joined(value: object) -> object:
    if isinstance(value, list | tuple):
        if not all(isinstance(part, str) for part in value):  # YAML's null would become the key None, 1.50 the key 1.5
            raise ValueError("each key must be text; put quotes round it")
        return ",".join(value)
    return "" if value is None else value


def _none_word(value: object) -> object:
    return None if value == "none" else value


def _model_url(value: str) -> str:
    return api_base(value, ("https", "http", "wss", "ws"))


def _endpoint_url(value: str) -> str:
    return api_base(value, ("https", "http"))


def _http_url(value: str) -> str:
    read_plain_url(value, ("https", "http"))
    return value.rstrip("/")


def _keys(value: SecretStr) -> SecretStr:
    entries = _parts(value.get_secret_value())
    if not entries:  # what was meant as a key and came out empty must not open the door
        raise ValueError("holds no key; write one (patchbay keys create), or leave the line out to run without keys")
    for place, entry in enumerate(entries, start=1):
        if any(_WRAPPED.search(part) for part in (entry, entry.partition(":")[2])):
            told = "write the key itself, with no quotes, brackets or variables around it or in its place"
            raise ValueError(f"API key {place}: {told}")
    read_keys(entries)
    return value


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _proxies(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        read_proxies(value)
    except ValueError:
        raise ValueError("each must be an address or a network, such as 10.0.0.0/8") from None
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        try:
            fits = origin == "*" or not read_plain_url(origin, ("http", "https")).path.strip("/")
        except ValueError:
            fits = False
        if not fits:
            raise ValueError("each must be written as browsers do, such as https://shop.example; or * for all")
    return value


def _store(value: str) -> str:
    scheme, _, place = value.partition("://")
    if scheme == "cosmos":
        raise ValueError("cosmos:// is not supported yet; write one such as sqlite://./data/patchbay.db")
    if value and (scheme != "sqlite" or not place or place.endswith("/")):
        raise ValueError("must name a file, such as sqlite://./data/patchbay.db")
    return value


Whole = Annotated[int, BeforeValidator(_no_flag)]
Seconds = Annotated[float, BeforeValidator(_no_flag)]
Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
ModelUrl = Annotated[str, AfterValidator(_model_url)]
AzureUrl = Annotated[str, AfterValidator(azure_resource)]
EndpointUrl = Annotated[str, AfterValidator(_endpoint_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Secret = Annotated[SecretStr, Field(min_length=1)]


class LocalEndpoint(BaseModel):
    """An OpenAI-compatible HTTP endpoint that plays one part of a local model."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: EndpointUrl
    model: str = Field(min_length=1)
    api_key: Secret | None = None
    voice: str | None = Field(default=None, min_length=1, description="for speech")


class LocalModels(BaseModel):
    """The endpoints of local models; None: no such endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    chat: LocalEndpoint | None = None
    transcription: LocalEndpoint | None = None
    speech: LocalEndpoint | None = None


class Settings(BaseSettings):
    """All settings of one process. Made by `load_settings`; made directly, it reads no source at all."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: Whole = Field(default=8080, ge=0, le=MAX_PORT, description="TCP port to listen on; 0: any free one")
    tls_cert: Path | None = Field(default=None, description="PEM file: certificate chain")
    tls_key: Path | None = Field(default=None, description="PEM file: private key")
    require_tls: bool = Field(
        default=True, description="callers from beyond this machine need TLS, here or at a trusted proxy"
    )
    public_url: HttpUrl | None = Field(default=None, description="the address under which callers reach this server")
    trusted_proxies: Annotated[Words, AfterValidator(_proxies)] = Field(default=(), description="addresses or networks")

    api_keys: Annotated[SecretStr, BeforeValidator(_joined), AfterValidator(_keys)] = Field(
        default=SecretStr(""), validate_default=False, description="keys that may call; none: no key is asked for"
    )
    allowed_origins: Annotated[Words, AfterValidator(_origins)] = Field(
        default=(), description="web pages' origins, or *"
    )
    client_secret_key: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        default=None, description="signs client secrets, at least 32 characters"
    )

    data_dir: Path = Field(default=Path("./data"), description="folder for the database, recordings and spools")
    agents_dir: Path = Field(default=Path("./agents"), description="folder of the agents' files")
    plugins_dir: Annotated[Path | None, BeforeValidator(_none_word)] = Field(
        default=Path("./plugins"), description="folder of Python tools; none: no plugins"
    )
    mcp_config: Path = Field(default=Path("./mcp.json"), description="file that names the MCP servers")
    store: Annotated[str, AfterValidator(_store)] = Field(
        default="", description="sqlite://PATH; empty: under data_dir"
    )

    max_calls: Whole = Field(default=400, ge=1, le=100_000, description="live calls in this process")
    max_tenant_calls: Whole = Field(default=400, ge=1, le=100_000, description="live calls of one tenant")
    max_half_open: Whole = Field(
        default=MAX_HALF_OPEN, ge=16, le=100_000, description="connections that have not sent a whole request head"
    )
    max_address_half_open: Whole = Field(
        default=MAX_ADDRESS_HALF_OPEN, ge=1, le=100_000, description="those of one client address; no bound on proxies"
    )
    max_message_bytes: Whole = Field(
        default=4 * MIB, ge=64 * 1024, le=256 * MIB, description="one WebSocket message, bytes"
    )
    max_body_bytes: Whole = Field(default=64 * 1024, ge=1024, le=16 * MIB, description="one HTTP request's body, bytes")
    max_tool_result_bytes: Whole = Field(default=16 * 1024, ge=256, le=MIB, description="one tool result, bytes")
    max_tool_answer_bytes: Whole = Field(
        default=MIB, ge=64 * 1024, le=64 * MIB, description="one answer of an MCP server before it is read, bytes"
    )
    redial_limit_ms: Whole = Field(
        default=5000, ge=0, le=60_000, description="time to win back a lost model, milliseconds"
    )
    drain_s: Seconds = Field(
        default=30.0, ge=0, le=86_400, allow_inf_nan=False, description="time for running calls at a stop, seconds"
    )
    retention_days: Whole | None = Field(
        default=None, ge=1, le=36_500, description="age of records to delete, days; None: keep"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    openai_api_key: Secret | None = None
    openai_base_url: ModelUrl = "https://api.openai.com/v1"
    azure_openai_endpoint: AzureUrl | None = None
    azure_openai_api_key: Secret | None = Field(default=None, description="None: Microsoft Entra ID")
    azure_scope: str = Field(
        default="https://ai.azure.com/.default", min_length=1, description="scope of Entra ID tokens"
    )
    model_ca: Path | None = Field(
        default=None, description="PEM file: authorities to trust for models, instead of the system's"
    )
    local: LocalModels = LocalModels()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load_settings` reads the sources, and remembers where each value came from."""
        return (init_settings,)

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        faults: list[str] = []
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_cert"
            given = "tls_cert" if missing == "tls_key" else "tls_key"
            faults.append(f"{given}: goes together with {missing}; set {OWN_NAMES[missing]} too, or neither")
        if not self.api_key_entries and not is_loopback(self.host):
            faults.append(
                f"host: without API keys the server listens on this machine only, not on {self.host!r}; "
                f"set {OWN_NAMES['api_keys']}, or {OWN_NAMES['host']} to 127.0.0.1"
            )
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @property
    def api_key_entries(self) -> tuple[str, ...]:
        """Each configured key, as `gateway.auth.keys.read_keys` takes them."""
        return _parts(self.api_keys.get_secret_value())

    @property
    def store_url(self) -> str:
        """The store's URL; by default a SQLite file under `data_dir`."""
        return self.store or f"sqlite://{self.data_dir}/patchbay.db"


def load_settings(
    environ: Mapping[str, str] | None = None, folder: Path | None = None, **overrides: object
) -> Settings:
    """The settings of this process, `overrides` above all. Raises SettingsError, which lists every fault.

    `environ` None: the process's own. `.env`, `patchbay.yaml` and relative paths count from `folder`, by default the
    working directory.
    """
    try:
        source = read_sources(os.environ if environ is None else environ, folder or Path(), Settings.model_fields)
        source.lay_over(overrides)
        settings = Settings(**source.values)
    except SourceFault as fault:
        raise SettingsError(str(fault)) from fault
    except ValidationError as error:
        # Not chained: pydantic's own error holds the values, and some are secrets.
        told = explain(error.errors(include_input=False, include_url=False), source)
        raise SettingsError("\n".join([*source.unknown, *told])) from None
    if folder is not None:
        settings = settings.model_copy(update=_below(folder, settings))
    faults = [*source.unknown, *_file_faults(settings, source)]
    if faults:
        raise SettingsError("\n".join(faults))
    return settings


def _below(folder: Path, settings: Settings) -> dict[str, Any]:
    return {name: folder / path for name in _PATHS if (path := getattr(settings, name)) is not None}


def _file_faults(settings: Settings, source: Source) -> Iterator[str]:
    missing = {name for name in _FILES if (path := getattr(settings, name)) is not None and not path.is_file()}
    for name in sorted(missing):
        yield f"{source.place((name,))}: there is no file {getattr(settings, name)}; write the path of a PEM file"
    # Where nobody has named them, they need not be there.
    if ("mcp_config",) in source.places and not settings.mcp_config.is_file():
        where = source.place(("mcp_config",))
        yield f"{where}: there is no file {settings.mcp_config}; make it (docs/tools.md), or unset this"
    if ("plugins_dir",) in source.places and settings.plugins_dir is not None and not settings.plugins_dir.is_dir():
        where = source.place(("plugins_dir",))
        yield f"{where}: there is no folder {settings.plugins_dir}; make it, or write none"
    if not missing & {"tls_cert", "tls_key"} and not _holds_chain(settings):
        where = source.place(("tls_cert",))
        yield f"{where}: the file must hold a certificate chain in PEM, and tls_key its unlocked key"
    if "model_ca" not in missing and not _holds_authorities(settings):
        yield f"{source.place(('model_ca',))}: the file must hold PEM certificates"


def _holds_chain(settings: Settings) -> bool:
    try:
        if settings.tls_cert is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, lambda: b"")
    except (OSError, ValueError):
        return False
    return True


def _holds_authorities(settings: Settings) -> bool:
    try:
        if settings.model_ca is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(settings.model_ca)
    except (OSError, ValueError):
        return False
    return True
