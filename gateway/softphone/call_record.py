"""Reads the record of a telephone call from the gateway's API, and tells each turn of the caller what came of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from gateway.softphone.lines.gateway_http import Ask, HttpAnswer
from gateway.softphone.report import CallReport, ProblemRow, ToolRow, TurnRow

POLL_S = 0.1
POLLS = 100
# The newest calls are looked through for ours.
SESSIONS = 50
# The gateway may take the caller's speech to begin this much before the recording's own beginning.
EARLY_MS = 400


class _Refused(OSError):
    """The gateway does not let us read; asking again does not help."""


class RecordReader:
    """Reads the records of one agent's calls; `key` is an API key, if the gateway wants one."""

    def __init__(self, ask: Ask, agent: str, key: str | None) -> None:
        self._ask = ask
        self._agent = agent
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def fill(self, report: CallReport, carrier_call_id: str) -> None:
        """Fill in what the record of a call that has ended says; `report.remark` says why where it cannot be read."""
        try:
            session = await self._session(report.protocol, carrier_call_id)
            report.session_id = session["session_id"]
            transcript = await self._get(f"/api/v1/sessions/{report.session_id}/transcript")
            fill_in(report, transcript["turns"])
        except OSError as error:
            report.remark = f"the call's record could not be read: {error}"
        except (ValueError, KeyError, TypeError) as error:
            report.remark = f"the call's record could not be read: it has another shape ({type(error).__name__})"

    async def _session(self, protocol: str, carrier_call_id: str) -> Any:
        """The session of this call, once it has ended. Raises OSError."""
        path = f"/api/v1/sessions?{urlencode({'agent': self._agent, 'limit': SESSIONS})}"
        why = OSError("the gateway has not written its end")
        for _ in range(POLLS):
            try:
                page = await self._get(path)
            except _Refused:
                raise
            except OSError as error:  # a busy gateway, or one that is just starting again
                why, page = error, {"sessions": []}
            for session in page["sessions"]:
                ours = session["protocol"] == protocol and session["caller"]["carrier_call_id"] == carrier_call_id
                if ours and session["state"] == "ended":
                    return session
            await asyncio.sleep(POLL_S)
        raise why

    async def _get(self, path: str) -> Any:
        answer: HttpAnswer = await self._ask("GET", path, self._headers, b"")
        if not answer.ok:
            raise (_Refused if answer.status < 500 else OSError)(answer.why)
        return json.loads(answer.body)


def fill_in(report: CallReport, turns: Iterable[Any]) -> None:
    """Tell the rows of a report what the turns of a transcript, as the API shows it, say about them.

    Both count time from the call's start. Raises KeyError and TypeError for another shape.
    """
    for turn in turns:
        row = _row_of(report.turns, turn)
        for entry in turn["entries"]:
            _fill_in(report, row, entry)
        problem = turn["problem"]
        if problem is not None:
            report.problems.append(ProblemRow(problem["code"], problem["type"]))
        if row is not None:
            row.interrupted |= turn["interrupted"]
            row.problem = report.problems[-1] if problem is not None else row.problem


def _row_of(rows: Sequence[TurnRow], turn: Any) -> TurnRow | None:
    """The caller's turn that a turn of the record belongs to: the last that had begun; None before the first."""
    said = [entry["begin_ms"] for entry in turn["entries"] if entry["kind"] == "said" and entry["speaker"] == "caller"]
    at_ms = said[0] + EARLY_MS if said else turn["begin_ms"]
    return next((row for row in reversed(rows) if row.begin_ms <= at_ms and row.end_ms is not None), None)


def _fill_in(report: CallReport, row: TurnRow | None, entry: Any) -> None:
    if entry["kind"] == "tool":
        if row is not None:
            row.tools.append(ToolRow(entry["name"], entry["arguments"], entry["output"], entry["error"]))
    elif entry["speaker"] == "caller":
        if row is not None:
            row.heard = f"{row.heard} {entry['text']}".strip()
    elif row is None:
        report.greeting = f"{report.greeting} {entry['text']}".strip()
    else:
        row.answer = f"{row.answer} {entry['text']}".strip()
