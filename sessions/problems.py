"""What a model reports as wrong: the code and the type, if they are short plain words, and never the message.

A message may hold what somebody said; codes and types go into logs, records and metrics.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Stands for a code that is no short plain word, and for all codes past a bound.
OTHER = "other"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}|[0-9]{1,4}")
# Ordinary races between a model and its client: each barge-in may cause one.
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
    """One failure or refusal of a model, by the code and type of its service."""

    code: str
    type: str | None


def plain(word: object) -> str | None:
    """A code or a type as it may be kept: `other` if it is no short plain word, None if there is none."""
    if type(word) is int:
        word = str(word)
    if not isinstance(word, str) or not word:
        return None
    return word if _PLAIN.fullmatch(word) else OTHER


def problem_of(code: object, type: object) -> ModelProblem:
    """The problem for a code and a type of a service; without a code, the type is the code."""
    kind = plain(type)
    return ModelProblem(plain(code) or kind or OTHER, kind)
