"""How sockets of callers are closed for the end reasons of calls, and which reasons their own closes have."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.net.messages import CloseCode

MAX_STRIKES = 10  # malformed messages in a row, after which the call ends
BAD_INPUT_CODE = 1008  # public clients understand it as "do not try again"
CLOSE_CODES: Mapping[str, int] = {
    "model_lost": 1011,
    "server_fault": 1011,
    "bad_input": BAD_INPUT_CODE,
    "shutting_down": 1001,
}
# The end reason for a close code that this side sent. Sent by the far end, the same code only means that it hung up.
OWN_CLOSES: Mapping[int, str] = {
    CloseCode.PROTOCOL_ERROR: "bad_input",
    CloseCode.NOT_UTF8: "bad_input",
    CloseCode.TOO_BIG: "bad_input",
    CloseCode.OVERLOADED: "too_slow",
}
