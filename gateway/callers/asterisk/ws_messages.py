"""The control messages of Asterisk's WebSocket channel, in both of their forms: JSON and plain text.

A channel uses one form, which its dial option `f` chooses; releases before 20.18, 22.8 and 23.2 know plain text only.
The form of a message shows in its first byte, and commands are sent in the form of the channel's first message.
Source: Asterisk, `channels/chan_websocket.c`; docs.asterisk.org, "WebSocket channel driver".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sessions.errors import WireError

MAX_COMMAND_BYTES = 128  # Asterisk drops a longer one, and says so in its log only
# Of these events in plain text, everything after the name may be one value without a name.
_BARE_VALUE = {"MEDIA_MARK_PROCESSED": "correlation_id"}
_NAMES = {"correlation_id", "channel_id"}


def read_control(message: bytes) -> tuple[str, Mapping[str, Any], bool]:
    """The event's name, its fields, and whether it is JSON. Values of plain text are texts.

    Raises WireError, whose text repeats nothing of the message.
    """
    if message.startswith(b"{"):
        return (*_read_json(message), True)
    return (*_read_plain(message), False)


def _read_json(message: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        found = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise WireError("The message is not JSON.", code="invalid_json") from error
    name = found.get("event")
    if not isinstance(name, str):
        raise WireError("The message has no `event`.", code="invalid_event", param="event")
    return name, found


def _read_plain(message: bytes) -> tuple[str, Mapping[str, Any]]:
    name, *words = message.decode("utf-8", "replace").split() or ("",)
    if not name.isascii() or not name.replace("_", "").isalnum():
        raise WireError("The message is neither JSON nor an event's name.", code="invalid_event")
    fields: dict[str, str] = {}
    for word in words:
        field, colon, value = word.partition(":")
        if colon:
            fields.setdefault(field, value)
    bare = _BARE_VALUE.get(name)
    if bare is not None and bare not in fields and words and words[0].partition(":")[0] not in _NAMES:
        fields[bare] = words[0]
    return name, fields


def command(name: str, *, json: bool, **fields: str) -> bytes:
    """A command in the channel's form. A value must be ASCII, without spaces."""
    if json:
        made = orjson.dumps({"command": name, **fields})
    else:
        made = " ".join((name, *fields.values())).encode("ascii")
    assert len(made) <= MAX_COMMAND_BYTES
    return made
