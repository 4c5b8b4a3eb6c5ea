"""A dial by foreign code, which may raise anything, return anything, or never end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.calls.call_rig import Rig, hosted, later
from support.virtual import run

from gateway.ids import CountingIds
from gateway.legs.model import ModelLeg
from gateway.models.realtime.endpoints import EntraTokens
from gateway.models.realtime.leg import Endpoint, OpenAIRealtimeConnector
from sessions.commands import EndCall, ModelCommand
from sessions.errors import LegLost
from sessions.events import HungUp, ModelLost, ModelReady


class OwnFault(BaseException):
    """An exception class of foreign code that is no Exception."""


FAULTS = [
    SystemExit(2),
    KeyboardInterrupt(),
    asyncio.CancelledError(),
    RecursionError(),
    GeneratorExit(),
    TypeError("words of a caller"),
    OwnFault(),
    BaseExceptionGroup("several", [OwnFault(), ValueError()]),
    StopAsyncIteration(),
]
ODD: list[Any] = [None, 7, "leg", b"leg", [], {}, object()]
Dial = Callable[..., Awaitable[Any]]


def called(folder: Path, dial: Dial) -> tuple[Rig, Rig]:
    """Run a call with this dial until it has ended, beside another call that goes on meanwhile. Returns both."""

    async def whole() -> tuple[Rig, Rig]:
        async with hosted(folder / "other") as other:
            await other.settle()
            async with hosted(folder / "this") as rig:
                rig.model.dial = dial  # type: ignore[method-assign]
                async with asyncio.timeout(60):
                    await rig.live_calls.wait_empty()
            assert len(other.live_calls) == 1
        return rig, other

    return run(whole())


def lost_its_model(rig: Rig) -> None:
    assert (rig.session["end_reason"], rig.live_calls.broken) == ("model_lost", 0)
    assert rig.session["state"] == "ended"
    (end,) = [told for told in rig.phone.told if isinstance(told, EndCall)]
    assert end.error_code == "model_lost"
    assert rig.summary["redials"] == 1  # as for any loss


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_whatever_a_dial_raises_is_the_loss_of_that_leg(fault: BaseException, tmp_path: Path) -> None:
    async def dial(*given: Any) -> ModelLeg:
        raise fault

    rig, other = called(tmp_path, dial)
    lost_its_model(rig)
    assert other.session["end_reason"] == "test_over"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_whatever_a_dial_raises_without_being_awaited_is_too(fault: BaseException, tmp_path: Path) -> None:
    def dial(*given: Any) -> Any:
        raise fault

    lost_its_model(called(tmp_path, dial)[0])


@pytest.mark.parametrize("answer", ODD, ids=lambda answer: type(answer).__name__)
def test_whatever_a_dial_returns_that_is_no_leg_is_too(answer: Any, tmp_path: Path) -> None:
    async def dial(*given: Any) -> Any:
        return answer

    lost_its_model(called(tmp_path, dial)[0])
    lost_its_model(called(tmp_path, lambda *given: answer)[0])


def test_what_a_dial_raises_later_is_too(tmp_path: Path) -> None:
    async def dial(*given: Any) -> ModelLeg:
        await later(1)
        raise SystemExit

    lost_its_model(called(tmp_path, dial)[0])


def test_a_leg_that_cannot_be_closed_costs_nothing_more(tmp_path: Path) -> None:
    class Leg:
        def send(self, command: ModelCommand) -> None:
            pass

        def close(self) -> None:
            raise SystemExit

    async def dial(*given: Any) -> Any:
        return Leg()  # which is never ready

    lost_its_model(called(tmp_path, dial)[0])


def test_a_dial_that_will_not_stop_holds_up_nobody_and_leaves_nothing_open(tmp_path: Path) -> None:
    async def whole() -> Rig:
        release = asyncio.Event()
        async with hosted(tmp_path) as rig:

            async def dial(*given: Any) -> Any:
                rig.model.dials += 1
                given[2](ModelReady())
                while not release.is_set():
                    with suppress(asyncio.CancelledError):  # as some SDKs do
                        await release.wait()
                given[2](ModelReady())
                return rig.model

            rig.model.dial = dial  # type: ignore[method-assign]
            await rig.pass_s(1)
            rig.running.from_caller(HungUp("caller_hung_up"))
            async with asyncio.timeout(1):
                await rig.live_calls.wait_empty()
            assert rig.model.closed == 0
            release.set()
            await rig.settle()
            assert (rig.model.dials, rig.model.closed) == (1, 1)
        return rig

    assert run(whole()).session["end_reason"] == "caller_hung_up"


# ---- tokens


class Token:
    def __init__(self, token: Any) -> None:
        self.token = token


class Credential:
    """Returns an answer or raises a fault; one that `hangs` does neither."""

    def __init__(self, answer: Any = None, fault: BaseException | None = None, *, hangs: bool = False) -> None:
        self.answer, self.fault, self.hangs = answer, fault, hangs

    async def get_token(self, scope: str) -> Any:
        while self.hangs:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.fault is not None:
                    raise
        if self.fault is not None:
            raise self.fault
        return self.answer

    close = get_token


@pytest.mark.parametrize(
    "credential",
    [
        *(Credential(fault=fault) for fault in FAULTS),
        *(Credential(answer) for answer in ODD),
        *(Credential(Token(odd)) for odd in (None, 7, b"leg", [], "", "a\r\nHost: b", "wörter", "two words")),
    ],
)
def test_a_token_that_cannot_be_had_is_the_loss_of_that_leg(credential: Credential, tmp_path: Path) -> None:
    tokens = EntraTokens("scope", credential)
    endpoint = Endpoint("ws://127.0.0.1:1/", tokens.headers, None, frozenset(), semantic_vad=False)

    async def main() -> None:
        with pytest.raises(LegLost, match="no Entra token") as caught:
            await tokens.headers()
        assert "words" not in caught.value.message

    asyncio.run(main())
    rig, _ = called(tmp_path, OpenAIRealtimeConnector(endpoint, CountingIds()).dial)
    assert (rig.session["end_reason"], rig.live_calls.broken) == ("model_lost", 0)


@pytest.mark.parametrize("stops", [True, False])
def test_a_token_that_never_comes_is_waited_for_as_long_as_a_dial_may_take(stops: bool, tmp_path: Path) -> None:
    credential = Credential(hangs=True, fault=asyncio.CancelledError() if stops else None)
    tokens = EntraTokens("scope", credential)
    endpoint = Endpoint("ws://127.0.0.1:1/", tokens.headers, None, frozenset(), semantic_vad=False)

    async def whole() -> Rig:
        async with hosted(tmp_path) as rig:
            rig.model.dial = OpenAIRealtimeConnector(endpoint, CountingIds()).dial  # type: ignore[method-assign]
            async with asyncio.timeout(60):
                await rig.live_calls.wait_empty()
        credential.hangs = False  # so that the loop can be closed
        return rig

    lost_its_model(run(whole()))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_credential_that_cannot_be_closed_does_not_keep_the_server_from_stopping(fault: BaseException) -> None:
    async def main() -> None:
        async def close() -> None:
            raise fault

        credential = Credential()
        credential.close = close  # type: ignore[method-assign, assignment]
        async with asyncio.timeout(1):
            await EntraTokens("scope", credential).close()

    asyncio.run(main())


def test_sound_that_legs_dropped_is_in_the_record(tmp_path: Path) -> None:
    async def whole() -> Rig:
        async with hosted(tmp_path) as rig:
            await rig.pass_s(1)
            rig.model.dropped_ms = 40
            rig.model.deliver(ModelLost("the connection broke", retryable=True))
            await rig.pass_s(1)
        return rig

    assert run(whole()).summary["dropped_audio_ms"] == 80  # 40 on each of two legs
