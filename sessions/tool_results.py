"""Takes the results of the agent's tools, and those that did not come in time."""

from __future__ import annotations

from sessions import answering, ending, model_link
from sessions.commands import StopTool, ToolEnded
from sessions.keys import Collected, CollectEnd
from sessions.state import CallState

# A tool's runner reports by the tool's deadline. So long after it, the tool counts as timed out.
TOOL_GRACE_MS = 2_000


def finished(
    state: CallState, call_id: str, output: str, error: str | None, now_ms: int, *, hang_up: bool = False
) -> None:
    """A server-side tool has returned: give the model the result, and request an answer after the last one."""
    found = state.tools.finish(call_id)
    if found is None:
        return
    job, round_ = found
    state.keypad.tool_over(call_id)
    state.tool_book.finished(call_id, output, error, now_ms)
    model_link.tell_output(state, job, output)
    secrets = state.keypad.secrets
    arguments = secrets.hide_in_json(job.arguments)
    state.out.append(ToolEnded(call_id, job.item_id, job.name, arguments, secrets.output(call_id, output), error))
    if hang_up:
        round_.hang_up = True
        ending.leave_soon(state, now_ms)
    answering.follow_up(state, now_ms)


def not_run(state: CallState, call_id: str, now_ms: int) -> None:
    """A tool was called that is not run any more: the call is about to end."""
    finished(state, call_id, "The call is about to end; this was not run.", "stopped", now_ms)


def collected(state: CallState, result: Collected, now_ms: int) -> None:
    """The tool that waited for keys has its result."""
    finished(state, result.call_id, result.output(), None, now_ms)


def interrupted(state: CallState, now_ms: int) -> None:
    """The caller speaks: the running tools that the agent's file says so of are stopped."""
    for job in state.tools.running:
        rule = state.rules.server_tools.get(job.name)
        if rule is None or not rule.stop_on_barge_in:
            continue
        collect = state.keypad.collect
        if collect is not None and collect.call_id == job.call_id:
            result = state.keypad.stop(CollectEnd.CALLER_SPOKE, now_ms)
            assert result is not None
            collected(state, result, now_ms)
        else:
            state.out.append(StopTool(job.call_id))
            finished(state, job.call_id, "The caller interrupted; this was stopped.", "stopped", now_ms)


def overdue(state: CallState, now_ms: int) -> None:
    """Tell the model of tools on which nobody has reported in time."""
    for job in state.tools.running:
        if now_ms >= job.due_ms:
            state.out.append(StopTool(job.call_id))
            finished(state, job.call_id, f"{job.name} did not answer in time.", "timeout", now_ms)
