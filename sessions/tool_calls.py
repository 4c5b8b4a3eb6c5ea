"""The tool calls of a call: which run, which response made each, and which results are still to be spoken."""

from __future__ import annotations

from dataclasses import dataclass, field

from sessions.ports import JsonObject


@dataclass(slots=True)
class Job:
    """One server-side tool call that was started."""

    call_id: str
    item_id: str
    name: str
    arguments: str
    response_id: str
    generation: int  # of the model's leg that made the call
    due_ms: int  # when it counts as timed out
    done: bool = False


@dataclass(slots=True)
class ToolRound:
    """The tool calls of one response."""

    response_id: str
    metadata: JsonObject | None
    jobs: list[Job] = field(default_factory=list)
    client_calls: set[str] = field(default_factory=set)
    over: bool = False  # the response itself has ended
    spoke: bool = False  # it had speech or text as well
    hang_up: bool = False

    @property
    def outputs_in(self) -> bool:
        """Whether all server-side results have come."""
        return all(job.done for job in self.jobs)


class ToolLedger:
    """Follows each tool call from request to result: no result is lost, none is answered twice."""

    def __init__(self) -> None:
        self._rounds: dict[str, ToolRound] = {}
        self._jobs: dict[str, Job] = {}
        self.client_calls: set[str] = set()  # calls of the client's own functions that it has not answered

    def round(self, response_id: str, metadata: JsonObject | None) -> ToolRound:
        """The round of this response, which begins if there is none."""
        found = self._rounds.get(response_id)
        if found is None:
            found = self._rounds[response_id] = ToolRound(response_id, metadata)
        return found

    def find(self, response_id: str) -> ToolRound | None:
        """The round of this response, if it called tools."""
        return self._rounds.get(response_id)

    def start(self, of: ToolRound, job: Job) -> bool:
        """Note a server-side call. False if one of its id is known."""
        if job.call_id in self._jobs:
            return False
        self._jobs[job.call_id] = job
        of.jobs.append(job)
        return True

    def finish(self, call_id: str) -> tuple[Job, ToolRound] | None:
        """Note a result. None for a call that is unknown or already has one."""
        job = self._jobs.get(call_id)
        if job is None or job.done:
            return None
        job.done = True
        return job, self._rounds[job.response_id]

    def close(self, done: ToolRound) -> None:
        """Forget a round that nobody waits for any more."""
        self._rounds.pop(done.response_id, None)
        for job in done.jobs:
            self._jobs.pop(job.call_id, None)

    @property
    def running(self) -> tuple[Job, ...]:
        """Server-side calls without a result yet."""
        return tuple(job for job in self._jobs.values() if not job.done)

    @property
    def deadline_ms(self) -> int | None:
        """When the first of the running calls counts as timed out."""
        return min((job.due_ms for job in self._jobs.values() if not job.done), default=None) if self._jobs else None

    @property
    def hold_client(self) -> bool:
        """Whether a finished response still waits for server-side results: the client's next request waits too."""
        return any(round_.over and not round_.outputs_in for round_ in self._rounds.values())

    @property
    def rounds(self) -> tuple[ToolRound, ...]:
        """All rounds that are still open."""
        return tuple(self._rounds.values())
