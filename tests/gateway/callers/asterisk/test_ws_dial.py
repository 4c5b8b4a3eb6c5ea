"""The media sockets that the gateway dials: calls that Asterisk waits with."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from support.calls.asterisk_desk import START, AsteriskDesk, with_asterisk
from support.calls.call_rig import later, turn
from support.calls.phone_socket import MemorySocket

from gateway.callers.phone.receiver import START_MS, PhoneReceiver
from gateway.net.dial import DialFailed
from gateway.net.sockets import Socket


class Exchange:
    """An Asterisk whose HTTP server answers a dialled socket as the test says."""

    def __init__(self, answer: BaseException | None = None, *, answers: bool = True) -> None:
        self.urls: list[str] = []
        self.sockets: list[MemorySocket] = []
        self._answer = answer
        self._answers = answers

    async def __call__(self, url: str, receiver: PhoneReceiver) -> Socket:
        self.urls.append(url)
        if not self._answers:
            await asyncio.Event().wait()
        if self._answer is not None:
            raise self._answer
        self.sockets.append(MemorySocket(receiver))
        return self.sockets[-1]


def test_a_call_with_a_media_id_is_dialled_and_begins_with_the_first_message(tmp_path: Path) -> None:
    exchange = Exchange()

    async def main(desk: AsteriskDesk) -> None:
        call = await desk.register(media_id="a1_B-2")
        await turn()
        assert exchange.urls == ["ws://pbx:8088/ast/media/a1_B-2"]
        assert desk.live == 0
        (socket,) = exchange.sockets
        socket.says(START)
        await later(1)
        assert socket.sound
        socket.goes(1000)
        assert (await desk.record(call)).caller.number == "+4930111"
        assert desk.registered.take(call.call_id) is None
        assert desk.dialler is not None
        assert desk.dialler.counts == {"opened": 1}

    with_asterisk(tmp_path, main, dial_socket=exchange)


@pytest.mark.parametrize(
    "answer", [DialFailed("pbx:8088 refused the connection with HTTP 404", retryable=False), ZeroDivisionError("+4930")]
)
def test_a_socket_that_cannot_be_opened_gives_its_place_back(
    tmp_path: Path, answer: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(desk: AsteriskDesk) -> None:
        await desk.register(media_id="hush")
        await turn()
        await turn()
        assert await desk.has_room()
        assert desk.gateway.admission.model_legs_opened == 0
        assert desk.dialler is not None
        assert desk.dialler.counts == {"failed": 1}

    caplog.set_level(logging.DEBUG)
    with_asterisk(tmp_path, main, dial_socket=Exchange(answer))
    assert "hush" not in caplog.text
    assert "4930" not in caplog.text


def test_a_dialled_socket_on_which_nothing_is_said_gives_its_place_back(tmp_path: Path) -> None:
    exchange = Exchange()

    async def main(desk: AsteriskDesk) -> None:
        await desk.register(media_id="a")
        await later(START_MS / 1000 + 0.1)
        assert exchange.sockets[0].closed_with == (1008, "the first message has not come in time")
        assert await desk.has_room()

    with_asterisk(tmp_path, main, dial_socket=exchange)


def test_at_the_end_dialling_stops(tmp_path: Path) -> None:
    async def main(desk: AsteriskDesk) -> None:
        await desk.register(media_id="a")
        await turn()
        assert not await desk.has_room()
        assert desk.dialler is not None
        await desk.dialler.close()
        assert await desk.has_room()
        assert desk.dialler.counts == {"failed": 1}

    with_asterisk(tmp_path, main, dial_socket=Exchange(answers=False))


@pytest.mark.parametrize("media_id", ["", "../ari", "a" * 65, "a?b", "a\n"])
def test_an_id_that_asterisk_cannot_have_made_is_not_dialled(tmp_path: Path, media_id: str) -> None:
    exchange = Exchange()

    async def main(desk: AsteriskDesk) -> None:
        await desk.register(media_id=media_id)
        await turn()
        assert exchange.urls == []
        assert await desk.has_room()
        assert desk.dialler is not None
        assert desk.dialler.counts == {"refused_id": 1}

    with_asterisk(tmp_path, main, dial_socket=exchange)
