"""Words as they may go on: to a model, into a record, onto a wire."""

from __future__ import annotations


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
