"""The leg of a telephone caller: by itself with a far end that keeps what it gets, and in a call."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from support.calls.call_rig import SETUP, NoServers, Rig, later
from support.virtual import VirtualLoop, run

from audio.departures import Echo
from audio.formats import PCM16_24K, PCMU_8K, AudioFrame
from audio.g711 import silence
from audio.playout import FarEndRules, Framing
from gateway.calls.record import CallRecord
from gateway.calls.running import RunningCall
from gateway.clock import LoopClock
from gateway.ids import CountingIds
from gateway.legs.caller import play_out_of
from gateway.legs.phone import CLEAR_ANSWER_MS, MAX_CLEARS, MAX_WAITING_MS, PhoneLeg
from gateway.legs.ticker import TICK_MS, Ticker
from gateway.tools.contract import ToolContext
from gateway.tools.toolbox import Toolbox
from sessions.call import Call
from sessions.commands import ClearPlayback, EndCall, LegReplaced, Play, Relay, ResponseGone, TruncateItem
from sessions.events import (
    AgentAudio,
    CallerEvent,
    HungUp,
    ItemStarted,
    MarkEchoed,
    ModelEvent,
    ResponseEnded,
    ResponseStarted,
    SpeechStarted,
)
from sessions.line_events import SpeechDropped
from sessions.record import Heard, Utterance
from sessions.state import CallRules
from sessions.values import ItemKind, Outcome

SILENT = silence(PCMU_8K, 160)
EXACT = FarEndRules(PCMU_8K, 0, Framing.ONE)
MARKED = FarEndRules(PCMU_8K, 400, Framing.ANY, mark_every_ms=200)
COUNTED = FarEndRules(PCMU_8K, 200, Framing.WHOLE, mark_every_ms=200, counts_dropped=True)
ENDED = Relay(ResponseEnded("resp_1", Outcome.COMPLETED, None, None, None))


class Line:
    """A far end that keeps what it gets, and when."""

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock
        self.got: list[tuple[int, bytes]] = []
        self.told: list[str] = []
        self.breaks = False

    def send_sound(self, payload: bytes) -> None:
        if self.breaks:
            raise RuntimeError("the far end's codec broke")
        self.got.append((self._clock.now_ms(), payload))

    def send_clear(self) -> None:
        self.told.append("clear")

    def send_mark(self, name: str) -> None:
        self.told.append(f"mark {name}")

    def hang_up(self, reason: str) -> None:
        self.told.append(f"hang up: {reason}")

    @property
    def sound(self) -> bytes:
        return b"".join(payload for _, payload in self.got).replace(SILENT, b"")


class Desk:
    """A leg that is open, and its far end."""

    def __init__(self, rules: FarEndRules, max_waiting_ms: int = MAX_WAITING_MS) -> None:
        self.clock = LoopClock(asyncio.get_running_loop(), 0.0)
        self.ticker = Ticker(self.clock)
        self.leg = PhoneLeg(rules, self.ticker, self.clock, max_waiting_ms)
        self.line = Line(self.clock)
        self.heard: list[CallerEvent] = []
        self.faults: list[BaseException] = []
        self.leg.connect(self.heard.append, self.faults.append)
        self.leg.opened(self.line)

    def play(self, ms: int, byte: bytes = b"a", item_id: str = "item_1") -> None:
        self.leg.do(Play("resp_1", item_id, AudioFrame(byte * (ms * 8), PCMU_8K, 0), None))


def test_silence_leaves_from_the_first_moment_on_and_speech_in_its_place() -> None:
    async def main() -> None:
        desk = Desk(EXACT)
        begin_ms = desk.clock.now_ms()
        await later(0.1)
        desk.play(50)
        desk.leg.do(ENDED)
        await later(0.1)
        times = [at_ms for at_ms, _ in desk.line.got]
        assert times[0] - begin_ms <= TICK_MS
        assert {after - before for before, after in pairwise(times)} == {TICK_MS}
        assert all(len(payload) == 160 for _, payload in desk.line.got)
        assert desk.line.sound == b"a" * 400 + SILENT[80:]
        desk.leg.close(1000, "")
        assert desk.ticker.idle

    run(main())


def test_a_far_end_that_holds_sound_gets_it_at_once_and_marks_between() -> None:
    async def main() -> None:
        desk = Desk(MARKED)
        assert desk.ticker.idle
        desk.play(1_000)
        desk.leg.do(ResponseGone("resp_1"))
        assert desk.line.sound == b"a" * 3_200
        await later(1)
        assert desk.line.sound == b"a" * 8_000
        assert desk.line.told == [f"mark 0-{n}" for n in range(1, 6)]
        assert desk.ticker.idle
        desk.leg.play_out.departures(0)
        for name in ("0-2", "0-9", "", "0-1", "0-3", "0-4"):
            desk.leg.echoed(name)
        now_ms = desk.clock.now_ms()
        echoes = [Echo("item_1", position_ms, now_ms) for position_ms in (400, 200, 600, 800)]
        assert (desk.leg.play_out.departures(now_ms), desk.heard) == (echoes, [])
        desk.leg.echoed("0-5")
        assert desk.heard == [MarkEchoed("item_1", 1_000)]
        desk.leg.echoed("0-5")
        assert len(desk.heard) == 1

    run(main())


@pytest.mark.parametrize("rules", [EXACT, MARKED])
def test_a_clear_reaches_the_far_end_before_any_new_speech_and_old_marks_bring_no_event(rules: FarEndRules) -> None:
    async def main() -> None:
        desk = Desk(rules)
        desk.play(1_000)
        await later(0.1)
        before = len(desk.line.sound)
        desk.leg.do(ClearPlayback())
        assert desk.line.told[-1] == "clear"
        await later(0.1)
        assert len(desk.line.sound) == before
        desk.leg.echoed("0-1")
        assert desk.heard == []
        desk.play(40, b"b", "item_2")
        await later(0.1)
        assert desk.line.sound[before:] == b"b" * 320
        desk.leg.close(1000, "")

    run(main())


def test_what_a_far_end_has_dropped_says_what_it_had_played_for_each_clear_in_order() -> None:
    async def main() -> None:
        desk = Desk(COUNTED)
        for item_id in ("item_1", "item_2"):
            desk.play(100, b"a", item_id)
            desk.leg.do(ClearPlayback())
        for dropped_ms in (40, 60, 0):
            desk.leg.dropped(dropped_ms)
        assert desk.heard == [SpeechDropped((("item_1", 60),)), SpeechDropped((("item_2", 40),))]

    run(main())


def test_an_answer_to_a_clear_that_is_late_or_makes_no_sense_or_is_from_before_a_redial_is_nothing() -> None:
    async def main() -> None:
        desk = Desk(COUNTED)
        desk.play(100)
        desk.leg.do(ClearPlayback())
        await later(CLEAR_ANSWER_MS / 1000 + 0.1)
        desk.leg.dropped(40)  # late
        desk.play(100)
        desk.leg.do(ClearPlayback())
        desk.leg.dropped(120)  # more than had left
        desk.leg.do(ClearPlayback())
        desk.leg.dropped(0)  # nothing had left
        desk.play(100)
        desk.leg.do(ClearPlayback())
        desk.leg.reopened()
        desk.leg.dropped(40)
        desk.play(100)
        for _ in range(MAX_CLEARS + 1):
            desk.leg.do(ClearPlayback())
        desk.leg.dropped(40)
        assert desk.heard == []
        desk.leg.close(1000, "")
        desk.leg.do(ClearPlayback())
        desk.leg.dropped(40)
        assert desk.heard == []
        marked = Desk(MARKED)
        marked.play(100)
        marked.leg.do(ClearPlayback())
        marked.leg.dropped(40)
        assert marked.heard == []

    run(main())


def test_what_waits_counts_for_overfull() -> None:
    async def main() -> None:
        desk = Desk(MARKED, max_waiting_ms=10_000)
        desk.play(10_400)
        assert not desk.leg.overfull
        desk.play(20)
        assert desk.leg.overfull
        desk.leg.do(ClearPlayback())
        assert not desk.leg.overfull
        desk.leg.do(LegReplaced())  # only for clients of the model's dialect

    run(main())


@pytest.mark.parametrize(
    ("code", "told"), [(1000, "hang up: ended"), (1001, "hang up: shutting_down"), (1011, "hang up: server_fault")]
)
def test_a_leg_is_closed_once(code: int, told: str) -> None:
    async def main() -> None:
        desk = Desk(EXACT)
        desk.leg.close(code, "words")
        desk.leg.do(EndCall("idle_limit", "Good bye.", None))
        desk.play(100)
        desk.leg.do(ClearPlayback())
        await later(0.1)
        assert (desk.line.told, desk.line.got) == ([told], [])
        assert desk.ticker.idle

    run(main())


def test_the_end_of_a_call_is_told_with_its_reason() -> None:
    async def main() -> None:
        desk = Desk(MARKED)
        desk.leg.do(EndCall("idle_limit", "Good bye.", None))
        assert desk.line.told == ["hang up: idle_limit"]

    run(main())


def test_a_far_end_that_is_gone_ends_the_call() -> None:
    async def main() -> None:
        desk = Desk(EXACT)
        desk.leg.lost()
        await later(0.1)
        desk.leg.close(1000, "")
        assert (desk.heard, desk.line.got, desk.line.told) == ([HungUp("caller_hung_up")], [], [])
        assert desk.ticker.idle

    run(main())


def test_a_leg_is_harmless_without_a_call_or_a_far_end() -> None:
    async def main() -> None:
        clock = LoopClock(asyncio.get_running_loop(), 0.0)
        leg = PhoneLeg(MARKED, Ticker(clock), clock)
        leg.do(Play("resp_1", "item_1", AudioFrame(b"a" * 800, PCMU_8K, 0), None))
        leg.deliver(HungUp("caller_hung_up"))
        leg.close(1000, "")
        assert leg.play_out.waiting_ms == 100
        assert play_out_of(leg) is leg.play_out
        assert play_out_of(object()) is None

    run(main())


def test_a_tick_that_fails_is_the_fault_of_its_call_which_can_still_hang_up() -> None:
    async def main() -> None:
        desk = Desk(EXACT)
        desk.line.breaks = True
        await later(0.1)
        assert [str(fault) for fault in desk.faults] == ["the far end's codec broke"]
        desk.leg.close(1011, "internal error")
        assert desk.line.told == ["hang up: server_fault"]

    run(main())


# ---- in a call


class PhoneCall:
    """A whole call of a telephone caller with a model that the test controls."""

    def __init__(self, folder: Path, rules: FarEndRules) -> None:
        self.rig = Rig(folder, {}, recording=False)
        clock = self.rig.clock
        self.leg = PhoneLeg(rules, Ticker(clock), clock)
        self.line = Line(clock)
        call_rules = CallRules({}, None, client_plays=False, length_ms=600_000, idle_ms=None)
        self.running = RunningCall(
            Call(call_rules, SETUP, CountingIds(), clock.now_ms()),
            self.rig.model,
            Toolbox([], NoServers(), {}),
            ToolContext("sess_1", "desk", {}, clock),
            CallRecord(self.rig.facts, self.rig.saved.append, self.rig.recorder, None, clock),
            clock,
            lambda: None,
        )
        self.running.attach(self.leg)
        self.leg.connect(self.running.from_caller, self.running.fault)
        self.leg.opened(self.line)
        self.rig.live_calls.start(replace(self.rig.live, running=self.running))

    def tell(self, *events: ModelEvent) -> None:
        for event in events:
            self.rig.model.deliver(event)

    async def answers(self, ms: int) -> None:
        """The model answers, four times as fast as it is spoken."""
        self.tell(SpeechStarted("caller_1", 0, None))
        self.tell(ResponseStarted("resp_1", False, None, None))
        self.tell(ItemStarted("resp_1", "item_1", ItemKind.MESSAGE, None, None, None))
        for at_ms in range(0, ms, 100):
            self.tell(AgentAudio("resp_1", "item_1", AudioFrame(b"\x10\x20" * 2_400, PCM16_24K, at_ms * 24), None))
            await later(0.025)
        self.tell(ResponseEnded("resp_1", Outcome.COMPLETED, None, None, None))

    @property
    def told_heard_ms(self) -> int:
        (told,) = [sent for sent in self.rig.model.sent if isinstance(sent, TruncateItem)]
        return told.heard_ms

    @property
    def item(self) -> Utterance:
        return next(
            entry
            for turn in self.running.call.turns
            for entry in turn.entries
            if isinstance(entry, Utterance) and entry.item_id == "item_1"
        )


@pytest.mark.parametrize("stall_ms", [0, 45, 700])
def test_where_the_far_end_holds_nothing_all_that_has_left_was_heard_whatever_the_loop_did(
    tmp_path: Path, stall_ms: int
) -> None:
    async def main() -> None:
        call = PhoneCall(tmp_path, EXACT)
        await later(0.1)
        await call.answers(3_000)
        await later(0.33)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.jump(stall_ms / 1000)
        call.tell(SpeechStarted("caller_2", 0, None))  # before the tick that is late
        left_ms = len(call.line.sound) // 8
        assert call.told_heard_ms == left_ms > 900
        await later(0.5)
        assert len(call.line.sound) // 8 == left_ms
        assert (call.item.heard_ms, call.item.sent_ms, call.item.heard) == (left_ms, 3_000, Heard.ESTIMATED)
        call.running.hang_up("test_over")
        await call.rig.live_calls.wait_empty()
        assert call.line.told == ["clear", "clear", "hang up: ended"]

    run(main())


def test_where_the_far_end_holds_sound_the_clock_says_what_was_heard(tmp_path: Path) -> None:
    async def main() -> None:
        call = PhoneCall(tmp_path, MARKED)
        await later(0.1)
        await call.answers(3_000)
        await later(0.75)
        marks = [told.removeprefix("mark ") for told in call.line.told if told.startswith("mark ")]
        for name in marks[:7]:
            call.leg.echoed(name)
        call.tell(SpeechStarted("caller_2", 0, None))
        assert abs(call.told_heard_ms - 1_500) <= 1
        assert len(call.line.sound) // 8 <= 1_900
        assert call.item.heard is Heard.MARKED
        call.leg.lost()
        await call.rig.live_calls.wait_empty()

    run(main())


def test_a_tick_that_fails_ends_its_call(tmp_path: Path) -> None:
    async def main() -> None:
        call = PhoneCall(tmp_path, EXACT)
        await later(0.1)
        call.line.breaks = True
        await call.rig.live_calls.wait_empty()
        assert call.rig.session["end_reason"] == "server_fault"
        assert call.line.told[-1] == "hang up: server_fault"

    run(main())


@pytest.mark.parametrize(("held_ms", "label"), [(160, Heard.REPORTED), (0, Heard.REPORTED), (9_000, Heard.ESTIMATED)])
def test_what_the_far_end_has_dropped_replaces_the_clocks_estimate(tmp_path: Path, held_ms: int, label: Heard) -> None:
    async def main() -> None:
        call = PhoneCall(tmp_path, COUNTED)
        await later(0.1)
        await call.answers(3_000)
        call.leg.dropped(0)  # the caller spoke before the answer, which was a clear too
        await later(0.75)
        call.tell(SpeechStarted("caller_2", 0, None))
        told_ms, left_ms = call.told_heard_ms, len(call.line.sound) // 8
        assert (call.item.heard_ms, call.item.heard) == (told_ms, Heard.ESTIMATED)
        await later(0.1)
        call.leg.dropped(held_ms)
        heard_ms = told_ms if label is Heard.ESTIMATED else left_ms - held_ms
        assert (call.item.heard_ms, call.item.heard) == (heard_ms, label)
        assert call.told_heard_ms == told_ms  # and no second truncation
        call.running.hang_up("test_over")
        await call.rig.live_calls.wait_empty()
        assert call.item.heard_ms == heard_ms

    run(main())
