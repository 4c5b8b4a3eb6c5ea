"""What a model says went wrong: its code and its type, where they are short plain words, and never its sentences.

Those may hold what somebody said; codes and types go into logs, records and figures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

OTHER = "other"  # in the place of a word that is none, and of those past a bound
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}|[0-9]{1,4}")
# Ordinary races of a model and its client: each barge-in may bring one.
ORDINARY = frozenset(
    {
        "conversation_already_has_active_response",
        "input_audio_buffer_commit_empty",
        "item_create_duplicate_item_id",
        "item_delete_invalid_item_id",
        "item_retrieve_invalid_item_id",
        "item_truncate_invalid_item_id",
        "response_cancel_not_active",
    }
)


@dataclass(frozen=True, slots=True)
class ModelProblem:
    """One failure or refusal of a model's, in its service's own short words."""

    code: str
    type: str | None


def plain(word: object) -> str | None:
    """A code or a type as it may be kept: `other` where it is no short plain word, None where there is none."""
    if type(word) is int:
        word = str(word)
    if not isinstance(word, str) or not word:
        return None
    return word if _PLAIN.fullmatch(word) else OTHER


def problem_of(code: object, type: object) -> ModelProblem:
    """A problem as a service tells it; one that has a type only is called by that."""
    kind = plain(type)
    return ModelProblem(plain(code) or kind or OTHER, kind)
