"""Who gets in: Event Grid by its secret, callbacks and media sockets by token and ticket. All others cost nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.requests import Request
from support.calls.acs_world import (
    CALLED,
    CALLER,
    GUID,
    SECRET,
    AcsWorld,
    TestingSocket,
    mint,
    other_mint,
    table,
    with_acs,
)
from support.calls.call_rig import later

from gateway.auth.http import EntranceRefused
from gateway.auth.requests import Refusal
from gateway.callers.acs.carrier import ENTRA, AcsCarrier, AcsUnusable
from gateway.callers.acs.sdk import missing_package
from gateway.callers.acs.showing import SECRET_HEADER, EventEntrance, TokenEntrance
from gateway.callers.acs.tokens import TokenRefused
from gateway.callers.phone.counts import CarrierCounts
from gateway.softphone.far_ends.acs import AcsFarEnd
from gateway.softphone.far_ends.acs_tokens import TokenMint

EVENTS = "/telephony/acs/events"
DIRECTORY = "89abcdef-0123-4567-89ab-cdef01234567"


def refused(world: AcsWorld) -> set[str]:
    """What is counted of refused requests and tickets."""
    names = {name for (_, name), _ in [*world.carrier.counts.items(), *world.tickets.counts.items()]}
    return {name.removeprefix("token_refused_") for name in names} - {"answer_done", "hang_up_done"}


def test_the_validation_is_answered_by_header_and_by_path(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        body = world.far_end.validation("abc")
        assert await world.grid(body) == (200, b'{"validationResponse":"abc"}')
        assert await world.post(f"{EVENTS}/{SECRET}", body) == (200, b'{"validationResponse":"abc"}')

    with_acs(tmp_path, main)


@pytest.mark.parametrize(
    ("path", "headers", "reason"),
    [
        (EVENTS, {}, "secret_missing"),
        (EVENTS, {"x_patchbay_event_secret": "another"}, "secret_refused"),
        (EVENTS, {"x_patchbay_event_secret": ""}, "secret_refused"),
        (f"{EVENTS}/another", {}, "secret_refused"),
        (EVENTS, {"authorization": f"Bearer {SECRET}"}, "secret_missing"),
    ],
)
def test_events_without_the_secret_are_refused(tmp_path: Path, path: str, headers: dict[str, str], reason: str) -> None:
    async def main(world: AcsWorld) -> None:
        for body in (world.far_end.ring(), world.far_end.validation("abc")):
            status, answer = await world.post(path, body, **headers)
            assert (status, b"abc" in answer) == (401, False)
        await later(1)
        assert (world.actions.asked, refused(world)) == ([], {reason})

    with_acs(tmp_path, main)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[7]", b'[{"eventType":"Microsoft.Communication.IncomingCall"}]'])
def test_a_malformed_body_is_answered_with_400(tmp_path: Path, body: bytes) -> None:
    async def main(world: AcsWorld) -> None:
        assert (await world.grid(body))[0] == 400
        assert world.actions.asked == []

    with_acs(tmp_path, main)


def test_events_are_for_another_server_while_this_one_drains(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        world.draining = True
        assert (await world.grid(world.far_end.ring()))[0] == 503
        world.draining = False
        await world.rings()
        assert len(world.actions.of("answer")) == 1

    with_acs(tmp_path, main)


def test_a_number_that_nobody_answers_and_a_full_server_are_told_to_the_service(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        stranger = AcsFarEnd(CALLER, "+4930333", correlation_id="c1", context="stranger")
        assert await world.grid(stranger.ring()) == (200, b"")
        await world.rings()
        second = AcsFarEnd(CALLER, CALLED, correlation_id="c2", context="second")
        assert await world.grid(second.ring()) == (200, b"")
        await later(0.1)
        assert world.actions.of("turn_down") == [("stranger", "forbidden"), ("second", "busy")]
        assert (len(world.actions.of("answer")), world.actions.of("hang_up"), len(world.carrier.calls)) == (1, [], 1)

    with_acs(tmp_path, main, max_calls=1)


def bad_tokens(now_s: float) -> dict[str, str]:
    return {
        "missing": "",
        "malformed": "Bearer nonsense",
        "algorithm": f"Bearer {mint().unsigned(now_s)}",
        "signature": f"Bearer {mint().of_other_key(now_s)}",
        "unknown_key": f"Bearer {other_mint().token(now_s)}",
        "audience": f"Bearer {mint().token(now_s, aud='another')}",
        "issuer": f"Bearer {mint().token(now_s, iss='https://elsewhere.example')}",
        "expired": f"Bearer {mint().token(now_s - 400, 300)}",
    }


def test_a_media_socket_without_a_good_token_is_refused_and_its_ticket_stays_good(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.rings()
        tokens = bad_tokens(world.clock.wall_s())
        for reason, token in tokens.items():
            found = await world.dials(authorization=token)
            assert isinstance(found, Refusal), reason
            assert (found.status, found.code) == (401, "invalid_token")
        assert refused(world) >= set(tokens)
        assert (world.live, world.gateway.admission.model_legs_opened) == (0, 0)
        await world.opens()
        await world.tells("CallDisconnected")

    with_acs(tmp_path, main)


def test_a_ticket_opens_its_own_call_once(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.rings()
        good = world.wish().segment
        other = world.tickets.media.mint(
            carrier="twilio",
            tenant="default",
            agent="desk",
            call_id=world.far_end.correlation_id,
            now_s=world.clock.wall_s(),
        )
        for changes in (
            {"segment": ""},
            {"segment": "nonsense"},
            {"segment": good[:-2]},
            {"segment": other},
            {"x_ms_call_correlation_id": "another"},
        ):
            assert isinstance(await world.dials(**changes), Refusal), changes
        assert world.gateway.admission.model_legs_opened == 0
        socket = await world.opens()
        elsewhere = await world.dials(x_ms_call_connection_id="another")
        assert isinstance(elsewhere, Refusal)
        assert elsewhere.code == "other_call"
        assert (world.live, socket.closed_with) == (1, None)
        await world.tells("CallDisconnected")
        await world.record()
        over = await world.dials()
        assert isinstance(over, Refusal)
        assert over.code == "ticket_not_valid"
        assert world.gateway.admission.model_legs_opened == 1
        assert refused(world) >= {"malformed", "elsewhere", "used"}

    with_acs(tmp_path, main)


def test_a_ticket_is_good_for_a_minute(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.rings()
        wish = world.wish()
        await later(61)
        assert isinstance(await world.dials(segment=wish.segment), Refusal)
        assert refused(world) == {"expired"}

    with_acs(tmp_path, main)


def test_a_page_of_another_origin_is_refused(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.rings()
        assert isinstance(await world.dials(origin="https://elsewhere.example"), Refusal)
        assert isinstance(await world.dials(host="elsewhere.example"), Refusal)
        assert isinstance(await world.opens(), TestingSocket)

    with_acs(tmp_path, main)


def test_callbacks_need_a_token_and_the_key_of_their_call(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        socket = await world.call()
        (answering,) = world.actions.of("answer")
        path = answering.callback_url.removeprefix("https://voice.example")
        body = world.far_end.event("CallDisconnected")
        for reason, token in bad_tokens(world.clock.wall_s()).items():
            assert (await world.post(path, body, authorization=token))[0] == 401, reason
        good = f"Bearer {mint().token(world.clock.wall_s(), 300)}"
        assert (await world.post(path[:-2], body, authorization=good))[0] == 403
        ticket = world.wish().segment
        assert (await world.post(f"/telephony/acs/callbacks/{ticket}", body, authorization=good))[0] == 403
        other = AcsFarEnd(CALLER, CALLED, correlation_id="another").event("CallDisconnected")
        assert (await world.post(path, other, authorization=good))[0] == 200
        assert (await world.post(path, b"nonsense", authorization=good))[0] == 400
        assert (world.live, socket.closed_with) == (1, None)
        assert (await world.post(path, body, authorization=good))[0] == 200
        assert (await world.record()).summary.end_reason == "caller_hung_up"
        await later(599)
        late = f"Bearer {mint().token(world.clock.wall_s(), 300)}"
        assert (await world.post(path, body, authorization=late))[0] == 200
        await later(2)
        assert (await world.post(path, body, authorization=late))[0] == 403

    with_acs(tmp_path, main)


class Tokens:
    """Takes one token."""

    async def check(self, authorization: str | None) -> None:
        if authorization != "Bearer good":
            raise TokenRefused("signature")


def test_event_grid_may_show_a_token_of_entra_id_instead(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        counts = CarrierCounts("acs")
        entrance = EventEntrance(None, TokenEntrance(Tokens(), counts), counts)
        assert await entrance.refuse([], "Bearer good") is None
        for secrets, token in (([], "Bearer bad"), ([], None), ([""], None), (["x"], None)):
            assert await entrance.refuse(secrets, token) is not None
        names = ("token_refused_signature", "secret_missing", "secret_refused")
        assert [counts.of(name) for name in names] == [1, 1, 2]

    with_acs(tmp_path, main)


@pytest.mark.parametrize("issuer", [f"{ENTRA}/{DIRECTORY}/v2.0", f"https://sts.windows.net/{DIRECTORY}/"])
def test_tokens_of_entra_id_are_checked_with_the_keys_of_their_tenant(tmp_path: Path, issuer: str) -> None:
    entra = TokenMint(f"{ENTRA}/{DIRECTORY}/v2.0", "api://events", key=mint().key)
    asked: list[str] = []

    async def fetch(url: str) -> bytes:
        asked.append(url)
        return entra.openid("https://keys.example") if url.endswith("openid-configuration") else entra.key_set()

    async def main(world: AcsWorld) -> None:
        changes = {"event_secret": None, "event_tenant": DIRECTORY, "event_audience": "api://events"}
        carrier = AcsCarrier(table(**changes), world.parts, world.actions, fetch)
        route = carrier.http_routes()[0]
        now_s = world.clock.wall_s()
        good = {"authorization": f"Bearer {entra.token(now_s, iss=issuer)}"}
        await route.before(asking(good))
        for bad in (
            {},
            {"authorization": f"Bearer {entra.token(now_s, iss=issuer, aud=GUID)}"},
            {"authorization": f"Bearer {entra.token(now_s, iss='https://sts.windows.net/another/')}"},
            {"authorization": f"Bearer {entra.unsigned(now_s)}"},
            {SECRET_HEADER: SECRET},
            {SECRET_HEADER: ""},
        ):
            with pytest.raises(EntranceRefused):
                await route.before(asking(bad))
        assert asked == [f"{ENTRA}/{DIRECTORY}/v2.0/.well-known/openid-configuration", "https://keys.example"]
        await carrier.close()

    with_acs(tmp_path, main)


def asking(headers: dict[str, str]) -> Request:
    """A request with these headers."""
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": EVENTS, "headers": pairs, "path_params": {}})


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"event_secret": None}, "event_secret"), ({}, "azure.communication.callautomation")],
)
def test_a_resource_that_cannot_be_used_says_why(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    async def main(world: AcsWorld) -> None:
        actions = world.actions if changes else None
        if actions is None and missing_package() is None:
            pytest.skip("the package is installed")
        with pytest.raises(AcsUnusable, match=words):
            AcsCarrier(table().model_copy(update=changes), world.parts, actions)

    with_acs(tmp_path, main)


def test_the_figures_are_shown(tmp_path: Path) -> None:
    async def main(world: AcsWorld) -> None:
        await world.call()
        await world.post(EVENTS, orjson.dumps([]))
        events = world.carrier.counts.items()
        assert (("acs", "secret_missing"), 1) in events
        assert (("acs", "answer_done"), 1) in events

    with_acs(tmp_path, main)
