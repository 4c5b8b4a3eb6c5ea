"""A score of a call: what a person, a test or another program says of it after the fact."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from sessions.ports import Json, JsonObject
from sessions.stores.contract import Document
from sessions.stores.documents import base_fields
from sessions.stores.fields import Fields
from sessions.text import well_formed

SCORE: Final = "score"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MAX_COMMENT_CHARACTERS = 2_000
MAX_WORD_CHARACTERS = 100
Value: TypeAlias = "float | bool | str"


@dataclass(frozen=True, slots=True)
class Score:
    """One score. A second one of the same name replaces the first."""

    name: str
    value: Value
    comment: str | None
    scored_at: float  # Unix seconds


def read_score(given: JsonObject, scored_at: float) -> Score:
    """Read a score as a client gives it. Raises ValueError with the field and the reason."""
    name, value, comment = given.get("name"), given.get("value"), given.get("comment")
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise ValueError("name: 1 to 64 letters, digits, '.', '_' and '-', the first a letter or a digit")
    if comment is not None and (not isinstance(comment, str) or len(comment) > MAX_COMMENT_CHARACTERS):
        raise ValueError(f"comment: a text of at most {MAX_COMMENT_CHARACTERS} characters")
    return Score(name, _value(value), None if comment is None else well_formed(comment), scored_at)


def _value(value: Json) -> Value:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) <= 1e15 and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and 0 < len(value) <= MAX_WORD_CHARACTERS:
        return well_formed(value)
    raise ValueError(f"value: a number, true, false, or a word of 1 to {MAX_WORD_CHARACTERS} characters")


def score_document(session: Document, score: Score) -> Document:
    """The document of a score of this session, whose document gives its partition and its ttl. Raises BadDocument."""
    found = Fields(session)
    key, ttl_s = (found.text("tenant"), found.text("session_id")), found.whole_or_none("ttl")
    return {
        **base_fields(*key, f"{SCORE}_{score.name}", SCORE, ttl_s),
        "name": score.name,
        "value": score.value,
        "comment": score.comment,
        "scored_at": score.scored_at,
    }
