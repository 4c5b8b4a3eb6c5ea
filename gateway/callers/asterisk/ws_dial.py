"""Dials the media sockets of calls that Asterisk waits with: `Dial(WebSocket/INCOMING/...)` in its dialplan.

Asterisk takes one socket for each id, on its own HTTP server. Whoever knows the id gets the call, so it is in no log.
Source: docs.asterisk.org, "WebSocket channel driver".
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from typing import Protocol
from urllib.parse import quote

from gateway.callers.asterisk.registered import RegisteredCall
from gateway.callers.asterisk.ws_open import LIMITS, SUBPROTOCOL, receiver_of
from gateway.callers.phone.calls import PhoneCalls
from gateway.callers.phone.receiver import PhoneReceiver
from gateway.guard import ForeignTasks, cause_of
from gateway.net.dial import DialFailed, dial
from gateway.net.sockets import Side, Socket

log = logging.getLogger(__name__)

DIAL_S = 5.0
CLOSE_S = 1.0
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class DialSocket(Protocol):
    """Opens the socket of a receiver within `DIAL_S`. Raises DialFailed, whose text holds no path."""

    async def __call__(self, url: str, receiver: PhoneReceiver) -> Socket:
        """Dial `url`; when this returns, `receiver.opened` has been called."""
        ...


async def dial_media(url: str, receiver: PhoneReceiver) -> Socket:
    """Open a media socket of Asterisk's."""
    return await dial(
        url,
        receiver,
        subprotocols=(SUBPROTOCOL,),
        timeout_s=DIAL_S,
        on_fault=receiver.fault,
        limits=LIMITS,
        side=Side.CALLER,
    )


class MediaDialler:
    """Dials Asterisk for calls that it has announced with the id of a media socket.

    `counts` holds how often each thing has happened: `opened`, `failed`, `refused_id`.
    """

    def __init__(self, media_url: str, calls: PhoneCalls, dial_socket: DialSocket = dial_media) -> None:
        """`media_url` is the ws or wss address of Asterisk's HTTP server, with its prefix if it has one."""
        self.counts: Counter[str] = Counter()
        self._media_url = media_url.rstrip("/")
        self._calls = calls
        self._dial_socket = dial_socket
        self._tasks = ForeignTasks()

    def __call__(self, registered: RegisteredCall, media_id: str) -> None:
        """Dial beside the calls, and answer for the call's ticket from now on. Does not wait."""
        if not _ID.fullmatch(media_id):
            self.counts["refused_id"] += 1
            self._calls.release(registered.ticket)
            return
        url = f"{self._media_url}/media/{quote(media_id, safe='')}"
        self._tasks.start(self._open(url, registered), _log_fault)

    async def close(self) -> None:
        """Dial no more; the calls of sockets that have not opened are given up."""
        await self._tasks.close(CLOSE_S)

    async def _open(self, url: str, registered: RegisteredCall) -> None:
        receiver = receiver_of(registered, self._calls)
        opened = False
        try:
            await self._dial_socket(url, receiver)
            opened = True
        except DialFailed as failed:
            log.warning("Asterisk's media socket could not be opened", extra={"why": failed.message})
        finally:
            self.counts["opened" if opened else "failed"] += 1
            if not opened:  # harmless where it had opened, and has been lost since
                self._calls.release(registered.ticket)


def _log_fault(error: BaseException) -> None:
    log.error("dialling Asterisk's media socket failed", extra=cause_of(error))
