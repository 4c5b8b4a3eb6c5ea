"""The words of items that come in pieces: characters that were cut in two between two pieces are put together."""

from __future__ import annotations

from gateway.models.realtime.message import ModelMessage
from gateway.realtime.reading import has_halves, read_halves
from sessions.errors import WireError
from sessions.text import Halves


class WordPieces:
    """Joins the surrogate pairs that a model has cut in two between pieces of one item's words."""

    __slots__ = ("_halves",)

    def __init__(self) -> None:
        self._halves = Halves()

    def joined(self, item_id: str, message: ModelMessage, delta: str) -> str:
        """The words of one more piece, in whole characters. Raises WireError if the message cannot be read again.

        `delta` is the piece as it was parsed, with U+FFFD for each half of a pair; the message has the halves.
        """
        cut = has_halves(message.came)
        if not cut and not self._halves:
            return delta
        return self._halves.joined(item_id, _with_halves(message.came, delta) if cut else delta)

    def rest(self, item_id: str) -> str:
        """The end of an item's words: U+FFFD if half of a pair still waits for the other half, or else nothing."""
        return self._halves.rest(item_id)


def _with_halves(came: bytes, delta: str) -> str:
    try:
        piece = read_halves(came).get("delta")
    except ValueError as error:
        raise WireError(f"the model's words cannot be read: {error}", param="delta") from error
    return piece if isinstance(piece, str) else delta
