"""Whole calls of Twilio and SignalWire, from the webhook to the record, against a far end in virtual time."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.calls.call_rig import later
from support.calls.twilio_world import QUIET, SIGNALWIRE, TOKEN, TWILIO, Call, Carrier
from support.calls.whole_gateway import within

from audio.formats import PCM16_16K, PCM16_24K, AudioFormat
from gateway.app import Gateway
from gateway.callers.twilio.account import Account
from sessions.stores.documents import SESSION_ID, SessionRecord, session_from_document

FILES = {
    "desk.yaml": """
model: scripted/scripts/desk.yaml
greeting: Good evening, {caller.number}, and welcome to the harbour.
instructions: None.
tools: [{function: hang_up}, {function: who_calls}]
""",
    "scripts/desk.yaml": """
model: desk
pace: 4
turns:
  - {when: {text: '12'}, say: One moment., calls: [{name: who_calls, arguments: {}}]}
  - {when: {tool: who_calls, contains: '+4930111'}, say: I know you well.}
  - {when: {text: '0'}, say: Goodbye., calls: [{name: hang_up, arguments: {}}]}
  - {when: {text: '9', attempt: 0}, say: This answer is never heard to its end by anybody., fault: {drop: 1000}}
  - {when: {spoken: true}, hears: Hello., repeat: true, say: At your service. We have boats and nets and much more.}
otherwise: {say: "Pardon?"}
""",
}
N_INTERRUPTIONS = 20
PLUGIN = """
from patchbay import ToolContext, tool


@tool
async def who_calls(context: ToolContext) -> str:
    \"\"\"Say who calls.\"\"\"
    return f"{context.caller.number} {context.caller.called}"
"""


def with_carrier(
    folder: Path, main: Callable[[Carrier], Awaitable[None]], account: Account = TWILIO, **settings: object
) -> None:
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "who.py").write_text(PLUGIN)

    async def whole(gateway: Gateway) -> None:
        carrier = Carrier(gateway, account)
        try:
            await main(carrier)
        finally:
            await carrier.carrier.close()

    within(folder, whole, files=FILES, plugins_dir=plugins, **settings)


async def record_of(call: Call) -> SessionRecord:
    """The call's record, once no call is left."""
    gateway = call.carrier.gateway
    await gateway.live_calls.wait_empty()
    await gateway.write_behind.flush("default", call.session_id)
    return session_from_document(await gateway.store.get("default", call.session_id, SESSION_ID))


async def entries_of(call: Call) -> list[dict[str, Any]]:
    """Everything that was said and done in the call."""
    turns: Any = await call.carrier.gateway.store.query("default", call.session_id, "turn")
    return [entry for turn in turns for entry in turn["entries"]]


def test_a_caller_is_greeted_answered_and_hangs_up(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        assert call.order.then_hangs_up
        await later(6)
        greeted_ms = call.heard_ms
        assert greeted_ms > 2_000
        await call.speaks(1_000)
        await call.speaks(1_000, QUIET)
        await later(5)
        assert call.heard_ms > greeted_ms + 2_000
        call.hangs_up()
        record = await record_of(call)
        assert (record.summary.end_reason, record.protocol) == ("caller_hung_up", "twilio")
        caller = record.caller
        assert (caller.number, caller.called, caller.carrier_call_id) == ("+4930111", "+4930222", "CA01")
        assert call.stream.warned == set()
        assert call.socket.closed_with == (1000, "")
        said = [entry.get("text") for entry in await entries_of(call)]
        assert "Good evening, +4930111, and welcome to the harbour." in said
        await later(20)
        assert carrier.hung_up == []

    with_carrier(tmp_path, main)


def test_keys_reach_the_model_and_a_tool_knows_who_calls(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        await later(6)
        call.presses("12#")
        await later(8)
        call.hangs_up()
        await record_of(call)
        entries = await entries_of(call)
        assert [entry["output"] for entry in entries if entry["kind"] == "tool"] == ["+4930111 +4930222"]
        assert any(entry.get("text") == "I know you well." for entry in entries)

    with_carrier(tmp_path, main)


@pytest.mark.parametrize(("delay_ms", "jitter_ms"), [(0, 0), (60, 0), (150, 20)])
def test_a_barge_in_stops_the_agent_and_the_record_says_what_was_heard(
    tmp_path: Path, delay_ms: int, jitter_ms: int
) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call(delay=(delay_ms, jitter_ms))
        await later(1.2)
        heard_ms, recorded_ms = await interrupted(call)
        assert 800 < heard_ms < 2_200  # the greeting takes longer
        assert abs(recorded_ms - heard_ms) <= 40
        assert call.stream.warned == set()

    with_carrier(tmp_path, main)


async def interrupted(call: Call) -> tuple[int, int]:
    """Interrupt the greeting: how much of it was heard, and how much of it the record has as heard."""
    await call.speaks(700)
    heard_ms = call.heard_ms
    await call.speaks(40, QUIET)
    assert (call.heard_ms, call.stream.ear.held_ms(call.now_ms)) == (heard_ms, 0)
    call.hangs_up()
    await record_of(call)
    said = next(entry for entry in await entries_of(call) if entry.get("heard_ms"))
    return heard_ms, said["heard_ms"]


def test_what_was_heard_is_known_within_40_ms_whatever_the_delay(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        chance = random.Random(7)
        errors = []
        for _ in range(N_INTERRUPTIONS):
            call = await carrier.call(delay=(chance.uniform(20, 150), 20))
            await later(chance.uniform(0.3, 1.3))
            heard_ms, recorded_ms = await interrupted(call)
            errors.append(abs(recorded_ms - heard_ms))
        errors.sort()
        assert errors[int(0.95 * N_INTERRUPTIONS) - 1] <= 40, errors

    with_carrier(tmp_path, main)


def test_the_agent_hangs_up_once_its_goodbye_was_heard_and_the_stream_end_is_confirmed(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call(delay=(60, 0))
        await later(6)
        before_ms = call.heard_ms
        call.presses("0#")
        await call.closed.wait()
        assert call.heard_ms >= before_ms + 300  # one word
        assert call.stream.ear.held_ms(call.now_ms) == 0
        assert call.socket.closed_with == (1000, "")
        assert (await record_of(call)).summary.end_reason == "agent_hung_up"
        await later(20)
        assert carrier.hung_up == []

    with_carrier(tmp_path, main)


def test_a_carrier_that_does_not_confirm_the_end_is_asked_to_end_the_call_once(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        call.tells = False
        await later(6)
        call.presses("0#")
        await record_of(call)
        await later(9)
        assert carrier.hung_up == []
        await later(30)
        assert carrier.hung_up == ["CA01"]

    with_carrier(tmp_path, main)


def test_a_model_that_is_lost_in_mid_answer_is_dialled_again_and_the_call_goes_on(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        await later(6)
        greeted_ms = call.heard_ms
        call.presses("9#")
        await later(8)
        assert (carrier.live, carrier.gateway.admission.model_legs_opened) == (1, 2)
        heard_ms = call.heard_ms
        assert greeted_ms < heard_ms
        call.presses("12#")
        await later(8)
        assert call.heard_ms > heard_ms + 1_000
        assert call.stream.warned == set()
        call.hangs_up()
        assert (await record_of(call)).summary.end_reason == "caller_hung_up"

    with_carrier(tmp_path, main)


@pytest.mark.parametrize("code", [1000, 1006])
def test_a_stream_that_ends_without_stop_ends_the_call_too(tmp_path: Path, code: int) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        await later(2)
        call.hangs_up(stop=False, code=code)
        assert (await record_of(call)).summary.end_reason == "caller_hung_up"

    with_carrier(tmp_path, main)


def test_sound_in_bunches_is_heard_whole(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call(bunch=8, delay=(40, 20))
        await later(6)
        heard_ms = call.heard_ms
        await call.speaks(960)
        await call.speaks(960, QUIET)
        await later(5)
        assert call.heard_ms > heard_ms + 2_000
        call.hangs_up()
        summary = (await record_of(call)).summary
        assert summary.caller_audio_ms == 1_920

    with_carrier(tmp_path, main)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("format", [PCM16_16K, PCM16_24K])
def test_signalwire_with_linear_sound_and_a_bearer_token(tmp_path: Path, format: AudioFormat, wrapped: bool) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller(call_sid="5be0-4f")
        call = await carrier.call(caller, wrapped=wrapped, format=format, stream_sid="c2a9-77")
        await later(6)
        greeted_ms = call.heard_ms
        assert greeted_ms > 2_000
        call.presses("12#")
        await later(8)
        assert call.heard_ms > greeted_ms + 1_000
        assert call.stream.warned == set()
        call.hangs_up()
        record = await record_of(call)
        assert (record.protocol, record.caller.number) == ("signalwire", "+4930111")

    with_carrier(tmp_path, main, SIGNALWIRE)


def test_no_more_than_400_ms_wait_at_the_far_end(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        held = []
        for _ in range(200):
            await later(0.02)
            held.append(call.stream.ear.held_ms(call.now_ms))
        assert 380 <= max(held) <= 400
        call.hangs_up()

    with_carrier(tmp_path, main)


def test_a_start_for_another_call_is_turned_away(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call(call_sid="CA99")
        await call.closed.wait()
        assert call.socket.closed_with == (1008, "the start message is for another call")
        assert (carrier.live, carrier.gateway.admission.model_legs_opened) == (0, 0)
        await carrier.call()  # its place is free

    with_carrier(tmp_path, main, max_calls=1)


def test_a_status_ends_a_call_whose_socket_is_stuck(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        await later(2)
        call.socket.stuck = True
        other = await call.status(StreamSid="MZ99", StreamEvent="stream-stopped")
        started = await call.status(StreamSid=call.stream.stream_sid, StreamEvent="stream-started")
        progress = await call.status(CallStatus="in-progress")
        assert ([other.status_code, started.status_code, progress.status_code], carrier.live) == ([204] * 3, 1)
        assert (await call.status(CallStatus="completed")).status_code == 204
        assert (await record_of(call)).summary.end_reason == "caller_hung_up"
        assert (await call.status(CallStatus="completed")).status_code == 204  # the key is good for a while more
        assert carrier.carrier.counts.of("ended_by_status") == 1
        await later(30)
        assert carrier.hung_up == []

    with_carrier(tmp_path, main)


@pytest.mark.parametrize("event", ["stream-stopped", "stream-error"])
def test_a_status_of_the_stream_ends_its_call(tmp_path: Path, event: str) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        await later(1)
        call.socket.stuck = True
        await call.status(StreamSid=call.stream.stream_sid, StreamEvent=event)
        await record_of(call)

    with_carrier(tmp_path, main)


def test_the_status_address_of_a_number_needs_no_key(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        await later(1)
        address = f"{carrier.public_url}/telephony/twilio/status"
        assert (await call.status(address, CallStatus="completed")).status_code == 204
        await record_of(call)

    with_carrier(tmp_path, main)


def test_a_second_stream_of_one_call_replaces_the_first(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        first = await carrier.call(caller)
        await later(1)
        second = await carrier.call(caller, stream_sid="MZ2")
        await later(2)
        assert first.socket.closed_with == (1000, "")
        assert second.socket.closed_with is None
        assert second.heard_ms > 1_000
        assert carrier.live == 1
        await first.status(StreamSid=first.stream.stream_sid, StreamEvent="stream-stopped")
        assert carrier.live == 1  # that was the first
        second.hangs_up()
        assert (await record_of(second)).summary.end_reason == "caller_hung_up"

    with_carrier(tmp_path, main, max_calls=2)


def test_the_server_goes_down(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        await later(2)
        carrier.gateway.live_calls.goodbye()
        assert (await record_of(call)).summary.end_reason == "shutting_down"
        assert call.socket.closed_with == (1001, "")

    with_carrier(tmp_path, main)


def test_messages_of_unknown_kinds_are_passed_over_and_ten_malformed_ones_end_the_call(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        await later(1)
        call.socket.says([b'{"event":"mood","mood":"good"}'] * 30)
        await later(1)
        assert carrier.live == 1
        call.socket.says([b'{"event":"dtmf"}'] * 10)
        assert (await record_of(call)).summary.end_reason == "bad_input"
        assert call.socket.closed_with == (1008, "too many malformed messages in a row")
        assert carrier.carrier.counts.of("messages_passed_over") == 30

    with_carrier(tmp_path, main)


def test_no_log_line_holds_a_number_a_token_or_a_ticket(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        ticket, key = call.order.url.rpartition("/")[2], str(call.order.status_url).rpartition("/")[2]
        await later(2)
        call.socket.says([b'{"event":"dtmf","dtmf":{"digit":"+4930111"}}'] * 12)
        await record_of(call)
        await carrier.voice(carrier.caller(called="+4930333"))
        await carrier.voice(carrier.caller(token="wrong"))
        for secret in ("4930111", "4930222", "4930333", TOKEN, ticket, key):
            assert secret not in caplog.text

    with_carrier(tmp_path, main)


def test_many_calls_at_once_keep_to_themselves(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        calls = [await carrier.call(delay=(delay_ms, 10)) for delay_ms in range(20, 140, 12)]
        await later(6)
        assert {call.stream.warned == set() and call.heard_ms > 2_000 for call in calls} == {True}
        for call in calls[::2]:
            call.hangs_up()
        await later(1)
        assert carrier.live == len(calls) // 2
        for call in calls[1::2]:
            call.presses("12#")
        await later(8)
        for call in calls[1::2]:
            call.hangs_up()
        for call in calls[1::2]:
            await record_of(call)
            assert any(entry.get("text") == "I know you well." for entry in await entries_of(call))

    with_carrier(tmp_path, main)
