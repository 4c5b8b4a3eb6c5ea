"""Every setting, from the environment (`PATCHBAY_*`), `.env`, or `patchbay.yaml`; `docs/settings.md` lists them.

No other module reads the environment for settings. The first source that has a value for a setting wins: arguments, the
environment, `.env`, `patchbay.yaml`, and then the defaults in this module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.auth.keys import read_keys
from gateway.auth.origins import is_loopback
from gateway.auth.requests import Network
from gateway.config.blob_places import blob_faults, check_blob_key, read_blob_place
from gateway.config.carriers import Carriers, audiosocket_faults, audiosocket_peers, carrier_faults
from gateway.config.destinations import destination_faults
from gateway.config.files import file_faults
from gateway.config.model_urls import api_base, azure_resource
from gateway.config.names import OWN_NAMES
from gateway.config.numbers import Numbers
from gateway.config.sources import SourceFault, explain, read_sources
from gateway.config.telemetry import Telemetry, TraceUrl
from gateway.config.urls import read_plain_url
from gateway.config.values import HttpUrl, ListenAddress, Networks, Seconds, Secret, Table, Whole, Words, parts
from gateway.net.bind import MAX_PORT
from gateway.net.half_open import MAX_ADDRESS_HALF_OPEN, MAX_HALF_OPEN
from sessions.stores.cosmos_setting import check_access, check_key, is_cosmos, read_cosmos_url

MIB = 1 << 20
_PATHS = ("data_dir", "agents_dir", "plugins_dir", "tls_cert", "tls_key", "mcp_config", "model_ca", "prices")
# Quotes and brackets that no shell has removed, and placeholders that nobody has replaced: ${KEY}, $(KEY), <KEY>.
_WRAPPED = re.compile(r"""^["'`\[{]|["'`\]}]$|^\$(\w+|\{.*\}|\(.*\))$|^%\w+%$|^<.*>$""")


class SettingsError(ValueError):
    """The settings cannot be used; the message names each wrong setting, its place, and what to do."""


def _joined(value: object) -> object:
    if isinstance(value, list | tuple):
        # YAML's null would become the key `None`, and 1.50 the key `1.5`.
        if not all(isinstance(part, str) for part in value):
            raise ValueError("each key must be text; put quotes round it")
        return ",".join(value)
    return "" if value is None else value


def _none_word(value: object) -> object:
    return None if value == "none" else value


def _model_url(value: str) -> str:
    return api_base(value, ("https", "http", "wss", "ws"))


def _endpoint_url(value: str) -> str:
    return api_base(value, ("https", "http"))


def _keys(value: SecretStr) -> SecretStr:
    entries = parts(value.get_secret_value())
    if not entries:  # a key was intended; a server without keys would be open to everyone
        raise ValueError("holds no key; write one (patchbay keys create), or remove the line to run without keys")
    for place, entry in enumerate(entries, start=1):
        if any(_WRAPPED.search(part) for part in (entry, entry.partition(":")[2])):
            advice = "write the key itself, without quotes, brackets or variables"
            raise ValueError(f"API key {place}: {advice}")
    read_keys(entries)
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        try:
            fits = origin == "*" or not read_plain_url(origin, ("http", "https")).path.strip("/")
        except ValueError:
            fits = False
        if not fits:
            raise ValueError("each must be an origin as browsers send it, such as https://shop.example, or * for all")
    return value


def _store(value: str) -> str:
    if is_cosmos(value):
        read_cosmos_url(value)
        return value
    scheme, _, place = value.partition("://")
    if value and (scheme != "sqlite" or not place or place.endswith("/")):
        raise ValueError(
            "must name a file, such as sqlite://./data/patchbay.db, or a container of Cosmos DB, such as "
            "cosmos://ACCOUNT.documents.azure.com/DATABASE/CONTAINER"
        )
    return value


def _cosmos_key(value: SecretStr) -> SecretStr:
    check_key(value.get_secret_value())
    return value


def _blobs(value: str) -> str:
    if value:
        read_blob_place(value)
    return value


def _blob_key(value: SecretStr) -> SecretStr:
    check_blob_key(value.get_secret_value())
    return value


ModelUrl = Annotated[str, AfterValidator(_model_url)]
AzureUrl = Annotated[str, AfterValidator(azure_resource)]
EndpointUrl = Annotated[str, AfterValidator(_endpoint_url)]


class LocalEndpoint(Table):
    """An OpenAI-compatible HTTP endpoint that replaces one part of the local model."""

    base_url: EndpointUrl
    model: str = Field(min_length=1)
    api_key: Secret | None = None
    voice: str | None = Field(default=None, min_length=1, description="for speech")


class LocalModels(Table):
    """The endpoints that replace parts of the local model; None: that part is not replaced."""

    chat: LocalEndpoint | None = None
    transcription: LocalEndpoint | None = None
    speech: LocalEndpoint | None = None


class Settings(BaseSettings):
    """All settings of one process; `load_settings` makes them, and the constructor itself reads no source."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: Whole = Field(default=8080, ge=0, le=MAX_PORT, description="TCP port to listen on; 0: any free one")
    metrics_listen: ListenAddress | None = Field(
        default=None, description="HOST:PORT that serves /metrics without a key"
    )
    tls_cert: Path | None = Field(default=None, description="PEM file: certificate chain")
    tls_key: Path | None = Field(default=None, description="PEM file: private key")
    require_tls: bool = Field(
        default=True, description="callers from other machines need TLS, here or at a trusted proxy"
    )
    public_url: HttpUrl | None = Field(default=None, description="the address under which callers reach this server")
    trusted_proxies: Networks = Field(default=(), description="addresses or networks")

    api_keys: Annotated[SecretStr, BeforeValidator(_joined), AfterValidator(_keys)] = Field(
        default=SecretStr(""), validate_default=False, description="keys of callers; none: callers need no key"
    )
    allowed_origins: Annotated[Words, AfterValidator(_origins)] = Field(
        default=(), description="web pages' origins, or *"
    )
    client_secret_key: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        default=None, description="signs client secrets, at least 32 characters"
    )

    numbers: Numbers = Field(default=Numbers(), description="called number, or *: the agent that answers")
    carriers: Carriers = Field(default=Carriers(), description="one table for each carrier whose calls are taken")
    audiosocket_port: Whole | None = Field(
        default=None, ge=0, le=MAX_PORT, description="TCP port for Asterisk's AudioSocket; None: off, 0: any free one"
    )
    audiosocket_host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on for AudioSocket")
    audiosocket_networks: Networks = Field(
        default=(), description="addresses or networks that may connect to AudioSocket; none: this machine only"
    )

    data_dir: Path = Field(default=Path("./data"), description="folder for the database, recordings and spools")
    agents_dir: Path = Field(default=Path("./agents"), description="folder of the agents' files")
    plugins_dir: Annotated[Path | None, BeforeValidator(_none_word)] = Field(
        default=Path("./plugins"), description="folder of Python tools; none: no plugins"
    )
    mcp_config: Path = Field(default=Path("./mcp.json"), description="file that names the MCP servers")
    prices: Path | None = Field(default=None, description="price list that is laid over the gateway's own")
    store: Annotated[str, AfterValidator(_store)] = Field(
        default="", description="sqlite://PATH or cosmos://ACCOUNT/DATABASE/CONTAINER; empty: SQLite under data_dir"
    )
    store_plain: bool = Field(default=False, description="stores on other machines may be reached over plain http")
    cosmos_key: Annotated[Secret, AfterValidator(_cosmos_key)] | None = Field(
        default=None, description="key of the Cosmos DB account; None: Microsoft Entra ID"
    )
    store_at_start: Literal["require", "spool"] = Field(
        default="require", description="spool: start without the store, too, and spool records until it opens"
    )
    blobs: Annotated[str, AfterValidator(_blobs)] = Field(
        default="", description="folder://PATH or azblob://ACCOUNT/CONTAINER; empty: a folder under data_dir"
    )
    blob_key: Annotated[Secret, AfterValidator(_blob_key)] | None = Field(
        default=None, description="key of the storage account; None: Microsoft Entra ID"
    )

    max_calls: Whole = Field(default=400, ge=1, le=100_000, description="live calls in this process")
    max_tenant_calls: Whole = Field(default=400, ge=1, le=100_000, description="live calls of one tenant")
    max_half_open: Whole = Field(
        default=MAX_HALF_OPEN, ge=16, le=100_000, description="connections that have not sent a whole request head"
    )
    max_address_half_open: Whole = Field(
        default=MAX_ADDRESS_HALF_OPEN,
        ge=1,
        le=100_000,
        description="those of one client address; trusted proxies have no limit",
    )
    max_message_bytes: Whole = Field(
        default=4 * MIB, ge=64 * 1024, le=256 * MIB, description="one WebSocket message, bytes"
    )
    max_body_bytes: Whole = Field(default=64 * 1024, ge=1024, le=16 * MIB, description="one HTTP request's body, bytes")
    max_tool_result_bytes: Whole = Field(default=16 * 1024, ge=256, le=MIB, description="one tool result, bytes")
    max_tool_answer_bytes: Whole = Field(
        default=MIB, ge=64 * 1024, le=64 * MIB, description="one answer of an MCP server, before it is parsed, bytes"
    )
    max_waiting_speech_s: Whole = Field(
        default=300, ge=1, le=3_600, description="the agent's speech that may wait for one telephone"
    )
    redial_limit_ms: Whole = Field(
        default=5000,
        ge=0,
        le=60_000,
        description="time to reconnect to a model whose connection was lost, milliseconds",
    )
    drain_s: Seconds = Field(
        default=30.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="time for running calls when the server stops, seconds",
    )
    retention_days: Whole | None = Field(
        default=None, ge=1, le=36_500, description="age of records to delete, days; None: keep"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    telemetry: Telemetry = Field(default=Telemetry(), description="the traces of calls")
    trace_url: TraceUrl | None = Field(default=None, description="link to a trace: {trace_id}, {session_id}")

    openai_api_key: Secret | None = None
    openai_base_url: ModelUrl = "https://api.openai.com/v1"
    azure_openai_endpoint: AzureUrl | None = None
    azure_openai_api_key: Secret | None = Field(default=None, description="None: Microsoft Entra ID")
    azure_scope: str = Field(
        default="https://ai.azure.com/.default", min_length=1, description="scope of Entra ID tokens"
    )
    model_ca: Path | None = Field(
        default=None, description="PEM file: certificate authorities for models, instead of the system's"
    )
    local: LocalModels = LocalModels()
    destinations: dict[str, Secret] = Field(default={}, description="standard names of telemetry's destinations")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The values passed in are the only source: `load_settings` reads the others and keeps the places."""
        return (init_settings,)

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        faults: list[str] = []
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_cert"
            given = "tls_cert" if missing == "tls_key" else "tls_key"
            faults.append(f"{given}: needs {missing}; set {OWN_NAMES[missing]} too, or neither")
        if not self.api_key_entries and not is_loopback(self.host):
            faults.append(
                f"host: without API keys the server listens on this machine only, not on {self.host!r}; "
                f"set {OWN_NAMES['api_keys']}, or {OWN_NAMES['host']} to 127.0.0.1"
            )
        if is_cosmos(self.store):
            try:
                check_access(read_cosmos_url(self.store), key=self.cosmos_key_text, plain_allowed=self.store_plain)
            except ValueError as error:
                faults.append(f"store: {error}")
        faults += blob_faults(self.blobs_url, has_key=self.blob_key is not None, plain_allowed=self.store_plain)
        tenants, has_public_url = read_keys(self.api_key_entries).tenants, self.public_url is not None
        faults += carrier_faults(self.carriers, tenants=tenants, has_public_url=has_public_url)
        faults += audiosocket_faults(
            port=self.audiosocket_port,
            host=self.audiosocket_host,
            networks=self.audiosocket_networks,
            has_asterisk=self.carriers.asterisk is not None,
        )
        faults += destination_faults(self.destinations_given)
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @property
    def destinations_given(self) -> dict[str, str]:
        """The standard names that are set, in small letters, and their values, which may be secrets."""
        return {name: value.get_secret_value() for name, value in self.destinations.items()}

    @property
    def audiosocket_peers(self) -> tuple[Network, ...]:
        """The networks whose machines may connect to AudioSocket's port."""
        return audiosocket_peers(self.audiosocket_networks)

    @property
    def api_key_entries(self) -> tuple[str, ...]:
        """Each configured key, in the form that `gateway.auth.keys.read_keys` reads."""
        return parts(self.api_keys.get_secret_value())

    @property
    def cosmos_key_text(self) -> str | None:
        """The key of the Cosmos DB account."""
        return None if self.cosmos_key is None else self.cosmos_key.get_secret_value()

    @property
    def store_url(self) -> str:
        """The store's URL; by default a SQLite file under `data_dir`."""
        return self.store or f"sqlite://{self.data_dir}/patchbay.db"

    @property
    def blobs_url(self) -> str:
        """The blob store's URL; by default a folder under `data_dir`."""
        return self.blobs or f"folder://{self.data_dir}/blobs"


def load_settings(
    environ: Mapping[str, str] | None = None, folder: Path | None = None, **overrides: object
) -> Settings:
    """The settings of this process; `overrides` win over every source. Raises SettingsError, which lists all mistakes.

    `environ` is the environment, by default that of the process. `.env`, `patchbay.yaml` and relative paths are looked
    up in `folder`, by default the working directory.
    """
    try:
        source = read_sources(os.environ if environ is None else environ, folder or Path(), Settings.model_fields)
        source.lay_over(overrides)
        settings = Settings(**source.values)
    except SourceFault as fault:
        raise SettingsError(str(fault)) from fault
    except ValidationError as error:
        # Without a cause: pydantic's own error holds the values, and some of them are secrets.
        problems = explain(error.errors(include_input=False, include_url=False), source)
        raise SettingsError("\n".join([*source.unknown, *problems])) from None
    if folder is not None:
        settings = settings.model_copy(update=_below(folder, settings))
    faults = [*source.unknown, *file_faults(settings, source)]
    if faults:
        raise SettingsError("\n".join(faults))
    return settings


def _below(folder: Path, settings: Settings) -> dict[str, Any]:
    return {name: folder / path for name in _PATHS if (path := getattr(settings, name)) is not None}
