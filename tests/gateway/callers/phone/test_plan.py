"""Whole telephone calls without a carrier: greeting, keys, silence, goodbye, and what is kept of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.api_world import asking
from support.calls.call_rig import Phone, later
from support.calls.first_message import ANYBODY
from support.calls.whole_gateway import Client, admitted, wish, within

from audio.formats import PCM16_24K, PCMA_8K, PCMU_8K
from gateway.app import Gateway
from gateway.callers.phone.plan import IDLE_MS, phone_plan
from gateway.calls.admission import Ticket
from gateway.calls.running import RunningCall
from gateway.clock import LoopClock
from sessions.caller_facts import CallerFacts
from sessions.commands import CallerCommand, ClearPlayback, EndCall, Play
from sessions.events import CallerEvent, HungUp
from sessions.line_events import DigitPressed

NUMBER, CALLED, CALL_ID, NOTE = "+4915550117", "+4989555042", "CAcanary0815", "noteworthy"
FACTS = CallerFacts.of(NUMBER, CALLED, "inbound", {"note": NOTE}, CALL_ID, "de-DE")
DESK = """
model: scripted/scripts/desk.yaml
greeting: Good evening, {caller.number}.
instructions: '{caller.number} calls {caller.called}.'
replay: text
tools: [{function: hang_up}, {function: collect_digits}, {function: who_calls}]
"""
SCRIPT = """
turns:
  - {when: {text: '12'}, say: A table for twelve.}
  - {when: {text: '9'}, calls: [{name: who_calls, arguments: {}}]}
  - {when: {tool: who_calls}, say: I know you.}
  - {when: {text: '1'}, pace: real, say: Please type your pin., calls: [{name: collect_digits, arguments: {count: 4}}]}
  - {when: {tool: collect_digits, contains: '4711'}, calls: [{name: who_calls, arguments: {pin: '4711'}}]}
  - {when: {tool: collect_digits, contains: timeout}, say: Are you there?}
  - when: {text: '0'}
    pace: 4
    say: Goodbye and thank you for your call today.
    calls: [{name: hang_up, arguments: {}}]
otherwise: {say: "Pardon?"}
"""
PLUGIN = '''
from patchbay import ToolContext, tool


@tool
async def who_calls(context: ToolContext, pin: str = "") -> str:
    """Who calls."""
    caller = context.caller
    return f"{caller.number} {caller.called} {caller.carrier_call_id} {pin}"
'''


class Telephone(Phone):
    """A caller's leg that also notes when each command came, and when the call ended."""

    def __init__(self, gateway: Gateway, ticket: Ticket, facts: CallerFacts) -> None:
        super().__init__()
        self.session_id = ticket.session_id
        self._clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        self.begun_ms = self._clock.now_ms()
        self.at_ms: list[int] = []
        self._gateway = gateway
        plan = phone_plan(ticket, facts, self._clock, protocol="test_phone", far_end=PCM16_24K, format=PCM16_24K)
        self.running: RunningCall = gateway.admission.begin(ticket, facts, self, plan)

    def do(self, command: CallerCommand) -> None:
        super().do(command)
        self.at_ms.append(self.elapsed_ms)

    @property
    def elapsed_ms(self) -> int:
        """The time since the call began."""
        return self._clock.now_ms() - self.begun_ms

    def tell(self, event: CallerEvent) -> None:
        self.running.from_caller(event)

    async def press(self, keys: str) -> None:
        for key in keys:
            self.tell(DigitPressed(key))
            await later(0.2)

    def first(self, kind: type[CallerCommand]) -> int:
        """When the first command of this kind came, in ms since the call began."""
        return next(at_ms for at_ms, command in zip(self.at_ms, self.told, strict=True) if isinstance(command, kind))

    @property
    def played_ms(self) -> int:
        """How much speech the far end was given."""
        return sum(command.frame.duration_ms for command in self.told if isinstance(command, Play))

    async def hang_up(self) -> None:
        self.tell(HungUp("caller_hung_up"))
        await self.over()

    async def over(self) -> None:
        await self._gateway.live_calls.wait_empty()
        await self._gateway.write_behind.flush("default", self.session_id)


async def rings(gateway: Gateway, agent: str = "phone", facts: CallerFacts = FACTS) -> Telephone:
    ticket = await gateway.admission.admit(ANYBODY, agent, keys=True)
    assert isinstance(ticket, Ticket), ticket
    return Telephone(gateway, ticket, facts)


def calls(folder: Path, main: Callable[[Gateway], Awaitable[None]], *, agent: str = DESK, script: str = SCRIPT) -> None:
    """Run `main` beside a gateway with the agent `phone`."""
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "who.py").write_text(PLUGIN)

    async def run(gateway: Gateway) -> None:
        await main(gateway)

    within(folder, run, files={"phone.yaml": agent, "scripts/desk.yaml": script}, plugins_dir=plugins)


async def entries(gateway: Gateway, session_id: str) -> list[Any]:
    turns: Any = await gateway.store.query("default", session_id, "turn")
    return [entry for turn in turns for entry in turn["entries"]]


async def texts(gateway: Gateway, session_id: str) -> list[str]:
    return [entry["text"] for entry in await entries(gateway, session_id) if entry["kind"] == "said"]


# ---- the beginning


def test_the_agent_greets_as_soon_as_the_model_is_ready_and_knows_who_calls(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        phone = await rings(gateway)
        await later(3)
        assert phone.first(Play) < 50
        await phone.hang_up()
        assert await texts(gateway, phone.session_id) == [f"Good evening, {NUMBER}."]

    calls(tmp_path, main)


def test_a_plan_asks_for_the_format_that_the_leg_wants(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        ticket = await gateway.admission.admit(ANYBODY, "phone", keys=True)
        assert isinstance(ticket, Ticket)
        clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        setup = phone_plan(ticket, FACTS, clock, protocol="x", far_end=PCMA_8K, format=PCMU_8K).setup
        assert (setup.input_format, setup.output_format) == (PCMU_8K, PCMU_8K)
        audio: Any = setup.session["audio"]
        assert audio["input"]["format"] == audio["output"]["format"] == {"type": "audio/pcmu"}
        assert setup.session["instructions"] == f"{NUMBER} calls {CALLED}."
        assert audio["input"]["transcription"]["language"] == "de"
        gateway.admission.release(ticket)

    calls(tmp_path, main)


def test_only_a_caller_with_keys_is_asked_for_digits(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        for keys in (True, False):
            ticket = await gateway.admission.admit(ANYBODY, "phone", keys=keys)
            assert isinstance(ticket, Ticket)
            assert ("collect_digits" in ticket.server_tools) is keys
            assert {"hang_up", "who_calls"} <= set(ticket.server_tools)
            gateway.admission.release(ticket)
        client = Client(gateway, await admitted(gateway, wish({"model": "phone"})))
        await later(1)
        (call,) = gateway.live_calls.of("default")
        call.running.from_caller(DigitPressed("1"))  # no Realtime client can, and it would do no harm
        await later(5)
        assert "response.created" not in client.kinds()
        client.leg.hang_up()
        await gateway.live_calls.wait_empty()

    calls(tmp_path, main)


# ---- keys


def test_keys_are_answered_and_stand_in_the_record(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        phone = await rings(gateway)
        await later(0.5)
        await phone.press("12#")
        assert any(isinstance(command, ClearPlayback) for command in phone.told)  # the greeting was interrupted
        await later(3)
        await phone.hang_up()
        assert (await texts(gateway, phone.session_id))[1:] == ["12", "A table for twelve."]

    calls(tmp_path, main)


def test_a_pin_is_collected_and_given_to_the_model(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        phone = await rings(gateway)
        await later(5)
        await phone.press("1")
        await later(6)
        await phone.press("4711#")
        await later(4)
        await phone.hang_up()
        tools = [entry for entry in await entries(gateway, phone.session_id) if entry["kind"] == "tool"]
        assert orjson.loads(tools[0]["output"]) == {"digits": "4711", "ended_by": "count"}
        assert tools[1]["output"] == f"{NUMBER} {CALLED} {CALL_ID} 4711"
        assert (await texts(gateway, phone.session_id))[-1] == "I know you."

    calls(tmp_path, main)


def test_a_caller_who_types_no_pin_is_asked_again(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        phone = await rings(gateway)
        await later(5)
        await phone.press("1")
        await later(20)
        await phone.hang_up()
        assert (await texts(gateway, phone.session_id))[-1] == "Are you there?"

    calls(tmp_path, main)


async def typed_pin(gateway: Gateway) -> tuple[str, str]:
    """A call in which a pin is typed as a message and for a tool. Returns all documents, and the event log."""
    phone = await rings(gateway)
    await later(5)
    await phone.press("1#")
    await later(6)
    await phone.press("4711")
    await later(4)
    await phone.press("0815#")
    await later(4)
    await phone.hang_up()
    await gateway.finisher.run_waiting()
    documents = [
        await gateway.store.query("default", phone.session_id, "turn"),
        await gateway.store.get("default", phone.session_id, "session"),
    ]
    log = [piece async for piece in gateway.blobs.read("default", phone.session_id, "events.jsonl")]
    return orjson.dumps(documents).decode(), b"".join(log).decode()


def keys_of(log: str) -> list[str | None]:
    messages = [orjson.loads(line) for line in log.splitlines()[1:]]
    assert all(message["from"] == "caller" for message in messages)
    return [orjson.loads(message["text"])["key"] for message in messages]


def test_secret_keys_are_in_nothing_that_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(gateway: Gateway) -> None:
        documents, log = await typed_pin(gateway)
        assert "4711" not in documents + log + caplog.text
        assert "0815" not in (documents + log + caplog.text).replace(CALL_ID, "")
        assert documents.count("[4 keys]") >= 4
        assert "I know you." in documents  # the model had the pin
        assert keys_of(log) == [None] * 11

    with caplog.at_level(logging.DEBUG):
        calls(tmp_path, main, agent=DESK + "phone: {keys: secret}\n")


def test_keys_that_are_not_secret_are_in_the_record_and_the_event_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(gateway: Gateway) -> None:
        documents, log = await typed_pin(gateway)
        assert "4711" in documents
        assert keys_of(log) == list("1#47110815#")
        assert "4711" not in caplog.text

    with caplog.at_level(logging.DEBUG):
        calls(tmp_path, main)


def test_an_agent_that_wants_no_keys_hears_of_none(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        phone = await rings(gateway)
        await later(1)
        await phone.press("12#")
        await later(5)
        await phone.hang_up()
        assert len(await texts(gateway, phone.session_id)) == 1

    calls(tmp_path, main, agent="model: scripted/scripts/desk.yaml\ngreeting: Hello.\nphone: {keys: off}\n")


# ---- the end


@pytest.mark.parametrize(("limits", "idle_ms"), [("", IDLE_MS), ("limits: {idle_s: 20}\n", 20_000)])
def test_a_silent_call_ends(tmp_path: Path, limits: str, idle_ms: int) -> None:
    async def main(gateway: Gateway) -> None:
        phone = await rings(gateway)
        await phone.over()
        assert phone.running.call.end_reason == "idle_limit"
        assert phone.first(EndCall) == pytest.approx(phone.played_ms + idle_ms, abs=100)

    calls(tmp_path, main, agent=DESK + limits)


def test_the_agent_hangs_up_when_its_goodbye_has_been_heard(tmp_path: Path) -> None:
    async def main(gateway: Gateway) -> None:
        phone = await rings(gateway)
        await later(5)
        heard_ms = phone.played_ms
        asked_ms = phone._clock.now_ms() - phone.begun_ms
        await phone.press("0#")
        await phone.over()
        assert phone.running.call.end_reason == "agent_hung_up"
        goodbye_ms = phone.played_ms - heard_ms
        assert goodbye_ms > 2_000
        ended_ms = phone.first(EndCall) - asked_ms
        assert goodbye_ms + 200 <= ended_ms <= goodbye_ms + 700
        last = next(entry for entry in await entries(gateway, phone.session_id) if "Goodbye" in entry.get("text", ""))
        assert last["heard_text"] == last["text"] == "Goodbye and thank you for your call today."

    calls(tmp_path, main)


# ---- what is known of the caller


def test_the_record_and_its_api_say_who_called_and_nothing_else_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(gateway: Gateway) -> None:
        phone = await rings(gateway)
        await later(5)
        await phone.press("9#")
        await later(3)
        async with asking(gateway) as client:
            live = (await client.get("/api/v1/calls")).text
            metrics = (await client.get("/metrics")).text
            await phone.hang_up()
            session = (await client.get(f"/api/v1/sessions/{phone.session_id}")).json()
            metrics += (await client.get("/metrics")).text
        assert session["protocol"] == "test_phone"
        assert session["caller"] == {
            "number": NUMBER,
            "called": CALLED,
            "direction": "inbound",
            "metadata": {"note": NOTE},
            "carrier_call_id": CALL_ID,
            "language": "de-DE",
        }
        tools = [entry["output"] for entry in await entries(gateway, phone.session_id) if entry["kind"] == "tool"]
        assert tools == [f"{NUMBER} {CALLED} {CALL_ID} "]
        fields = "".join(str(line.__dict__) for line in caplog.records)
        for canary in (NUMBER, CALLED, CALL_ID, NOTE, NUMBER[1:]):
            assert canary not in live + metrics + caplog.text + fields

    with caplog.at_level(logging.DEBUG):
        calls(tmp_path, main)
