"""The telephone load against its floors, on real sockets of loopback."""

from __future__ import annotations

import asyncio
from array import array

import orjson
import pytest

from audio.formats import PCM16_24K, PCMU_8K
from bench import model, phone_wide
from bench.phone_callers import AUDIOSOCKET, TWILIO, Heard, echo_of
from bench.phone_figures import PhoneStep
from bench.phone_floor import ECHO, SILENCE, TWILIO_ECHO, serve
from bench.phone_load import Options, PhoneLoad
from bench.phone_run import CALLS, SERVERS
from bench.phone_servers import phone_settings
from bench.phone_sound import BURST_EVERY, LoudSound, frames
from bench.processes import free_port
from gateway.models import registry
from gateway.softphone.far_ends.twilio import TwilioStream

SECONDS = 1.2  # more than two loud frames of each call


def loaded(protocol: str, kind: str, *, calls: int = 3) -> PhoneStep:
    """What a small load has measured at a floor."""

    async def main() -> PhoneStep:
        async with asyncio.timeout(10), await serve(kind, 0) as server:
            port = server.sockets[0].getsockname()[1]
            scheme = "ws" if protocol == TWILIO else "tcp"
            url = f"{scheme}://127.0.0.1:{port}/"
            return await PhoneLoad(Options(protocol, url, calls=calls, seconds=SECONDS, warm_s=0.1)).run()

    return asyncio.run(main())


@pytest.mark.sockets
@pytest.mark.parametrize(("protocol", "kind"), [(TWILIO, TWILIO_ECHO), (AUDIOSOCKET, ECHO)])
def test_all_sound_of_a_small_load_comes_back_from_an_echo(protocol: str, kind: str) -> None:
    step = loaded(protocol, kind)
    assert step.failed == ()
    assert step.sent > 100
    assert step.bursts == step.bursts_back == step.round_trip_ms.count > 3
    assert step.missing_ms == 0
    assert step.set_up_ms.count == 3
    assert bool(step.late_ms.count) == (protocol == AUDIOSOCKET)


@pytest.mark.sockets
def test_the_silent_floor_writes_a_frame_every_20_ms_whatever_it_is_sent() -> None:
    step = loaded(AUDIOSOCKET, SILENCE, calls=5)
    assert step.failed == ()
    assert step.back_ms == pytest.approx(5 * step.seconds * 1000, rel=0.2)
    assert (step.bursts_back, step.round_trip_ms.count) == (0, 0)
    assert step.late_ms.count == step.messages


@pytest.mark.sockets
def test_a_load_without_a_server_reports_failed_set_ups() -> None:
    async def main() -> None:
        for protocol, scheme in ((TWILIO, "ws"), (AUDIOSOCKET, "tcp")):
            web = f"http://127.0.0.1:{free_port()}"
            for begins in (None, web):
                options = Options(protocol, f"{scheme}://127.0.0.1:{free_port()}/", begins, 2, 0.02, 0.0)
                step = await PhoneLoad(options).run()
                assert step.failed[0].startswith("2 x set-up: "), step.failed
                assert step.sent == 0

    asyncio.run(main())


def test_a_floor_answers_with_the_message_that_a_server_would_send() -> None:
    quiet, _ = frames(PCMU_8K)
    stream = TwilioStream(account_sid="AC1", call_sid="CA1", stream_sid="MZ1")
    connected, start = stream.begin()
    (media,) = stream.speak(quiet)
    assert echo_of(connected) is None
    assert echo_of(start) is None
    answer = echo_of(media)
    assert answer is not None
    assert orjson.loads(answer) == {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": orjson.loads(media)["media"]["payload"]},
    }
    assert stream.text(answer, 0.0) == []
    assert stream.warned == set()
    assert stream.ear.heard(1_000) == quiet


def test_a_loud_frame_counts_once_and_only_if_it_was_sent_while_measured() -> None:
    quiet, loud = frames(PCMU_8K)
    heard = Heard(0, LoudSound(PCMU_8K), 1)

    def sends_a_burst() -> None:
        assert [heard.next_is_burst(0.0) for _ in range(BURST_EVERY)] == [False] * (BURST_EVERY - 1) + [True]

    def hears_a_burst() -> None:
        for _ in range(BURST_EVERY - 1):
            heard.sound(quiet)
        heard.sound(loud[:80])
        heard.sound(loud[80:])  # the rest of the same one

    sends_a_burst()
    hears_a_burst()
    assert (heard.bursts, heard.bursts_back, heard.back_ms) == (0, 0, 0)
    heard.measured = True
    sends_a_burst()
    hears_a_burst()
    assert (heard.sent, heard.bursts, heard.bursts_back) == (BURST_EVERY, 1, 1)
    assert len(heard.round_trips_s) == 1
    assert heard.back_ms == BURST_EVERY * 20
    hears_a_burst()  # one that nobody has sent
    assert heard.bursts_back == 1
    assert isinstance(heard.slips_s, array)


def test_every_protocol_of_the_rows_has_numbers_of_calls_servers_and_settings() -> None:
    assert CALLS == {TWILIO: (40, 150), AUDIOSOCKET: (50, 100)}
    assert set(SERVERS) == set(CALLS)
    assert phone_settings(TWILIO, 8080, 9092)["PATCHBAY_PUBLIC_URL"] == "http://127.0.0.1:8080"
    assert phone_settings(AUDIOSOCKET, 8080, 9092)["PATCHBAY_AUDIOSOCKET_PORT"] == "9092"


def test_the_wide_server_has_models_that_take_24_khz_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "REALTIME_FORMATS", registry.REALTIME_FORMATS)
    assert len(registry.REALTIME_FORMATS) > 1
    phone_wide.only_24_khz()
    assert registry.REALTIME_FORMATS == (PCM16_24K,)


def test_the_stand_in_model_answers_in_the_format_that_it_was_asked_for() -> None:
    session = model.ModelSession(1, "bench", 0, answer_frames=2)
    session.opened()
    update = {"session": {"audio": {side: {"format": {"type": "audio/pcmu"}} for side in ("input", "output")}}}
    session.receive(orjson.dumps({"type": "session.update", **update}))
    told = session.receive(b'{"type":"input_audio_buffer.append","audio":"fn5+"}')
    created = next(orjson.loads(each) for each in told if b'"response.created"' in each)
    assert created["response"]["audio"]["output"]["format"] == {"type": "audio/pcmu"}
