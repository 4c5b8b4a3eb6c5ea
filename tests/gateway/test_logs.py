"""What is logged at the level `debug`: our own lines, and of strangers only what is serious."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from gateway.logs import set_up_logging

STRANGERS = ("httpx2", "httpcore.http11", "mcp.client.streamable_http", "client", "anyio", "azure.core", "somebody.new")
OWN = ("gateway.tools.link", "patchbay.server", "sessions.call", "patchbay_plugin_hours")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in (*STRANGERS, *OWN)}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, kept in levels.items():
        logging.getLogger(name).setLevel(kept)


def logged(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [(line["logger"], line["message"]) for line in lines]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_stranger_logs_below_a_warning_whatever_level_it_gives_itself(
    level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(level)
    for name in STRANGERS:
        logger = logging.getLogger(name)
        logger.info("Mcp-Session-Id: secret")
        logger.setLevel(logging.DEBUG)
        logger.debug("Authorization: secret")
        logger.info("Mcp-Session-Id: %s", "secret")
        logger.warning("something is wrong")
    assert logged(capsys) == [(name, "something is wrong") for name in STRANGERS]


def test_our_own_lines_are_logged_from_the_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    for level, told in (("debug", ["debug", "info"]), ("info", ["info"]), ("warning", [])):
        set_up_logging(level)
        for name in OWN:
            logging.getLogger(name).debug("debug")
            logging.getLogger(name).info("info")
        assert logged(capsys) == [(name, message) for name in OWN for message in told]
