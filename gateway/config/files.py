"""Checks that the files and folders that settings name are there, and hold what they must."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from gateway.config.sources import Source

_FILES = ("tls_cert", "tls_key", "model_ca")


class FileSettings(Protocol):
    """The settings that name files and folders."""

    @property
    def tls_cert(self) -> Path | None:
        """The certificate chain."""
        ...

    @property
    def tls_key(self) -> Path | None:
        """Its private key."""
        ...

    @property
    def model_ca(self) -> Path | None:
        """Certificate authorities for models."""
        ...

    @property
    def mcp_config(self) -> Path:
        """The file that names the MCP servers."""
        ...

    @property
    def plugins_dir(self) -> Path | None:
        """The folder of Python tools."""
        ...


def file_faults(settings: FileSettings, source: Source) -> Iterator[str]:
    """What is wrong with these files, each as `PLACE: WHAT TO DO`."""
    missing = {name for name in _FILES if (path := getattr(settings, name)) is not None and not path.is_file()}
    for name in sorted(missing):
        yield f"{source.place((name,))}: there is no file {getattr(settings, name)}; write the path of a PEM file"
    # The defaults need not exist; a path that a source names must.
    if ("mcp_config",) in source.places and not settings.mcp_config.is_file():
        where = source.place(("mcp_config",))
        yield f"{where}: there is no file {settings.mcp_config}; create it (docs/tools.md), or unset this"
    if ("plugins_dir",) in source.places and settings.plugins_dir is not None and not settings.plugins_dir.is_dir():
        where = source.place(("plugins_dir",))
        yield f"{where}: there is no folder {settings.plugins_dir}; create it, or write none"
    if not missing & {"tls_cert", "tls_key"} and not _holds_chain(settings):
        where = source.place(("tls_cert",))
        yield f"{where}: the file must hold a certificate chain in PEM, and tls_key its key without a password"
    if "model_ca" not in missing and not _holds_authorities(settings):
        yield f"{source.place(('model_ca',))}: the file must hold PEM certificates"


def _holds_chain(settings: FileSettings) -> bool:
    try:
        if settings.tls_cert is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key, lambda: b"")
    except (OSError, ValueError):
        return False
    return True


def _holds_authorities(settings: FileSettings) -> bool:
    try:
        if settings.model_ca is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(settings.model_ca)
    except (OSError, ValueError):
        return False
    return True
