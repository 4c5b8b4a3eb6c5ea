"""What has become of each response of the model: it runs, it was cut short, or it is over."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sessions.values import ResponseRequest

# A late message of a response that is older than so many others is taken for one of an unknown response.
MAX_RESPONSES = 1_024


class Phase(Enum):
    """Where a response stands."""

    RUNNING = "running"
    CUT = "cut"  # it runs on at the model, but nothing that it says goes to the caller or into the record
    OVER = "over"


# A member's lookup in its enum takes three times as long as its comparison, which each dropped frame of sound needs.
RUNNING, CUT, OVER = Phase


@dataclass(slots=True)
class ResponseState:
    """One response of the model."""

    response_id: str
    out_of_band: bool  # it is no part of the conversation
    phase: Phase = RUNNING
    cancelled: bool = False  # by the gateway, because the caller's leg did not take more speech
    worded: bool = False  # it has said or written something that is in the record


class Responses:
    """Keeps the responses of one call apart, and knows which of them speaks to the caller.

    `live_item` is the item whose speech goes straight to the caller, `live_response` its response; both are only set
    while the model's leg is open and the call has not ended. `progress_ms` is when the model last brought something
    other than sound. `out_of_band_asked` are the requests for out-of-band responses that have not begun, by
    request id. `cancelled_request` is a request that its client cancelled before its response began.
    """

    __slots__ = (
        "_known",
        "_running",
        "cancelled_request",
        "live_item",
        "live_response",
        "out_of_band_asked",
        "progress_ms",
    )

    def __init__(self) -> None:
        self._known: dict[str, ResponseState] = {}  # in the order of their beginning
        self._running: dict[str, ResponseState] = {}  # those of them that are not over
        self.live_item: str | None = None
        self.live_response = ""
        self.progress_ms = 0
        self.out_of_band_asked: dict[str, ResponseRequest] = {}
        self.cancelled_request: str | None = None

    def find(self, response_id: str) -> ResponseState | None:
        """What is known of this response; None for one that has neither begun nor ended."""
        return self._known.get(response_id)

    def begin(self, response_id: str, *, out_of_band: bool) -> None:
        """A response that is not known yet begins."""
        response = self._new(response_id, out_of_band)
        self._running[response_id] = response
        if out_of_band:
            # They begin in the order of their requests.
            self.out_of_band_asked.pop(next(iter(self.out_of_band_asked), ""), None)

    def end(self, response_id: str) -> None:
        """A response is over, or is known to have been."""
        response = self._known.get(response_id) or self._new(response_id, False)
        response.phase = OVER
        self._running.pop(response_id, None)
        self.live_item = None

    def cut(self, response_id: str) -> None:
        """Cut a response short: what it says from here on goes no further."""
        response = self._running.get(response_id)
        if response is not None:
            response.phase = CUT
        if self.live_response == response_id:
            self.live_item = None

    def cut_all(self) -> None:
        """Cut every response of the conversation short; those beside it are not heard by the caller anyway."""
        for response in self._running.values():
            if not response.out_of_band:
                response.phase = CUT
        self.live_item = None

    def speaks(self, response_id: str, item_id: str) -> bool:
        """Make this item the live one, if its response runs and was not cut short. Returns whether it is."""
        response = self._running.get(response_id)
        if response is None or response.phase is CUT:
            return False
        self.live_item, self.live_response = item_id, response_id
        return True

    def is_cut(self, response_id: str) -> bool:
        """Whether what this response says goes no further: it was cut short or is over. An unknown one may speak."""
        response = self._known.get(response_id)
        return response is not None and response.phase is not RUNNING

    def runs(self, response_id: str) -> bool:
        """Whether this response has begun and has not ended."""
        return response_id in self._running

    def is_over(self, response_id: str) -> bool:
        """Whether this response has ended."""
        response = self._known.get(response_id)
        return response is not None and response.phase is OVER

    def is_out_of_band(self, response_id: str) -> bool:
        """Whether this response is no part of the conversation."""
        response = self._known.get(response_id)
        return response is not None and response.out_of_band

    def has_words(self, response_id: str) -> bool:
        """Whether this response has said or written something that is in the record."""
        response = self._known.get(response_id)
        return response is not None and response.worded

    @property
    def beside(self) -> int:
        """How many responses beside the conversation run."""
        return sum(response.out_of_band for response in self._running.values())

    def take_running(self) -> tuple[str, ...]:
        """The ids of all responses that run, in the order of their beginning: they are over, as their leg is lost."""
        running = tuple(self._running)
        for response_id in running:
            self.end(response_id)
        self.live_item = self.cancelled_request = None
        return running

    def _new(self, response_id: str, out_of_band: bool) -> ResponseState:
        response = ResponseState(response_id, out_of_band)
        if len(self._known) >= MAX_RESPONSES:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._running.pop(oldest, None)
        self._known[response_id] = response
        return response
