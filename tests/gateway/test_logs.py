"""Tests for the level `debug`: our own records are logged, those of other libraries only from a warning on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from gateway.logs import set_up_logging
from gateway.telemetry.spans.ids import call_trace, turn_trace

FOREIGN = ("httpx2", "httpcore.http11", "mcp.client.streamable_http", "client", "anyio", "azure.core", "somebody.new")
REPEATING = ("azure.cosmos", "azure.cosmos._location_cache", "azure.identity.aio._credentials.chained")
OWN = ("gateway.tools.link", "patchbay.server", "sessions.call", "patchbay_plugin_hours")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in (*FOREIGN, *REPEATING, *OWN, "azure.identity")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, kept in levels.items():
        logging.getLogger(name).setLevel(kept)


def logged(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [(line["logger"], line["message"]) for line in lines]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_a_foreign_logger_logs_nothing_below_a_warning_whatever_its_level(
    level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(level)
    for name in FOREIGN:
        logger = logging.getLogger(name)
        logger.info("Mcp-Session-Id: secret")
        logger.setLevel(logging.DEBUG)
        logger.debug("Authorization: secret")
        logger.info("Mcp-Session-Id: %s", "secret")
        logger.warning("something is wrong")
    assert logged(capsys) == [(name, "something is wrong") for name in FOREIGN]


def test_our_own_records_are_logged_from_the_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    for level, told in (("debug", ["debug", "info"]), ("info", ["info"]), ("warning", [])):
        set_up_logging(level)
        for name in OWN:
            logging.getLogger(name).debug("debug")
            logging.getLogger(name).info("info")
        assert logged(capsys) == [(name, message) for name in OWN for message in told]


@pytest.mark.parametrize("level", ["info", "DEBUG"])
def test_the_sdks_do_not_repeat_what_the_store_has_said_except_for_who_looks_for_a_fault(
    level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(level)
    for name in REPEATING:
        logging.getLogger(name).warning("warning")
        logging.getLogger(name).error("error")
    if level == "DEBUG":
        assert logged(capsys) == [(name, message) for name in REPEATING for message in ("warning", "error")]
    else:  # the SDK for Cosmos DB repeats an error of its own for minutes after the store is back
        assert logged(capsys) == [(name, "error") for name in REPEATING if name.startswith("azure.identity")]


def test_a_line_about_a_call_has_the_id_of_its_trace_and_one_about_a_turn_that_turns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logging("info")
    log = logging.getLogger("gateway.test")
    log.info("about a call", extra={"call_id": "sess_1"})
    log.info("about a turn", extra={"call_id": "sess_1", "turn": 3})
    log.info("about neither", extra={"call_id": None})
    found = [json.loads(line).get("trace_id") for line in capsys.readouterr().err.splitlines()]
    assert found == [call_trace("sess_1").hex(), turn_trace("sess_1", 3).hex(), None]
