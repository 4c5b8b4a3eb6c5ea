"""A call by telephone in virtual time: frames in real time, turns by ear, both sides kept, and an end from either."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Mapping

import pytest
from support.calls.call_rig import later
from support.virtual import run

from audio.formats import PCM16_8K
from gateway.clock import LoopClock
from gateway.softphone.call_record import RecordReader
from gateway.softphone.far_ends.ear import Ear
from gateway.softphone.lines.gateway_http import HttpAnswer
from gateway.softphone.lines.line import LineLost, NowMs, Voice
from gateway.softphone.plan import SpokenTurn
from gateway.softphone.telephone import TelephoneCall, TelephoneOptions


def tone(ms: int, rate_hz: int) -> bytes:
    """A sine well above the gate."""
    return b"".join(struct.pack("<h", int(8000 * math.sin(n * 0.2))) for n in range(ms * rate_hz // 1000))


class Desk:
    """A line with an agent that greets, answers each stretch of sound, and may hang up or say nothing more."""

    protocol = "desk"
    carrier_call_id = "C1"
    broken = False  # it breaks the protocol, and is gone after the call

    def __init__(self, *, answers: int = 10, hangs_up_ms: int | None = None) -> None:
        self.ear = Ear(PCM16_8K)
        self.did: list[str] = []
        self.spoken_at_ms: list[float] = []
        self._voice = Voice(PCM16_8K)
        self._answers = answers
        self._hangs_up_ms = hangs_up_ms
        self._ended = asyncio.Event()
        self._now_ms: NowMs = lambda: 0.0
        self._loud = False
        self._quiet = 0

    async def dial(self) -> None:
        self.did.append("dial")

    async def begin(self, now_ms: NowMs) -> None:
        self._now_ms = now_ms
        self.ear.sound(tone(600, 8000), now_ms() + 100)

    async def speak(self, pcm: bytes) -> None:
        if self._ended.is_set():
            raise LineLost("the call has ended")
        frame = self._voice.frame(pcm)
        assert len(frame) == 320
        self.spoken_at_ms.append(self._now_ms())
        if any(frame):
            self._loud, self._quiet = True, 0
            self.ear.clear(self._now_ms())
        elif self._loud:
            self._quiet += 1
            if self._quiet == 25:
                self._loud = False
                self._answers -= 1
                if self._answers >= 0:
                    self.ear.sound(tone(1000, 8000), self._now_ms())

    async def listen(self) -> str:
        if self._hangs_up_ms is None:
            await self._ended.wait()
        else:
            await later(self._hangs_up_ms / 1000)
            self._ended.set()
        return "the desk hung up"

    async def hang_up(self) -> None:
        self.did.append("hang up")
        self._ended.set()

    async def after(self) -> None:
        self.did.append("after")
        if self.broken:
            raise ConnectionRefusedError("nobody is there")

    def faults(self) -> list[str]:
        return ["a binary message"] if self.broken else []


async def no_record(method: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
    return HttpAnswer(404, b"")


def turn(label: str, barge_in_ms: int | None = None) -> SpokenTurn:
    return SpokenTurn(label, tone(500, 24_000) + bytes(4800), barge_in_ms, "")


def call(*turns: SpokenTurn, answers: int = 10, hangs_up_ms: int | None = None) -> tuple[Desk, TelephoneCall, int]:
    """Make a call; returns when it had ended, too."""

    async def main() -> tuple[Desk, TelephoneCall, int]:
        clock = LoopClock(asyncio.get_running_loop(), 1e9)
        desk, phone = (
            Desk(answers=answers, hangs_up_ms=hangs_up_ms),
            TelephoneCall(turns, "desk", clock, lambda line: None),
        )
        begun_ms = clock.now_ms()
        assert not phone.hang_up()
        await phone.run(TelephoneOptions(desk, RecordReader(no_record, "desk", None), 5.0))
        return desk, phone, clock.now_ms() - begun_ms

    return run(main())


def test_turns_follow_the_answers_and_frames_leave_when_they_have_been_spoken() -> None:
    desk, phone, _ = call(turn("one"), turn("two"))
    report = phone.report
    assert desk.spoken_at_ms == [20.0 * number for number in range(1, len(desk.spoken_at_ms) + 1)]
    assert [row.error for row in report.turns] == [None, None]
    first, second = report.turns
    assert 700 + 1200 <= first.begin_ms <= 700 + 1260  # after the greeting, and a pause
    assert first.latency_ms is not None
    assert abs(first.latency_ms - 500) <= 25
    assert first.end_ms is not None
    assert second.begin_ms > first.end_ms + 400 + 1000 + 1100
    assert (report.ended, report.protocol, report.failed) == ("caller hung up", "desk", False)
    assert desk.did == ["dial", "hang up", "after"]
    assert "HTTP 404" in report.remark


def test_both_sides_are_kept_as_they_were_heard() -> None:
    _, phone, _ = call(turn("one"))
    caller, agent = phone.tracks()
    assert len(caller) == len(agent)
    row = phone.report.turns[0]
    assert caller[row.begin_ms * 48 :][: 500 * 48] == tone(500, 24_000)
    assert not any(caller[: row.begin_ms * 48])
    assert not any(agent[: 90 * 48])
    assert any(agent[110 * 48 : 600 * 48])


def test_a_turn_can_barge_in() -> None:
    _, phone, _ = call(turn("one"), turn("two", barge_in_ms=300))
    first, second = phone.report.turns
    assert first.latency_ms is not None
    heard_ms = first.begin_ms + 500 + first.latency_ms
    assert heard_ms + 280 <= second.begin_ms <= heard_ms + 340
    assert second.error is None


def test_a_turn_without_an_answer_says_so() -> None:
    _, phone, _ = call(turn("one"), answers=0)
    assert phone.report.turns[0].error == "no answer within 5 s"
    assert phone.report.failed


def test_a_call_that_the_other_side_ends_says_so_and_the_rest_is_not_said() -> None:
    desk, phone, ended_ms = call(turn("one"), turn("two"), hangs_up_ms=2500)
    assert phone.report.ended == "the desk hung up"
    assert [row.error for row in phone.report.turns] == ["the call had ended", "the call had ended"]
    assert ended_ms < 2600
    assert desk.did == ["dial", "hang up", "after"]


def test_faults_of_the_gateway_are_reported_and_fail_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Desk, "broken", True)
    _, phone, _ = call(turn("one"))
    assert phone.report.faults == [
        "what the carrier says after the call was not taken: nobody is there",
        "a binary message",
    ]
    assert phone.report.failed
    assert phone.report.turns[0].error is None
