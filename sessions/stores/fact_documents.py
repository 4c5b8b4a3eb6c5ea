"""Turns facts about a call into the fields of its documents and back: problems, the telephone line, the caller."""

from __future__ import annotations

from audio.line_in import LineCounts
from sessions.caller_facts import UNKNOWN_CALLER, CallerFacts
from sessions.ports import JsonObject
from sessions.problems import ModelProblem
from sessions.stores.fields import Fields


def problem_fields(problem: ModelProblem) -> dict[str, str | int | None]:
    """A problem that the model has reported."""
    return {"code": problem.code, "type": problem.type}


def problem_from(found: Fields) -> ModelProblem:
    """Read a problem. Raises BadDocument."""
    return ModelProblem(found.text("code"), found.text_or_none("type"))


def problems_from(summary: Fields) -> tuple[tuple[ModelProblem, int], ...]:
    """Read the problems of a call, with how often each came. Raises BadDocument."""
    if summary.values.get("problems") is None:  # an older Patchbay wrote the document, without problems
        return ()
    return tuple((problem_from(found), found.whole("count")) for found in summary.objects("problems"))


def line_fields(line: LineCounts | None) -> JsonObject | None:
    """How a telephone's line was."""
    if line is None:
        return None
    return {"late_ms": line.late_ms, "filled_ms": line.filled_ms, "clipped_ms": line.clipped_ms}


def line_from(summary: Fields) -> LineCounts | None:
    """Read how a telephone's line was. Raises BadDocument."""
    if summary.values.get("line") is None:
        return None
    found = summary.object("line")
    return LineCounts(found.whole("late_ms"), found.whole("filled_ms"), found.whole("clipped_ms"))


def caller_fields(caller: CallerFacts) -> JsonObject:
    """The facts about the caller."""
    return {
        "number": caller.number,
        "called": caller.called,
        "direction": caller.direction.value,
        "metadata": dict(caller.metadata),
        "carrier_call_id": caller.carrier_call_id,
        "language": caller.language,
    }


def caller_from(document: Fields) -> CallerFacts:
    """The facts about the caller, within their bounds; documents of an older Patchbay have none."""
    if document.values.get("caller") is None:
        return UNKNOWN_CALLER
    found = document.object("caller").values
    # The last two came later than the others, and older documents lack them.
    names = ("number", "called", "direction", "metadata", "carrier_call_id", "language")
    return CallerFacts.of(*map(found.get, names))
