"""A call as Twilio carries it: the signed webhook, the TwiML, the signed media socket, and the status at its end.

Everything is signed for the server's public address, as the carrier would sign it, and goes to the server on this
machine. The caller's sound is mu-law at 8 kHz.
"""

from __future__ import annotations

import secrets
import ssl
from contextlib import suppress

from audio.formats import PCMU_8K
from gateway.config.carriers import Twilio
from gateway.softphone.far_ends.ear import Ear
from gateway.softphone.far_ends.twilio import TwilioStream, Warned
from gateway.softphone.far_ends.twilio_requests import StreamOrder, TwilioCaller, TwimlRefused, read_twiml
from gateway.softphone.lines.gateway_http import Ask, path_under, socket_url
from gateway.softphone.lines.line import LineLost, LineRefused, NowMs, Voice
from gateway.softphone.lines.media_socket import MediaSocket

VOICE_PATH = "/telephony/twilio/voice"
_WARNINGS = {
    Warned.PROTOCOL: "a message before the stream had begun",
    Warned.DISCARDED: "more sound than the carrier holds, which is lost",
    Warned.BINARY: "a binary message",
    Warned.MALFORMED: "a message of another shape, or for another stream",
}


class TwilioLine:
    """One call of the account in the settings."""

    protocol = "twilio"

    def __init__(
        self,
        account: Twilio,
        *,
        public_url: str,
        server_url: str,
        caller: str,
        called: str,
        ask: Ask,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`server_url` is the http or https address on this machine, where `ask` goes too."""
        self.carrier_call_id = f"CA{secrets.token_hex(16)}"
        self._caller = TwilioCaller(
            account.account_sid, self.carrier_call_id, account.auth_token.get_secret_value(), caller, called
        )
        self._public_url = public_url.rstrip("/")
        self._server_url = server_url
        self._ask = ask
        self._tls = tls
        self._voice = Voice(PCMU_8K)
        self._order: StreamOrder | None = None
        self._socket: MediaSocket | None = None
        self._stream = self._new_stream({})
        self._now_ms: NowMs = lambda: 0.0
        self._faults: list[str] = []

    @property
    def ear(self) -> Ear:
        """What the caller hears."""
        return self._stream.ear

    async def dial(self) -> None:
        """Post the webhook, read the TwiML, and dial the media socket that it names."""
        request = self._caller.rings(self._public_url + VOICE_PATH)
        answer = await self._ask("POST", VOICE_PATH, request.headers, request.body)
        if not answer.ok:
            raise LineRefused(f"the gateway refused the webhook of the call: {answer.why}")
        try:
            order = self._order = read_twiml(answer.body)
        except TwimlRefused as refused:
            raise LineRefused(f"the gateway does not take the call: {refused}") from refused
        if not order.then_hangs_up:
            self._faults.append("TwiML that does not hang up after the stream")
        if not order.url.startswith("wss://"):
            self._faults.append("a stream's address that is not wss://, which the carrier does not dial")
        self._stream = self._new_stream(order.parameters)
        path = path_under(self._public_url, order.url)
        if path is None:
            raise LineRefused("the stream's address is not under public_url; start the server with the same settings")
        url = socket_url(self._server_url, path)
        self._socket = await MediaSocket.dial(url, self._stream, self._caller.handshake(order), tls=self._tls)

    async def begin(self, now_ms: NowMs) -> None:
        """Send the first messages."""
        self._now_ms = now_ms
        await self._open.say(self._stream.begin())

    async def speak(self, pcm: bytes) -> None:
        """Send 20 ms of 24 kHz PCM16. Raises LineLost."""
        await self._open.say(self._stream.speak(self._voice.frame(pcm)))

    async def listen(self) -> str:
        """Play what comes, and echo its marks, until the socket has closed."""
        await self._open.listen(self._now_ms)
        return self._open.ending

    async def hang_up(self) -> None:
        """Send the stop message, and close the socket."""
        if not self._stream.ended:
            with suppress(LineLost):
                await self._open.say(self._stream.stop())
        await self._open.close()

    async def after(self) -> None:
        """Post the stream's last status to the address that the TwiML has named."""
        order, self._order = self._order, None
        if order is None or order.status_url is None or self._socket is None:
            return
        path = path_under(self._public_url, order.status_url)
        if path is None:
            self._faults.append("a status address that is not under public_url")
            return
        ids = {"StreamSid": self._stream.stream_sid, "StreamEvent": "stream-stopped"}
        request = self._caller.status(order.status_url, **ids)
        answer = await self._ask("POST", path, request.headers, request.body)
        if not answer.ok:
            self._faults.append(f"the status of the stream was refused: {answer.why}")

    def faults(self) -> list[str]:
        """What the gateway has done against the protocol, each thing once."""
        return self._faults + [f"{_WARNINGS[warned]} (warning {warned})" for warned in sorted(self._stream.warned)]

    @property
    def _open(self) -> MediaSocket:
        assert self._socket is not None
        return self._socket

    def _new_stream(self, parameters: dict[str, str]) -> TwilioStream:
        return TwilioStream(
            account_sid=self._caller.account_sid,
            call_sid=self.carrier_call_id,
            stream_sid=f"MZ{secrets.token_hex(16)}",
            parameters=parameters,
        )
