"""What the called number decides about a call: its agent, and its language."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.calls.call_rig import later
from support.calls.phone_desk import Desk, with_call
from support.calls.phone_socket import PLAIN_RULES

from audio.formats import PCMU_8K, AudioFrame
from gateway.callers.phone.calls import ExpectedCall
from gateway.callers.phone.codec import MediaStarted
from sessions.caller_facts import CallerFacts
from sessions.commands import Play


@pytest.mark.parametrize(
    ("called", "language"),
    [
        ("+4930222", "de-DE"),
        ("+49 (30) 222", "de-DE"),
        ("+4930444", None),  # leads to another agent than the one that was let in
        ("+4930999", None),
        (None, None),
    ],
)
def test_a_call_has_the_language_of_the_called_number(tmp_path: Path, called: str | None, language: str | None) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says({"start": {"call": "mine", "from": "+4930111", "to": called}})
        (live,) = desk.gateway.live_calls.of("default")
        assert live.running.call.caller.language == language
        await later(1)
        desk.socket.says({"stop": 1})
        assert (await desk.record()).caller.language == language

    with_call(tmp_path, main)


def test_the_star_has_a_language_too(tmp_path: Path) -> None:
    async def main(desk: Desk) -> None:
        desk.socket.says({"start": {"call": "mine", "to": "+4930999"}})
        assert desk.gateway.live_calls.of("default")[0].running.call.caller.language == "en"
        desk.socket.says({"stop": 1})
        await desk.record()

    with_call(tmp_path, main, numbers={"*": {"agent": "desk", "language": "en"}})


@pytest.mark.parametrize(("most_s", "overfull"), [(1, True), (2, False)])
def test_how_much_speech_may_wait_is_a_setting(tmp_path: Path, most_s: int, overfull: bool) -> None:
    async def main(desk: Desk) -> None:
        started = MediaStarted(PLAIN_RULES, CallerFacts.of("+4930111", "+4930222"))
        leg, running = desk.calls.begin(ExpectedCall(desk.ticket, "plain"), started)
        leg.do(Play("resp_1", "item_1", AudioFrame(bytes(12_000), PCMU_8K, 0), None))
        assert leg.overfull == overfull
        running.hang_up("test_over")

    with_call(tmp_path, main, max_waiting_speech_s=most_s)
