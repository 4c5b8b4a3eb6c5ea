"""Who is let in by Twilio's protocol: webhooks, handshakes, tickets, keys, and places among the server's calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest
from starlette.applications import Starlette
from support.calls.call_rig import later
from support.calls.twilio_world import PUBLIC, SIGNALWIRE, TWILIO, Carrier
from support.calls.whole_gateway import within

from gateway.app import Gateway
from gateway.auth.callback_keys import CallbackKeys
from gateway.auth.requests import Headers, Refusal
from gateway.auth.ticket_errors import TicketCounts
from gateway.auth.tickets import MediaTickets
from gateway.callers.twilio.account import Account
from gateway.callers.twilio.open import AdmittedStream
from gateway.callers.twilio.signature import SIGNATURE_HEADER, sign
from gateway.http.telephony import carrier_routes
from gateway.softphone.far_ends.twilio_requests import SignedRequest, TwimlRefused, read_twiml

VOICE = f"{PUBLIC}/telephony/twilio/voice"
STATUS = f"{PUBLIC}/telephony/twilio/status"


def with_carrier(
    folder: Path,
    main: Callable[[Carrier], Awaitable[None]],
    account: Account = TWILIO,
    public_url: str = PUBLIC,
    **settings: object,
) -> None:
    async def whole(gateway: Gateway) -> None:
        carrier = Carrier(gateway, account, public_url)
        try:
            await main(carrier)
        finally:
            await carrier.carrier.close()

    within(folder, whole, **settings)


def signed(fields: object, url: str = VOICE, token: str = "account-token", **headers: str) -> SignedRequest:
    """A form that may be odd: `fields` are pairs, or the body itself."""
    body = fields if isinstance(fields, bytes) else urlencode(fields).encode()  # type: ignore[arg-type]
    pairs = [] if isinstance(fields, bytes) else list(dict(fields).items())  # type: ignore[call-overload]
    usual = {"content-type": "application/x-www-form-urlencoded", SIGNATURE_HEADER: sign(token, url, pairs)}
    return SignedRequest({**usual, **headers}, body)


CALL = {"AccountSid": "AC01", "CallSid": "CA01", "From": "+4930111", "To": "+4930222"}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (signed(CALL, token="other"), "signature_refused"),
        (signed(CALL, url=VOICE + "/"), "signature_refused"),
        (signed(CALL, url=VOICE.replace("https", "http")), "signature_refused"),
        (SignedRequest({"content-type": "application/x-www-form-urlencoded"}, urlencode(CALL).encode()), "signature_"),
        (signed(CALL, **{"x-twilio-webhooks-signature-settings": "key=KY1,algorithm=HMAC_SHA256"}), "signature_"),
        (signed(CALL, **{"content-type": "application/json"}), "signature_refused"),
        (signed(CALL, **{"content-type": ""}), "signature_refused"),
        (signed({**CALL, "AccountSid": "AC02"}), "account_refused"),
        (signed({"CallSid": "CA01"}), "bad_webhook"),
        (signed({"AccountSid": "AC01"}), "bad_webhook"),
        (signed({**CALL, "CallSid": ""}), "bad_webhook"),
        (signed({**CALL, "CallSid": "C" * 65}), "bad_webhook"),
        (signed(b""), "bad_webhook"),
        (signed(b"\xff=1"), "bad_webhook"),
        (signed(b"a=%FF"), "bad_webhook"),
        (signed(b"&".join(b"a=1" for _ in range(201))), "bad_webhook"),
    ],
)
def test_a_webhook_that_is_not_the_accounts_is_refused_and_counted(
    tmp_path: Path, request_: SignedRequest, code: str
) -> None:
    async def main(carrier: Carrier) -> None:
        for url in (VOICE, STATUS):
            given = request_ if url == VOICE else SignedRequest(request_.headers, request_.body)
            answer = await carrier.post(url, given)
            assert answer.status_code in (400, 403)
            if url == VOICE:
                assert code.encode() in bytes(answer.body)
        assert (
            sum(carrier.carrier.counts.of(each) for each in ("signature_refused", "account_refused", "bad_webhook"))
            == 2
        )
        assert (carrier.live, carrier.gateway.admission.model_legs_opened) == (0, 0)
        await carrier.rings(carrier.caller())  # no place was taken

    with_carrier(tmp_path, main, max_calls=1)


def test_a_shared_key_signs_webhook_and_handshake(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        modern = type(caller)(
            caller.account_sid, caller.call_sid, "unused", caller.caller, caller.called, ("KY1", "shared-key")
        )
        call = await carrier.call(modern)
        await later(2)
        assert call.heard_ms > 0
        call.hangs_up()

    with_carrier(tmp_path, main)


@pytest.mark.parametrize(
    "public_url", ["https://voice.example:8443", "https://voice.example/prefix", "http://127.0.0.1:1"]
)
def test_the_public_address_makes_all_addresses(tmp_path: Path, public_url: str) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        order = await carrier.rings(caller)
        assert order.url.startswith("ws" + public_url.removeprefix("http") + "/telephony/twilio/media/")
        assert str(order.status_url).startswith(public_url + "/telephony/twilio/status/")
        request = carrier.handshake(order.url, caller.handshake(order))
        # A proxy takes the prefix away, so the target is without it.
        target = "/telephony/twilio/media/" + request.segment
        found = await carrier.carrier.opener.admit(
            type(request)(
                request.path, request.query, request.headers, (), request.peer, False, target, request.segment
            )
        )
        assert isinstance(found, AdmittedStream)
        carrier.carrier.opener.release(found)

    with_carrier(tmp_path, main, public_url=public_url)


def test_a_number_that_nobody_answers_is_not_in_service(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        with pytest.raises(TwimlRefused, match="rejected"):
            await carrier.rings(carrier.caller(called="+4930333"))
        assert carrier.carrier.counts.of("number_unknown") == 1

    with_carrier(tmp_path, main)


def test_a_full_or_draining_server_is_busy(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        await later(1)
        with pytest.raises(TwimlRefused, match="busy"):
            await carrier.rings(carrier.caller())
        call.hangs_up()
        await later(1)
        await carrier.gateway.live_calls.wait_empty()
        carrier.draining = True
        with pytest.raises(TwimlRefused, match="busy"):
            await carrier.rings(carrier.caller())
        carrier.draining = False
        await carrier.rings(carrier.caller())
        assert carrier.carrier.counts.of("busy") == 2

    with_carrier(tmp_path, main, max_calls=1)


def test_a_call_whose_socket_does_not_come_gives_its_place_back_after_ten_seconds(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        late = carrier.caller()
        order = await carrier.rings(late)
        await later(9.9)
        with pytest.raises(TwimlRefused, match="busy"):
            await carrier.rings(carrier.caller())
        await later(0.2)
        other = await carrier.call()
        full = await carrier.dials(order.url, late.handshake(order))
        assert isinstance(full, Refusal)
        assert full.status == 503
        other.hangs_up()

    with_carrier(tmp_path, main, max_calls=1)


def test_a_late_socket_is_let_in_where_there_is_room(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        order = await carrier.rings(caller)
        await later(30)
        found = await carrier.dials(order.url, caller.handshake(order))
        assert isinstance(found, AdmittedStream)
        with pytest.raises(TwimlRefused, match="busy"):
            await carrier.rings(carrier.caller())
        carrier.carrier.opener.release(found)
        await carrier.rings(carrier.caller())

    with_carrier(tmp_path, main, max_calls=1)


def test_a_webhook_that_is_sent_twice_takes_one_place(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        first, second = await carrier.rings(caller), await carrier.rings(caller)
        assert first.url != second.url
        with pytest.raises(TwimlRefused, match="busy"):
            await carrier.rings(carrier.caller())
        assert isinstance(await carrier.dials(second.url, caller.handshake(second)), AdmittedStream)

    with_carrier(tmp_path, main, max_calls=1)


def test_of_a_repeated_field_the_first_value_counts(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        pairs = [*CALL.items(), ("To", "+4930333"), ("CallSid", "CA99"), ("AccountSid", "AC02")]
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        headers[SIGNATURE_HEADER] = sign("account-token", VOICE, pairs)
        answer = await carrier.post(VOICE, SignedRequest(headers, urlencode(pairs).encode()))
        assert read_twiml(bytes(answer.body)).parameters["to"] == "+4930222"

    with_carrier(tmp_path, main)


@pytest.mark.parametrize("opens", [False, True])
def test_the_key_of_a_call_that_is_over_or_never_came_is_good_for_ten_minutes_more(tmp_path: Path, opens: bool) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        order = await carrier.rings(caller)
        url = str(order.status_url)

        async def told() -> int:
            return (await carrier.post(url, caller.status(url, CallStatus="ringing"))).status_code

        if opens:
            admitted = await carrier.dials(order.url, caller.handshake(order))
            assert isinstance(admitted, AdmittedStream)
            await later(30)
            carrier.carrier.opener.release(admitted)
        else:
            await later(61)
        await later(590)
        assert await told() == 204
        await later(20)
        assert await told() == 403

    with_carrier(tmp_path, main)


def test_the_key_of_a_call_ends_ten_minutes_after_its_stream(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call = await carrier.call()
        await later(1)
        call.hangs_up()
        await later(590)
        assert (await call.status(CallStatus="completed")).status_code == 204
        await later(20)
        assert (await call.status(CallStatus="completed")).status_code == 403

    with_carrier(tmp_path, main)


def test_two_webhooks_of_one_call_at_once_take_one_place(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(carrier.rings(caller))
            tasks.create_task(carrier.rings(caller))
        await carrier.rings(carrier.caller())

    with_carrier(tmp_path, main, max_calls=2)


def test_a_call_that_is_over_before_its_socket_comes_gives_its_place_back(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        order = await carrier.rings(caller)
        assert order.status_url is not None
        answer = await carrier.post(order.status_url, caller.status(order.status_url, CallStatus="canceled"))
        assert answer.status_code == 204
        await carrier.rings(carrier.caller())

    with_carrier(tmp_path, main, max_calls=1)


def test_only_the_carrier_opens_media_sockets_and_each_ticket_opens_one(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        order = await carrier.rings(caller)
        stranger, unsigned = carrier.caller(token="other"), {}
        https = {SIGNATURE_HEADER: sign("account-token", order.url.replace("wss", "https"))}
        for headers in (stranger.handshake(order), unsigned, https, {"Authorization": "Bearer bearer-token"}):
            refused = await carrier.dials(order.url, headers)
            assert isinstance(refused, Refusal)
            assert (refused.status, refused.code) == (403, "handshake_refused")
        admitted = await carrier.dials(order.url, caller.handshake(order))
        assert isinstance(admitted, AdmittedStream)
        again = await carrier.dials(order.url, caller.handshake(order))
        assert isinstance(again, Refusal)
        assert (again.status, again.code) == (403, "ticket_refused")
        assert carrier.carrier.counts.of("handshake_refused") == 4
        assert carrier.tickets.items() == [(("twilio", "used"), 1)]
        assert carrier.gateway.admission.model_legs_opened == 0
        carrier.carrier.opener.release(admitted)

    with_carrier(tmp_path, main)


def test_a_handshake_under_another_name_is_refused_before_its_ticket_is_used(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        order = await carrier.rings(caller)
        request = carrier.handshake(order.url, caller.handshake(order))
        elsewhere = replace(request, headers=Headers([("host", "evil.example"), *caller.handshake(order).items()]))
        refused = await carrier.carrier.opener.admit(elsewhere)
        assert isinstance(refused, Refusal)
        assert (refused.status, refused.code) == (403, "host_not_allowed")
        admitted = await carrier.carrier.opener.admit(request)
        assert isinstance(admitted, AdmittedStream)
        carrier.carrier.opener.release(admitted)

    with_carrier(tmp_path, main)


@pytest.mark.parametrize("wrong", ["", "x", "%00", "T" * 400])
def test_an_address_without_a_ticket_of_ours_opens_nothing(tmp_path: Path, wrong: str) -> None:
    async def main(carrier: Carrier) -> None:
        await _refused(carrier, f"wss://voice.example/telephony/twilio/media/{wrong}")

    with_carrier(tmp_path, main)


async def _refused(carrier: Carrier, url: str) -> None:
    refused = await carrier.dials(url, {SIGNATURE_HEADER: sign("account-token", url)})
    assert isinstance(refused, Refusal)
    assert refused.code == "ticket_refused"


@pytest.mark.parametrize(
    ("material", "changes"),
    [
        (b"other", {}),
        (b"material", {"carrier": "signalwire"}),
        (b"material", {"tenant": "other"}),
        (b"material", {"now_s": 1_899_999_000.0}),
    ],
)
def test_a_ticket_for_something_else_opens_nothing(tmp_path: Path, material: bytes, changes: dict[str, object]) -> None:
    async def main(carrier: Carrier) -> None:
        usual = {
            "carrier": "twilio",
            "tenant": "default",
            "agent": "desk",
            "call_id": "CA1",
            "now_s": carrier.clock.wall_s(),
        }
        ticket = MediaTickets(material, TicketCounts()).mint(**{**usual, **changes})  # type: ignore[arg-type]
        await _refused(carrier, f"wss://voice.example/telephony/twilio/media/{ticket}")

    with_carrier(tmp_path, main)


def test_a_key_of_another_call_or_carrier_lets_no_status_in(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        call, other = await carrier.call(), await carrier.call()
        foreign = CallbackKeys(b"other", TicketCounts()).mint("twilio", "default", "CA01", carrier.clock.wall_s())
        for key in ("x", foreign, str(other.order.status_url).rpartition("/")[2]):
            answer = await call.status(f"{STATUS}/{key}", CallStatus="completed")
            assert answer.status_code == 403
        assert carrier.live == 0  # neither has begun yet
        await later(1)
        assert carrier.live == 2

    with_carrier(tmp_path, main)


def test_signalwire_shows_its_token_and_no_signature(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        order = await carrier.rings(caller)
        assert order.bearer_token == "bearer-token"
        wrong: list[dict[str, str]] = [
            {},
            {"Authorization": "Bearer other"},
            {"Authorization": "Basic bearer-token"},
            {"Authorization": "bearer-token"},
            {SIGNATURE_HEADER: sign("account-token", order.url)},
        ]
        for headers in wrong:
            assert isinstance(await carrier.dials(order.url, headers), Refusal)
        assert isinstance(await carrier.dials(order.url, caller.handshake(order)), AdmittedStream)

    with_carrier(tmp_path, main, SIGNALWIRE)


def test_signalwires_own_signature_header_is_read(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        caller = carrier.caller()
        url = f"{PUBLIC}/telephony/signalwire/voice"
        given = caller.rings(url)
        headers = {name.replace("x-twilio", "x-signalwire"): value for name, value in given.headers.items()}
        assert (await carrier.post(url, SignedRequest(headers, given.body))).status_code == 200

    with_carrier(tmp_path, main, SIGNALWIRE)


def test_what_a_caller_calls_itself_cannot_leave_its_attribute(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        odd = 'sip:"><Dial>+1</Dial>&\x00\u202e\n@x'
        order = await carrier.rings(carrier.caller(caller=odd))
        assert order.then_hangs_up
        assert order.parameters["from"] == 'sip:"><Dial>+1</Dial>&@x'
        assert order.parameters["direction"] == "inbound"

    with_carrier(tmp_path, main)


def test_the_routes_answer_over_http_whatever_else_the_address_holds(tmp_path: Path) -> None:
    async def main(carrier: Carrier) -> None:
        app = Starlette(routes=carrier_routes([carrier.carrier]))
        caller = carrier.caller()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=PUBLIC) as client:
            target = "/telephony/twilio/voice?shop=a%20b&empty="
            rings = caller.rings(PUBLIC + target)
            answer = await client.post(target, content=rings.body, headers=rings.headers)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
            order = read_twiml(answer.content)
            assert order.status_url is not None
            status = caller.status(order.status_url, CallStatus="ringing")
            for headers, code in ((status.headers, 204), ({}, 403)):
                told = await client.post(order.status_url, content=status.body, headers=headers)
                assert told.status_code == code
            assert (await client.get("/telephony/twilio/voice")).status_code == 405
            unreadable = "/telephony/twilio/voice?" + "&".join("a=1" for _ in range(65))
            assert (await client.post(unreadable, content=b"")).status_code == 400

    with_carrier(tmp_path, main)
