"""A gateway with a carrier of Twilio's protocol, and callers of that carrier, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from support.calls.call_rig import later
from support.calls.carrier_entrance import open_entrance
from support.calls.far_socket import FarSocket

from audio.formats import PCMU_8K, AudioFormat
from gateway.app import Gateway
from gateway.auth.carrier_tickets import CarrierTickets
from gateway.auth.requests import Refusal, UpgradeRequest, read_request
from gateway.callers.phone.calls import PhoneCalls
from gateway.callers.twilio.account import Account, signalwire_account, twilio_account
from gateway.callers.twilio.carrier import TwilioCarrier
from gateway.callers.twilio.open import AdmittedStream
from gateway.clock import LoopClock
from gateway.config.carriers import SignalWire, Twilio
from gateway.config.numbers import Numbers
from gateway.softphone.far_ends.ear import LinkDelay
from gateway.softphone.far_ends.twilio import TwilioStream
from gateway.softphone.far_ends.twilio_requests import SignedRequest, StreamOrder, TwilioCaller, read_twiml

PUBLIC = "https://voice.example"
TOKEN = "account-token"
TWILIO = twilio_account(
    Twilio(account_sid="AC01", auth_token=SecretStr(TOKEN), signing_keys={"KY1": SecretStr("shared-key")})
)
SIGNALWIRE = signalwire_account(
    SignalWire(
        account_sid="7d1c-aa",
        auth_token=SecretStr(TOKEN),
        bearer_token=SecretStr("bearer-token"),
        space_url="https://space.example",
    )
)
NUMBERS = Numbers.model_validate({"+4930222": "desk"})
LOUD, QUIET = b"\x20" * 160, b"\xff" * 160


class Carrier:
    """One account's calls to one gateway, and everything that the gateway asks of the account."""

    def __init__(
        self,
        gateway: Gateway,
        account: Account = TWILIO,
        public_url: str = PUBLIC,
        *,
        calls: PhoneCalls | None = None,
        tickets: CarrierTickets | None = None,
    ) -> None:
        """`calls` and `tickets` are those of the whole server, where it has other carriers too."""
        self.gateway = gateway
        self.account = account
        self.public_url = public_url
        self.clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        self.hung_up: list[str] = []
        self.draining = False
        tickets = tickets or CarrierTickets.of(b"material")
        self.tickets = tickets.counts
        self.carrier = TwilioCarrier(
            account,
            public_url=public_url,
            calls=calls or PhoneCalls(gateway.admission, NUMBERS, self.clock),
            tickets=tickets.media,
            keys=tickets.callbacks,
            let_in=open_entrance(self.clock, public_url).let_carrier_in,
            draining=lambda: self.draining,
            hang_up=self._hang_up,
        )
        self._numbers = 0

    async def _hang_up(self, call_id: str) -> None:
        self.hung_up.append(call_id)

    @property
    def live(self) -> int:
        """How many calls the gateway has."""
        return len(self.gateway.live_calls)

    def caller(self, **changes: str) -> TwilioCaller:
        """A new caller."""
        self._numbers += 1
        usual = {
            "account_sid": self.account.account_sid,
            "call_sid": f"CA{self._numbers:02}",
            "token": TOKEN,
            "caller": "+4930111",
            "called": "+4930222",
        }
        return TwilioCaller(**{**usual, **changes})

    async def post(self, url: str, request: SignedRequest) -> Response:
        """Send a webhook to the gateway."""
        path = url.removeprefix(self.public_url)
        for route in self.carrier.http_routes():
            fixed, _, key = route.path.partition("/{")
            found = path.partition("?")[0]
            if found == route.path or (key and found.startswith(fixed + "/")):
                scope = {
                    "type": "http",
                    "method": "POST",
                    "path": found,
                    "raw_path": found.encode(),
                    "query_string": path.partition("?")[2].encode(),
                    "headers": [(name.lower().encode(), value.encode()) for name, value in request.headers.items()],
                    "path_params": {"key": found.removeprefix(fixed + "/")} if key else {},
                    "client": ("127.0.0.1", 1),
                    "scheme": "http",
                }
                if bool(key) == (found != fixed):
                    return await route.handler(Request(scope), request.body)
        raise AssertionError(f"no route for {path}")

    async def rings(self, caller: TwilioCaller) -> StreamOrder:
        """A call comes in; raises TwimlRefused where it is not taken."""
        answer = await self.voice(caller)
        assert answer.status_code == 200, answer.body
        return read_twiml(bytes(answer.body))

    async def voice(self, caller: TwilioCaller) -> Response:
        """The answer to a new call's webhook."""
        url = f"{self.public_url}/telephony/{self.account.name}/voice"
        return await self.post(url, caller.rings(url))

    def handshake(self, url: str, headers: dict[str, str]) -> UpgradeRequest:
        """The request of a media socket's handshake."""
        target = urlsplit(url).path
        return read_request(
            self.carrier.opener.path,
            b"",
            [(b"host", urlsplit(url).netloc.encode())]
            + [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            peer="127.0.0.1",
            secure=False,
            target=target,
            segment=target.rpartition("/")[2],
        )

    async def dials(self, url: str, headers: dict[str, str]) -> AdmittedStream | Refusal:
        """A media socket's handshake."""
        return await self.carrier.opener.admit(self.handshake(url, headers))

    async def call(
        self, caller: TwilioCaller | None = None, *, delay: tuple[float, float] = (0, 0), **stream: object
    ) -> Call:
        """A call from its webhook to its stream's first messages."""
        caller = caller or self.caller()
        order = await self.rings(caller)
        admitted = await self.dials(order.url, caller.handshake(order))
        assert isinstance(admitted, AdmittedStream), admitted
        return Call(self, caller, order, admitted, delay, stream)


class Call:
    """One call, seen from the carrier."""

    def __init__(
        self,
        carrier: Carrier,
        caller: TwilioCaller,
        order: StreamOrder,
        admitted: AdmittedStream,
        delay: tuple[float, float],
        stream: dict[str, object],
    ) -> None:
        self.carrier = carrier
        self.caller = caller
        self.order = order
        self.session_id = admitted.ticket.session_id
        usual = {"account_sid": caller.account_sid, "call_sid": caller.call_sid, "parameters": order.parameters}
        self.stream = TwilioStream(**{**usual, **stream})  # type: ignore[arg-type]
        self.tells = True  # whether the carrier reports the stream's end
        self.closed = asyncio.Event()
        self._tasks: list[asyncio.Task[Response]] = []
        accepted = carrier.carrier.opener.accept(admitted, carrier.handshake(order.url, caller.handshake(order)))
        self.socket = FarSocket(
            accepted.receiver,
            self.stream,
            out=LinkDelay(*delay),
            back=LinkDelay(*delay),
            on_close=self._server_closed,
        )
        self.socket.says(self.stream.begin())

    @property
    def format(self) -> AudioFormat:
        """The format of its sound."""
        return self.stream.ear.format

    @property
    def now_ms(self) -> float:
        return self.socket.now_ms

    @property
    def heard(self) -> bytes:
        """All sound that the caller has heard so far."""
        return self.stream.ear.heard(self.now_ms)

    @property
    def heard_ms(self) -> int:
        """How much sound of the agent's the caller has heard so far; pauses that the far end makes do not count."""
        return self.stream.ear.heard_bytes(self.now_ms) * 8_000 // self.format.rate_hz // 8 // self.format.sample_bytes

    async def speaks(self, ms: int, frame: bytes | None = None) -> None:
        """The caller speaks for so long, or is quiet with `frame` of silence."""
        if frame is None:
            frame = LOUD if self.format == PCMU_8K else b"\x00\x20" * (self.format.rate_hz // 50)
        for _ in range(ms // 20):
            await later(0.02)
            self.socket.says(self.stream.speak(frame))

    def presses(self, keys: str) -> None:
        """The caller presses keys."""
        for key in keys:
            self.socket.says(self.stream.press(key))

    def hangs_up(self, *, stop: bool = True, code: int = 1000) -> None:
        """The caller hangs up."""
        if stop:
            self.socket.says(self.stream.stop())
        self.socket.goes(code)

    async def status(self, url: str | None = None, **fields: str) -> Response:
        """The carrier reports a status, to the address of the TwiML if no other is given."""
        url = url or self.order.status_url
        assert url is not None
        return await self.carrier.post(url, self.caller.status(url, **fields))

    def _server_closed(self) -> None:
        self.stream.ear.clear(self.now_ms)  # the stream ends at once, and what it holds is never played
        self.closed.set()
        if self.tells:
            told = self.status(StreamSid=self.stream.stream_sid, StreamEvent="stream-stopped", StreamError="31921")
            self._tasks.append(asyncio.get_running_loop().create_task(told))


def statuses(answers: Sequence[Response]) -> list[int]:
    """The status codes of answers."""
    return [answer.status_code for answer in answers]
