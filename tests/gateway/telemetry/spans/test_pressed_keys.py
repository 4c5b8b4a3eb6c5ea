"""Keys that are pressed in a real call are in none of its spans, whatever the model says of them afterwards."""

from __future__ import annotations

from typing import Any

import orjson
from support.calls.call_driver import TOOLS, Driver, begins, ends, finished, says
from support.telemetry.span_check import all_spans, texts_of
from support.telemetry.telemetry_records import call_document, document_of

from gateway.telemetry.spans.policy import TelemetryPolicy
from sessions.agent import PhoneRules, TelemetryContent, ToolRule
from sessions.events import ToolWanted
from sessions.keys import COLLECT_KEYS
from sessions.line_events import DigitPressed
from sessions.stores.contract import Document


def press(driver: Driver, keys: str) -> None:
    for key in keys:
        driver(DigitPressed(key))
        driver.wait(200)


def documents(driver: Driver) -> list[Document]:
    turns = driver.call.turns
    session: dict[str, Any] = {**call_document(turns=len(turns)), "protocol": "asterisk"}
    return [session, *(document_of(driver.call.stored_turn(index)) for index in range(len(turns)))]


def test_keys_of_messages_and_of_tools_are_in_no_span() -> None:
    tools = {**TOOLS, COLLECT_KEYS: ToolRule(None, COLLECT_KEYS, 60_000)}
    driver = Driver(wires=False, client_plays=False, server_tools=tools, phone=PhoneRules())
    press(driver, "7319#")
    driver(begins(), *says("You pressed 7 3 1 9, thank you.", 1_000), ends())
    driver.wait(3_000)
    driver(begins("resp_2"), *says("Your card, please.", 500, response_id="resp_2", item_id="item_2"))
    driver(ToolWanted("resp_2", "item_of_call_1", "call_1", COLLECT_KEYS, orjson.dumps({"count": 6}).decode(), None))
    driver(ends("resp_2"))
    press(driver, "804266")
    arguments = '{"card":"804266","pin":7319}'
    driver(begins("resp_3"), ToolWanted("resp_3", "item_of_call_2", "call_2", next(iter(TOOLS)), arguments, None))
    driver(ends("resp_3"))
    driver(finished("call_2", '{"found":{"card":804266}}'))
    driver.wait(1_000)
    record = orjson.dumps(documents(driver)).decode()
    assert all(keys in record for keys in ("7319", "804266", "7 3 1 9"))  # the record is the agent's own

    found = texts_of(all_spans(documents(driver), TelemetryPolicy(content=TelemetryContent.TEXT)))
    assert "thank you" in found
    assert found.count("[4 keys]") >= 3
    assert found.count("[6 keys]") >= 3
    assert not [keys for keys in ("7319", "804266", "7 3 1 9") if keys in found]
