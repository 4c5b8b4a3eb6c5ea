"""Log lines: one JSON object each on standard error, a fixed message and its fields; spoken words never come here."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Writes a record as `{at, level, logger, message, ...fields}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        # aiofastnet logs a handshake that failed with something else in the exception's place.
        if record.exc_info and isinstance(record.exc_info[1], BaseException):
            line["exception"] = told(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


def told(error: BaseException) -> str:
    """A fault as its kinds and lines of code, causes first. What it says is left out: that may be a caller's words."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = [told(before), "which led to"] if before is not None else []
    lines += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    lines.append(type(error).__qualname__)
    if isinstance(error, BaseExceptionGroup):
        lines += [told(part) for part in error.exceptions]
    return "\n".join(lines)


# Our own packages, their programs, and the users' plugins. Everything else is a stranger, whose lower levels hold what
# may not be logged: headers with credentials and session ids, whole messages with callers' words.
_OWN = frozenset({"gateway", "sessions", "audio", "mcp_servers", "patchbay"})
_PLUGINS = "patchbay_plugin_"
HANDSHAKE_FAILED = "a TLS handshake failed"


def is_own(logger: str) -> bool:
    """Whether what this logger says is ours, and may be logged at every level."""
    return logger.partition(".")[0] in _OWN or logger.startswith(_PLUGINS)


class _Foreign(logging.Filter):
    """Lets nothing of a stranger's through below a warning, whatever level it has given its loggers."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let it through if it is our own, or serious."""
        return record.levelno >= logging.WARNING or is_own(record.name) or record.msg == HANDSHAKE_FAILED


class _Handshakes(logging.Filter):
    """A TLS handshake that a peer broke off (a health check, a scanner) is no error of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let it through as what it is, where that is wanted."""
        if not (isinstance(record.msg, str) and record.msg.startswith("SSL handshake failed")):
            return True
        record.msg, record.args = HANDSHAKE_FAILED, ()
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        return logging.getLogger().isEnabledFor(logging.INFO)


_HANDSHAKES = _Handshakes()


def set_up_logging(level: str) -> None:
    """Send everything of our own from this level on to standard error, and of others what is a warning or worse."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(JsonLines())
    out.addFilter(_Foreign())
    logging.basicConfig(level=level.upper(), handlers=[out], force=True)
    for noisy in ("httpx", "httpx2", "httpcore", "mcp", "client", "anyio", "azure", "openai", "asyncio", "picows"):
        logging.getLogger(noisy).setLevel(logging.WARNING)  # the filter would drop it; this saves the making of it
    logging.getLogger("asyncio").addFilter(_HANDSHAKES)
    # It warns of each message sent to a peer that was lost in the same turn of the loop: thousands, when many hang up.
    logging.getLogger("aiofastnet").setLevel(logging.ERROR)
    # It tells of every start and stop in colours; `patchbay.server` tells what matters.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
