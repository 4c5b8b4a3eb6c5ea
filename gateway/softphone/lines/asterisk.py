"""A call as Asterisk's WebSocket channel carries it: registered over HTTP, then a media socket, as mu-law at 8 kHz."""

from __future__ import annotations

import ssl
from base64 import b64encode

from audio.formats import PCMU_8K
from gateway.softphone.far_ends.chan_websocket import ChanWebsocketFarEnd
from gateway.softphone.far_ends.ear import Ear
from gateway.softphone.lines.asterisk_registration import Announcement
from gateway.softphone.lines.gateway_http import Ask, socket_url
from gateway.softphone.lines.line import NowMs, Voice
from gateway.softphone.lines.media_socket import MediaSocket

MEDIA_PATH = "/telephony/asterisk/media"
SUBPROTOCOL = "media"


class ChanWebsocketLine:
    """One call of an exchange whose dialplan runs `Dial(WebSocket/...)`; `login` is its user and password."""

    protocol = "asterisk"

    def __init__(
        self,
        announcement: Announcement,
        ask: Ask,
        server_url: str,
        login: tuple[str, str],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`server_url` is the http or https address on this machine, where `ask` goes too."""
        self.carrier_call_id = announcement.channel
        self._announcement = announcement
        self._ask = ask
        self._server_url = server_url
        self._login = login
        self._tls = tls
        self._voice = Voice(PCMU_8K)
        self._far_end = ChanWebsocketFarEnd(announcement.channel)
        self._socket: MediaSocket | None = None
        self._now_ms: NowMs = lambda: 0.0
        self._faults: list[str] = []

    @property
    def ear(self) -> Ear:
        """What the caller hears."""
        return self._far_end.ear

    async def dial(self) -> None:
        """Register the call, and dial the media socket."""
        call_id = await self._announcement.send(self._ask)
        url = socket_url(self._server_url, f"{MEDIA_PATH}?call={call_id}")
        shown = b64encode(":".join(self._login).encode()).decode()
        headers = {"Authorization": f"Basic {shown}"}
        self._socket = await MediaSocket.dial(url, self._far_end, headers, subprotocol=SUBPROTOCOL, tls=self._tls)
        if self._socket.subprotocol != SUBPROTOCOL:
            self._faults.append("a handshake that does not choose the subprotocol media")

    async def begin(self, now_ms: NowMs) -> None:
        """Send the first message."""
        self._now_ms = now_ms
        await self._open.say(self._far_end.begin())

    async def speak(self, pcm: bytes) -> None:
        """Send 20 ms of 24 kHz PCM16. Raises LineLost."""
        await self._open.say([self._voice.frame(pcm)], text=False)

    async def listen(self) -> str:
        """Play what comes, and answer commands, until the socket has closed."""
        await self._open.listen(self._now_ms)
        return "the gateway hung up" if self._far_end.hung_up else self._open.ending

    async def hang_up(self) -> None:
        """Close the socket, with the code that Asterisk uses when its caller hangs up."""
        await self._open.close(1000)

    async def after(self) -> None:
        """Nothing: the exchange says no more."""

    def faults(self) -> list[str]:
        """What the gateway has done against the protocol, each thing once."""
        return self._faults + self._far_end.faults

    @property
    def _open(self) -> MediaSocket:
        assert self._socket is not None
        return self._socket
