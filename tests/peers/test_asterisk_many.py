"""Many calls at the same time through a real Asterisk: each is greeted, asks something, is answered, and hangs up.

`TEST_CALLS` says how many: 20 by default, 50 and 100 for a release.
"""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from peers.asterisk.cpu import cpu_s
from peers.asterisk.house import DESK, House, open_house, speech
from peers.asterisk.report import LOUD, inside_speech, is_loud, pcm
from peers.asterisk.rtp import Packet
from peers.asterisk.sip import NotAnswered
from peers.asterisk.telephone import calling
from peers.demo_desk import needs_local

pytestmark = [pytest.mark.asterisk, pytest.mark.sockets, pytest.mark.timed]

CALLS = int(os.environ.get("TEST_CALLS", "20"))
# A telephone's jitter buffer covers this. A release is held to 25 on a machine that does nothing else.
GAP_MS = float(os.environ.get("TEST_GAP_MS", "60"))
WAYS = {"as": "audiosocket", "ws-ulaw": "asterisk"}  # and the protocol in the record
# What callers ask, and a part of the only answer to it.
LINES = {
    "I want to book a table": "For how many people?",
    "what are your opening hours": "from noon to ten",
    "where are you located": "twelve Quay Street",
    "how much is dinner": "forty euros",
    "can I bring my dog": "welcome on the terrace",
}
GREETED_S, ANSWERED_S = 15.0, 40.0  # far more than a call needs alone


@dataclass
class Caller:
    """One of many callers, and what became of the call."""

    number: str
    way: str
    line: str
    status: int = 200  # of SIP
    greeted: bool = False
    answered: bool = False
    asked_s: float = 0.0
    late_ms: list[float] = field(default_factory=list)  # how late the telephone has sent its frames
    packets: list[Packet] = field(default_factory=list)

    def call(self, sip_port: int, sound: bytes, together: threading.Barrier) -> None:
        """Make the call."""
        together.wait(10)
        try:
            with calling(sip_port, f"{self.way}-{DESK}", caller=self.number) as telephone:
                self.packets, self.late_ms = telephone.rtp.packets, telephone.rtp.late_ms
                self.greeted = telephone.hears_speech_end(GREETED_S)
                self.asked_s = time.monotonic()
                telephone.say(sound)
                self.answered = telephone.hears_speech_end(ANSWERED_S)
        except NotAnswered as refused:
            self.status = refused.status

    def speech_ms(self, *, answer: bool) -> float:
        """How long the greeting lasted, or the answer, from the first loud sample to the last."""
        heard = array("h", b"".join(pcm(packet) for packet in self.packets if (packet.at_s > self.asked_s) is answer))
        loud = [at for at, sample in enumerate(heard) if abs(sample) > LOUD]
        return (loud[-1] - loud[0]) / 8 if loud else 0.0


def callers_of(count: int) -> list[Caller]:
    """Callers of whom every second one comes the same way, and with every line on each of the ways."""
    ways, lines = list(WAYS), list(LINES)
    return [Caller(f"+4930{at:05}", ways[at % len(ways)], lines[at // len(ways) % len(lines)]) for at in range(count)]


def all_call(house: House, callers: Iterable[Caller], sounds: Mapping[str, bytes]) -> dict[str, float]:
    """Make all calls at the same time. Returns how many cores each program has taken meanwhile."""
    callers = list(callers)
    together = threading.Barrier(len(callers))
    pids = {"gateway": house.server.process.pid, "asterisk": house.asterisk.process.pid}
    before_s, telephones_s, begun_s = (
        {name: cpu_s(pid) for name, pid in pids.items()},
        time.process_time(),
        time.monotonic(),
    )
    with ThreadPoolExecutor(len(callers)) as pool:
        for done in [pool.submit(one.call, house.asterisk.sip_port, sounds[one.line], together) for one in callers]:
            done.result()
    taken_s = {name: cpu_s(pid) - before_s[name] for name, pid in pids.items()}
    taken_s["telephones"] = time.process_time() - telephones_s
    whole_s = time.monotonic() - begun_s
    return {"seconds": whole_s, **{name: seconds / whole_s for name, seconds in taken_s.items()}}


def records_of(house: House, count: int, within_s: float = 15.0) -> dict[str, Any]:
    """The records by the caller's number, once so many calls are over; no number may have two."""
    until_s = time.monotonic() + within_s
    while True:
        status, page = house.server.ask("/api/v1/sessions?limit=200")
        assert status == 200, page
        ended = [session for session in page["sessions"] if session["state"] == "ended"]
        if len(ended) == len(page["sessions"]) >= count:
            break
        assert time.monotonic() < until_s, (len(ended), len(page["sessions"]))
        time.sleep(0.2)
    records = {session["caller"]["number"]: session for session in ended}
    assert len(records) == len(ended) == count
    return records


def check_record(house: House, caller: Caller, session: Any) -> None:
    """The record has its own call's facts, and what was said in this call only."""
    assert (session["agent"], session["protocol"]) == ("front-desk", WAYS[caller.way])
    assert (session["caller"]["called"], session["end_reason"]) == (DESK, "caller_hung_up")
    entries = [entry for turn in house.server.turns(session["session_id"]) for entry in turn["entries"]]
    said = [entry["text"] for entry in entries if entry["kind"] == "said" and entry["speaker"] == "agent"]
    found = [line for line, answer in LINES.items() if any(answer in text for text in said)]
    assert found == [caller.line], (caller.way, caller.line, [entry.get("text") for entry in entries])


def gaps_ms(callers: Iterable[Caller]) -> list[float]:
    """The gaps between packets inside speech, the shortest first."""
    stretches = (stretch for caller in callers for stretch in inside_speech(caller.packets))
    return sorted((after.at_s - before.at_s) * 1000 for one in stretches for before, after in pairwise(one))


def odd_packets(callers: Iterable[Caller]) -> int:
    """How many packets inside speech are not the next one: missing, repeated or out of order."""
    stretches = (stretch for caller in callers for stretch in inside_speech(caller.packets))
    return sum(not follows(before, after) for one in stretches for before, after in pairwise(one))


def follows(before: Packet, after: Packet) -> bool:
    """Whether a packet is the next one. Its timestamp does not tell: where a frame is late, Asterisk moves it on."""
    next_one = (after.sequence - before.sequence) & 0xFFFF == 1
    return next_one and not (after.payload == before.payload and is_loud(after))


def odd_sounds(callers: Iterable[Caller]) -> list[tuple[str, str, float]]:
    """Calls whose greeting or answer is shorter or longer than in the others, by 15 ms: with the milliseconds.

    The agent's voice takes as long for the same words in every call, to 10 ms. So a frame that was lost or repeated on
    its way to Asterisk shows, which numbers its own packets only; and so does the answer to another question.
    """
    groups: dict[str, list[tuple[str, float]]] = {}
    for one in callers:
        groups.setdefault("greeting", []).append((one.way, one.speech_ms(answer=False)))
        groups.setdefault(one.line, []).append((one.way, one.speech_ms(answer=True)))
    usual = {what: median(ms for _, ms in found) for what, found in groups.items()}
    return [(way, what, ms) for what, found in groups.items() for way, ms in found if abs(ms - usual[what]) > 15]


@needs_local
def test_many_calls_at_once_are_answered_heard_and_kept_apart(tmp_path: Path) -> None:
    sounds = {line: speech(line, tmp_path) for line in LINES}
    callers = callers_of(CALLS)
    with open_house(tmp_path / "house") as house:
        cores = all_call(house, callers, sounds)
        answered = [caller for caller in callers if caller.status == 200]
        gaps = {way: gaps_ms(one for one in answered if one.way == way) for way in WAYS}
        late_ms = sorted(late for caller in callers for late in caller.late_ms)
        print(f"{len(answered)} of {CALLS} calls answered in {cores.pop('seconds'):.1f} s")
        print("cores taken: " + ", ".join(f"{name} {share:.2f}" for name, share in cores.items()))
        for way, found in gaps.items():
            print(f"{way}: gaps inside speech p99 {found[int(0.99 * len(found))]:.1f} ms, longest {found[-1]:.1f} ms")
        print(f"telephones' own frames were late by {late_ms[int(0.99 * len(late_ms))]:.1f} ms at p99")
        odd = odd_sounds(answered)
        print(f"packets missing, repeated or reordered: {odd_packets(answered)}; sounds of another length: {len(odd)}")
        assert [caller.status for caller in callers] == [200] * CALLS
        assert [caller for caller in callers if not caller.greeted] == []
        assert [(caller.way, caller.line) for caller in callers if not caller.answered] == []
        records = records_of(house, CALLS)
        after_ms = sorted(ms for session in records.values() for ms in session["latencies_ms"])
        print(f"answers came after {median(after_ms):.0f} ms at the median, {after_ms[-1]} ms at most")
        for caller in callers:
            check_record(house, caller, records[caller.number])
        assert odd_packets(callers) == 0
        assert len(odd) <= max(1, CALLS // 10), odd  # the voice itself takes now and then a little longer
        for way, found in gaps.items():
            assert found[int(0.99 * len(found))] <= GAP_MS, (way, found[-20:], late_ms[-20:])
        assert house.until_no_channels()
