"""The AudioSocket port of one process: it starts, drains and ends with the server."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from gateway.callers.asterisk.registered import RegisteredCalls
from gateway.callers.audiosocket.codec import FRAMES
from gateway.callers.audiosocket.doorstep import Doorstep, DoorstepParts
from gateway.callers.phone.calls import PhoneCalls
from gateway.net.framed import FramedLimits
from gateway.net.tcp import FramedListener, ListenAt

log = logging.getLogger(__name__)


class AudioSocketListener(FramedListener):
    """Takes the connections of Asterisk, each of them for a call that has been registered before."""

    def __init__(
        self,
        registered: RegisteredCalls,
        calls: PhoneCalls,
        draining: Callable[[], bool],
        at: ListenAt,
        *,
        limits: FramedLimits | None = None,
    ) -> None:
        counts: Counter[str] = Counter()
        self._parts = DoorstepParts(registered, calls, draining, self._warn_of_g711, counts)
        self._warned = False
        super().__init__(FRAMES, lambda: Doorstep(self._parts), at, counts=counts, limits=limits)

    def _warn_of_g711(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "Asterisk sends G.711 as PCM, which is taken for mu-law; "
                "end the dialled AudioSocket address with /c(slin) or /c(slin16), or register the call with its format"
            )
