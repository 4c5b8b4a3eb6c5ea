"""Logging: one JSON object a line on standard error, with a fixed message and fields. It holds no spoken words."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.telemetry.spans.ids import call_trace, turn_trace
from gateway.telemetry.spans.policy import Shape

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Writes a record as `{at, level, logger, message, ...fields}`."""

    def __init__(self, shape: Shape = Shape.TURN) -> None:
        """`shape` is that of the traces of calls."""
        super().__init__()
        self._shape = shape

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return orjson.dumps(fields_of(record, self._shape), default=str).decode()


def fields_of(record: logging.LogRecord, shape: Shape = Shape.TURN) -> dict[str, Any]:
    """A record as the fields of its line."""
    fields: dict[str, Any] = {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
        **{name: value for name, value in vars(record).items() if name not in _STANDARD},
    }
    call_id = fields.get("call_id")
    if isinstance(call_id, str):
        turn = fields.get("turn")
        trace = turn_trace(call_id, turn, shape) if type(turn) is int else call_trace(call_id)
        fields["trace_id"] = trace.hex()
    # For a failed handshake aiofastnet passes something that is not an exception in `exc_info`.
    if record.exc_info and isinstance(record.exc_info[1], BaseException):
        fields["exception"] = trace_of(record.exc_info[1])
    return fields


def trace_of(error: BaseException) -> str:
    """An exception's class and lines of code, causes first. Its message is left out: it may hold a caller's words."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = [trace_of(before), "which led to"] if before is not None else []
    lines += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    lines.append(type(error).__qualname__)
    if isinstance(error, BaseExceptionGroup):
        lines += [trace_of(part) for part in error.exceptions]
    return "\n".join(lines)


# Our packages, our programs, and the users' plugins. All other loggers are foreign: below a warning they log what
# must not be logged, such as headers with credentials and session ids, or whole messages with callers' words.
_OWN = frozenset({"gateway", "sessions", "audio", "mcp_servers", "patchbay"})
_PLUGINS = "patchbay_plugin_"
HANDSHAKE_FAILED = "a TLS handshake failed"


def is_own(logger: str) -> bool:
    """Whether this logger belongs to our code, and may log at every level."""
    return logger.partition(".")[0] in _OWN or logger.startswith(_PLUGINS)


class Foreign(logging.Filter):
    """Drops records of foreign loggers below a warning, whatever level these loggers have."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is ours, or at least a warning."""
        return record.levelno >= logging.WARNING or is_own(record.name) or record.msg == HANDSHAKE_FAILED


class _Handshakes(logging.Filter):
    """Logs a failed TLS handshake at INFO: the peer (a health check, a scanner) broke it off, it is not our error."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the level of such a record, and say whether it is logged at all."""
        if not (isinstance(record.msg, str) and record.msg.startswith("SSL handshake failed")):
            return True
        record.msg, record.args = HANDSHAKE_FAILED, ()
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        return logging.getLogger().isEnabledFor(logging.INFO)


_HANDSHAKES = _Handshakes()


def quiet_azure(level: str = "") -> None:
    """Log nothing of the SDK for Cosmos DB and only errors of Entra ID's, except at the level `debug`.

    Their warnings come several times in each try of a store that is lost, which is one error of ours. The errors of the
    SDK for Cosmos DB come with each request for minutes after the store is back, where its check of the account fell
    into an outage. At `debug` their warnings tell why an identity gets no token.
    """
    quiet = {"azure.cosmos": logging.CRITICAL, "azure.identity": logging.ERROR}
    for name, usual in quiet.items():
        logging.getLogger(name).setLevel(logging.WARNING if level.lower() == "debug" else usual)


def set_up_logging(level: str, shape: Shape = Shape.TURN) -> None:
    """Send our own records from this level on to standard error, and those of other libraries from a warning on."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(JsonLines(shape))
    out.addFilter(Foreign())
    logging.basicConfig(level=level.upper(), handlers=[out], force=True)
    for noisy in ("httpx", "httpx2", "httpcore", "mcp", "client", "anyio", "azure", "openai", "asyncio", "picows"):
        # The filter would drop these records anyway; this saves the cost of making them.
        logging.getLogger(noisy).setLevel(logging.WARNING)
    quiet_azure(level)
    logging.getLogger("asyncio").addFilter(_HANDSHAKES)
    # It logs a warning for each message to a peer that was lost in the same turn of the loop; that may be thousands.
    logging.getLogger("aiofastnet").setLevel(logging.ERROR)
    # It logs every start and stop, in colours; `patchbay.server` logs what matters.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
