"""Words as they may go on: to a model, into a record, onto a wire."""

from __future__ import annotations

from sessions.remembering import remember


def well_formed(text: str) -> str:
    """The text with each lone surrogate as U+FFFD, so that it can be written as UTF-8.

    A half of a surrogate pair is no character; it comes of texts that were cut in the middle of one (an emoji), in
    JSON as `"\\ud83d"`. Source: Unicode 16, 3.9, D92 (UTF-8) and section 5.22 (replacement).
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class Halves:
    """Puts a surrogate pair together that was cut in two between one piece of a text and the next."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}  # first halves, by the text that they are of

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def joined(self, name: str, piece: str) -> str:
        """A further piece of the text of this name, well formed; a first half at its end waits for the other."""
        whole = self._waiting.pop(name, "") + piece
        if "\ud800" <= whole[-1:] <= "\udbff":
            remember(self._waiting, name, whole[-1])
            whole = whole[:-1]
        return well_formed(whole)

    def rest(self, name: str) -> str:
        """What the text ends with, if a half of it has waited in vain."""
        return well_formed(self._waiting.pop(name, ""))
