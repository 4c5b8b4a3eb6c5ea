"""The real PBX and the telephones by themselves: every way into the dialplan, with a gateway that only echoes."""

from __future__ import annotations

import array
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers.asterisk.baresip import call_by_baresip
from peers.asterisk.echo_gateway import EchoGateway, echo_gateway
from peers.asterisk.pbx import Asterisk, Gateway, free_port, running
from peers.asterisk.sip import NotAnswered
from peers.asterisk.telephone import calling, read_sound, write_sound

pytestmark = [pytest.mark.asterisk, pytest.mark.sockets]

CALLER = "+4930111"


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoGateway]:
    with echo_gateway() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def asterisk(echo: EchoGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asterisk]:
    http_port = free_port()
    echo.media_url = f"ws://127.0.0.1:{http_port}"
    gateway = Gateway(
        url=f"http://127.0.0.1:{echo.http_port}",
        audiosocket=f"127.0.0.1:{echo.audiosocket_port}",
        media_uri=f"ws://127.0.0.1:{echo.media_port}/telephony/asterisk/media",
        api_key="house-key",
    )
    with running(tmp_path_factory.mktemp("asterisk"), gateway, http_port=http_port) as asterisk:
        yield asterisk


@pytest.fixture(autouse=True)
def _forget(echo: EchoGateway) -> None:
    for seen in (echo.forms, echo.call_ids, echo.events, echo.requests, echo.authorizations):
        seen.clear()
    echo.busy = False


def tone(seconds: float) -> bytes:
    return array.array("h", (int(9_000 * math.sin(n / 3)) for n in range(int(8_000 * seconds)))).tobytes()


@pytest.mark.parametrize(
    ("extension", "codec"),
    [
        ("as-222", "ulaw"),
        ("as16-222", "ulaw"),
        ("ws-ulaw-222", "ulaw"),
        ("ws-slin16-222", "alaw"),
        ("wst-alaw-222", "alaw"),
        ("dial-slin-222", "ulaw"),
    ],
)
def test_sound_and_keys_go_both_ways(asterisk: Asterisk, echo: EchoGateway, extension: str, codec: str) -> None:
    with calling(asterisk.sip_port, extension, caller=CALLER, codec=codec) as telephone:
        telephone.say(tone(1.0), then_silent_s=0.3)
        telephone.press("5#")
        assert telephone.until(lambda: len(keys(echo)) == 2, 2)
        assert not telephone.ended
    report = telephone.report()
    assert report.payload_bytes == (160,)
    assert 45 <= report.loud <= 55, report
    assert (report.missing, keys(echo)) == (0, ["5", "#"]), report
    (form,) = echo.forms
    assert (form["caller"], form["called"]) == (CALLER, "222")
    assert form["channel"]
    assert echo.authorizations == ["bearer house-key"]


def keys(echo: EchoGateway) -> list[str]:
    """The keys that the gateway was told, by any of the protocols."""
    found = []
    for event in echo.events:
        match event:
            case {"event": "DTMF_END", "digit": str(digit)}:
                found.append(digit)
            case (3, bytes(digit)):
                found.append(digit.decode())
            case str() if event.startswith("DTMF_END"):
                found.append(event.partition("digit:")[2][:1])
    return found


def test_asterisk_dials_with_a_login_and_the_calls_id(asterisk: Asterisk, echo: EchoGateway) -> None:
    with calling(asterisk.sip_port, "ws-ulaw-222") as telephone:
        assert telephone.until(lambda: echo.events, 3)
    ((path, authorization),) = echo.requests
    assert path == f"/telephony/asterisk/media?call={echo.call_ids[0]}"
    assert authorization == "Basic YXN0ZXJpc2s6bWVkaWEtcGFzc3dvcmQ="
    (first, *_) = echo.events
    assert (first["event"], first["format"], first["optimal_frame_size"]) == ("MEDIA_START", "ulaw", 160)


@pytest.mark.parametrize("extension", ["as-222", "ws-ulaw-222", "dial-ulaw-222"])
def test_a_gateway_that_takes_no_call_makes_the_line_busy(
    asterisk: Asterisk, echo: EchoGateway, extension: str
) -> None:
    echo.busy = True
    with pytest.raises(NotAnswered) as refused, calling(asterisk.sip_port, extension):
        pass
    assert refused.value.status == 486


def test_baresip_hears_its_own_voice(asterisk: Asterisk, echo: EchoGateway, tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    write_sound(speech, tone(1.0) + bytes(16_000))
    heard = read_sound(call_by_baresip(asterisk, tmp_path / "baresip", "as-222", speech, 5))
    assert max(array.array("h", heard)) > 5_000
    assert echo.events[-1] == "closed"
