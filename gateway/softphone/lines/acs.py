"""A call as Azure Communication Services carries it: its event, the gateway's actions, its callbacks, its socket.

What goes to the server's public address goes to the server on this machine. The caller's sound is 16-bit PCM, at the
rate that the gateway's answer asks for.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from gateway.callers.acs.showing import SECRET_HEADER
from gateway.softphone.far_ends.acs import AcsFarEnd
from gateway.softphone.far_ends.acs_resource import AnswerOrder
from gateway.softphone.far_ends.acs_tokens import CALLBACK_LIFE_S, TokenMint
from gateway.softphone.far_ends.ear import Ear
from gateway.softphone.lines.acs_service import AcsService
from gateway.softphone.lines.gateway_http import Ask, HttpAnswer, path_under, socket_url
from gateway.softphone.lines.line import LineRefused, NowMs, Voice
from gateway.softphone.lines.media_socket import MediaSocket
from sessions.ports import Clock

EVENTS_PATH = "/telephony/acs/events"
HANG_UP_S = 10.0
TRIES, AGAIN_S = 8, 1.0  # a gateway that has failed to fetch the keys tries again after 5 s


class AcsLine:
    """One call of the resource in the settings."""

    protocol = "acs"

    def __init__(
        self,
        far_end: AcsFarEnd,
        service: AcsService,
        mint: TokenMint,
        *,
        event_secret: str,
        public_url: str,
        server_url: str,
        ask: Ask,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
        dial: Callable[..., Awaitable[MediaSocket]] = MediaSocket.dial,
    ) -> None:
        """`service` serves the resource of `far_end`, and its keys are those of `mint`.

        `server_url` is the http or https address on this machine, where `ask` goes too.
        """
        self.carrier_call_id = far_end.connection_id
        self._far_end = far_end
        self._service = service
        self._mint = mint
        self._event_secret = event_secret
        self._public_url = public_url
        self._server_url = server_url
        self._ask = ask
        self._clock = clock
        self._tls = tls
        self._dial = dial
        self._voice = Voice(far_end.format)
        self._callback_path = ""
        self._socket: MediaSocket | None = None
        self._stop = AsyncExitStack()
        self._left = False  # the caller has hung up
        self._now_ms: NowMs = lambda: 0.0
        self._faults: list[str] = []

    @property
    def ear(self) -> Ear:
        """What the caller hears."""
        return self._far_end.ear

    async def dial(self) -> None:
        """Let the call ring, and once it is answered, connect it and dial the media socket that the answer names."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(await self._service.start())
            shown = {"Content-Type": "application/json", SECRET_HEADER: self._event_secret}
            rung = await self._ask("POST", EVENTS_PATH, shown, self._far_end.ring())
            if not rung.ok:
                raise LineRefused(f"the gateway refused the event of the call: {rung.why}")
            media_path = self._read(await self._service.answered())
            told = await self._tell("CallConnected")
            if not told.ok:
                raise LineRefused(f"the gateway refused the event that the call is connected: {told.why}")
            headers = self._far_end.socket_headers(self._mint.token(self._clock.wall_s()))
            url = socket_url(self._server_url, media_path)
            self._socket = await self._dial(url, self._far_end, headers, tls=self._tls)
            self._stop = stack.pop_all()

    async def begin(self, now_ms: NowMs) -> None:
        """Send the first message."""
        self._now_ms = now_ms
        await self._open.say([self._far_end.metadata()])

    async def speak(self, pcm: bytes) -> None:
        """Send 20 ms of 24 kHz PCM16. Raises LineLost."""
        await self._open.say([self._far_end.sound(self._voice.frame(pcm), self._clock.wall_s())])

    async def listen(self) -> str:
        """Play what comes until the socket has closed; the service closes it when the gateway ends the call."""
        async with asyncio.TaskGroup() as tasks:
            closing = tasks.create_task(self._close_at_the_end())
            await self._open.listen(self._now_ms)
            if not self._left:
                # The gateway has closed the socket, which does not end the call yet.
                await asyncio.wait((closing,), timeout=HANG_UP_S)
                if not closing.done():
                    self._faults.append("a media socket that is closed without the action that ends the call")
            closing.cancel()
        return self._open.ending

    async def hang_up(self) -> None:
        """Close the socket, as the service does when its caller hangs up."""
        self._left = self._left or self._open.close_code is None
        await self._open.close()

    async def after(self) -> None:
        """Tell that the call is over, and serve the resource no more."""
        async with self._stop:
            told = await self._tell("CallDisconnected")
            if not told.ok:
                self._faults.append(f"the event that the call is over was refused: {told.why}")

    def faults(self) -> list[str]:
        """What the gateway has done against the protocol, each thing once."""
        return [*self._faults, *self._service.refusals, *self._far_end.broken]

    @property
    def _open(self) -> MediaSocket:
        assert self._socket is not None
        return self._socket

    def _read(self, order: AnswerOrder) -> str:
        """Take over what the answer says; returns the path of the media socket. Raises LineRefused."""
        self._voice = Voice(order.format)
        if not order.bidirectional:
            self._faults.append("an answer without enableBidirectional, so that the agent is not heard")
        if not order.media_url.startswith("wss://") or not order.callback_url.startswith("https://"):
            self._faults.append("addresses that are not wss:// and https://, which the service does not use")
        callback_path = path_under(self._public_url, order.callback_url)
        media_path = path_under(self._public_url, order.media_url)
        if callback_path is None or media_path is None:
            raise LineRefused(
                "the answer's addresses are not under public_url; start the server with the same settings"
            )
        self._callback_path = callback_path
        return media_path

    async def _tell(self, kind: str) -> HttpAnswer:
        """Send an event of the call, again while the gateway asks for that."""
        tries = 0
        while True:
            token = self._mint.token(self._clock.wall_s(), CALLBACK_LIFE_S)
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
            answer = await self._ask("POST", self._callback_path, headers, self._far_end.event(kind))
            tries += 1
            if answer.status != 503 or tries == TRIES:
                return answer
            await asyncio.sleep(AGAIN_S)

    async def _close_at_the_end(self) -> None:
        await self._service.ended()
        await self._open.close()
