"""Calls whose far end sends what a telephone sends: its sound to the model and into the recording, at each rate."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import soundfile
from numpy.typing import NDArray
from support.calls.call_rig import Phone, later
from support.calls.first_message import ANYBODY
from support.calls.whole_gateway import within

from audio.formats import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, Coding, parse_format
from audio.g711 import encode
from audio.line_in import LineIn
from gateway.app import Gateway
from gateway.callers.realtime.new_session import session_with
from gateway.calls.admission import CallPlan, Ticket
from gateway.clock import LoopClock
from gateway.telemetry.names import LINE_FRAMES
from gateway.timer import Alarm
from sessions.caller_facts import UNKNOWN_CALLER
from sessions.commands import Play, Relay
from sessions.events import CallerAudio, HungUp, SpeechEnded
from sessions.line_events import CallerSilence, LineMeasured
from sessions.stores.documents import SESSION_ID, session_from_document

FILES = {
    "desk.yaml": "model: scripted/scripts/desk.yaml\ninstructions: None.\nrecording: on\nreplay: full\n",
    "scripts/desk.yaml": "model: desk\nturns: [{when: {spoken: true}, hears: Hello., say: 'At your service, sir.'}]\n",
}
# What a far end sends, what the model gets then, and the rate of the recording.
CASES = [
    (PCMU_8K, PCMU_8K, 8_000),
    (PCMA_8K, PCMA_8K, 8_000),
    (PCM16_8K, PCMU_8K, 8_000),
    (PCM16_16K, PCM16_24K, 24_000),
    (PCM16_24K, PCM16_24K, 24_000),
]
HOLE_MS = 180  # a key on Asterisk


def tone(ms: int, format: AudioFormat) -> bytes:
    at = np.arange(format.rate_hz * ms // 1000) / format.rate_hz
    pcm16 = (12_000 * np.sin(2 * np.pi * 440 * at)).astype("<i2").tobytes()
    return pcm16 if format.coding is Coding.PCM16 else encode(pcm16, format.coding)


class Handset:
    """A telephone with its line in here, whose call has begun."""

    def __init__(self, gateway: Gateway, ticket: Ticket, far_end: AudioFormat, *, fills: bool = True) -> None:
        clock = self._clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        self.format = gateway.admission.format_for(ticket.agent, far_end)
        session = session_with(
            ticket.agent, ticket.toolbox, ticket.session_id, UNKNOWN_CALLER, clock, format=self.format
        )
        plan = CallPlan("test", session.setup(), greet=False, client_plays=False, far_end=far_end)
        self.leg = Phone()
        self.running = gateway.admission.begin(ticket, UNKNOWN_CALLER, self.leg, plan)
        self.line = LineIn(far_end, clock.now_ms())
        self.sent = b""
        self._alarm = Alarm(clock, self._on_time)
        self._far_end = far_end
        if fills:
            self._alarm.set(self.line.deadline_ms)
        self._fills = fills

    async def speaks(self, ms: int) -> None:
        """Send a tone, frame by frame."""
        sound, step = tone(ms, self._far_end), self._far_end.bytes_for_ms(20)
        for begin in range(0, len(sound), step):
            await later(0.02)
            payload = sound[begin : begin + step]
            self.sent += payload
            frame = self.line.sound(payload, self._clock.now_ms())
            assert frame is not None
            self.running.from_caller(CallerAudio(frame, None))
            if self._fills:
                self._alarm.set(self.line.deadline_ms)

    def hangs_up(self) -> None:
        """Report how the line was, and be gone."""
        self._alarm.close()
        self.running.from_caller(LineMeasured(self.line.counts))
        self.running.from_caller(HungUp("caller_hung_up"))

    def _on_time(self) -> None:
        frame = self.line.on_time(self._clock.now_ms())
        if frame is not None:
            self.running.from_caller(CallerSilence(frame))
        self._alarm.set(self.line.deadline_ms)

    @property
    def played(self) -> bytes:
        """The agent's speech, as the leg got it."""
        return b"".join(told.frame.payload for told in self.leg.told if isinstance(told, Play))

    @property
    def ended_ms(self) -> list[int]:
        """Where the model heard the caller stop, on the caller's own timeline."""
        relayed = [told.event for told in self.leg.told if isinstance(told, Relay)]
        return [event.at_ms for event in relayed if isinstance(event, SpeechEnded)]


def with_desk(folder: Path, main: Callable[[Gateway, Ticket], Awaitable[None]]) -> None:
    async def whole(gateway: Gateway) -> None:
        ticket = await gateway.admission.admit(ANYBODY, "desk")
        assert isinstance(ticket, Ticket)
        await main(gateway, ticket)

    within(folder, whole, files=FILES)


def loud(channel: NDArray[np.float64], rate_hz: int, from_ms: int, to_ms: int) -> float:
    part = channel[from_ms * rate_hz // 1000 : to_ms * rate_hz // 1000]
    return float(np.sqrt(np.mean(part**2)))


@pytest.mark.parametrize(("far_end", "model", "rate_hz"), CASES, ids=str)
def test_a_call_is_answered_and_recorded_at_the_rates_that_it_has(
    tmp_path: Path, far_end: AudioFormat, model: AudioFormat, rate_hz: int
) -> None:
    files: dict[str, bytes] = {}
    kept: list[Any] = []
    phones: list[Handset] = []

    async def main(gateway: Gateway, ticket: Ticket) -> None:
        phone = Handset(gateway, ticket, far_end)
        phones.append(phone)
        await phone.speaks(1_000)
        await later(HOLE_MS / 1000)
        await phone.speaks(500)
        await later(5)
        phone.hangs_up()
        await gateway.live_calls.wait_empty()
        await later(5)
        await gateway.write_behind.flush("default", ticket.session_id)
        kept.append(await gateway.store.get("default", ticket.session_id, SESSION_ID))
        files.update({path.name: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()})

    with_desk(tmp_path, main)
    (phone,) = phones
    assert phone.format == model
    assert len(phone.ended_ms) == 1  # the hole does not end the turn, and the silence at the end does
    assert phone.ended_ms[0] == pytest.approx(20 + 1_000 + HOLE_MS + 500 + 500, abs=60)
    # The tracks hold what came, in the formats in which it came, and no silence.
    assert files["caller.raw"] == phone.sent
    assert files["agent.raw"] == phone.played != b""
    runs = [orjson.loads(line) for line in files["tracks.jsonl"].splitlines()[1:]]
    assert {(run["track"], parse_format(run["format"])) for run in runs} == {("caller", far_end), ("agent", model)}
    assert orjson.loads(files["events.jsonl"].splitlines()[0])["formats"] == {
        "caller": str(far_end),
        "agent": str(model),
    }
    logged = [orjson.loads(line) for line in files["events.jsonl"].splitlines()[1:]]
    spoken = [line["sound"] for line in logged if line["from"] == "caller" and "sound" in line]
    assert sum(sound["samples"] for sound in spoken) == 1_500 * far_end.rate_hz // 1000
    assert spoken[-1]["start_sample"] + spoken[-1]["samples"] == (1_500 + HOLE_MS) * far_end.rate_hz // 1000
    record = session_from_document(kept[0])
    assert (record.recording.rate_hz, record.recording.complete) == (rate_hz, True)
    agent_ms = len(phone.played) // model.sample_bytes * 1000 // model.rate_hz
    assert (record.summary.caller_audio_ms, record.summary.agent_audio_ms) == (1_500, agent_ms)
    assert record.summary.line == phone.line.counts
    assert phone.line.counts.filled_ms == HOLE_MS + 5_000 - 20
    # The stereo file has each side where it sounded, and nothing else.
    sound, found_hz = soundfile.read(io.BytesIO(files["recording.flac"]))
    assert found_hz == rate_hz
    left, right = sound[:, 0], sound[:, 1]
    for from_ms, to_ms in ((30, 1_010), (1_210, 1_690)):
        assert loud(left, rate_hz, from_ms, to_ms) == pytest.approx(12_000 / 32_768 / 2**0.5, rel=0.03)
        spectrum = np.abs(np.fft.rfft(left[from_ms * rate_hz // 1000 : to_ms * rate_hz // 1000]))
        assert int(np.argmax(spectrum)) * 1000 / (to_ms - from_ms) == pytest.approx(440, abs=3)
    assert loud(left, rate_hz, 1_030, 1_190) < 1e-3 > loud(left, rate_hz, 1_710, 5_000)
    assert loud(right, rate_hz, 0, 2_000) < 1e-3
    speech = np.flatnonzero(np.abs(right) > 1e-2)
    assert (speech[-1] - speech[0]) * 1000 / rate_hz == pytest.approx(agent_ms, abs=120)  # words end in a gap


def test_a_caller_who_goes_quiet_is_not_answered_without_the_silence(tmp_path: Path) -> None:
    async def main(gateway: Gateway, ticket: Ticket) -> None:
        phone = Handset(gateway, ticket, PCMU_8K, fills=False)
        await phone.speaks(1_000)
        await later(6)
        assert (phone.ended_ms, phone.played) == ([], b"")
        phone.hangs_up()
        await gateway.live_calls.wait_empty()

    with_desk(tmp_path, main)


def test_the_lines_of_ended_calls_are_in_the_metrics(tmp_path: Path) -> None:
    async def main(gateway: Gateway, ticket: Ticket) -> None:
        phone = Handset(gateway, ticket, PCMU_8K)
        await phone.speaks(100)
        await later(1)
        phone.hangs_up()
        await gateway.live_calls.wait_empty()
        frames = {one.labels: one.value for one in gateway.metrics.figures.series(LINE_FRAMES)}
        assert {fate: value for (_, fate), value in frames.items()} == {"late": 0, "filled": 49, "clipped": 0}

    with_desk(tmp_path, main)
